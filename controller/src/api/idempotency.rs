//! `Idempotency-Key`: a caller's promise that two requests are one.

use http::HeaderMap;
use service::Problem;
use session::ProblemType;
use session::problem::FieldError;
use store::{Digest, Idempotency};

const HEADER: &str = "idempotency-key";
const MAX_LEN: usize = 255;

/// Reads the header, if it is there. The body counts byte for byte.
pub fn of_request(headers: &HeaderMap, body: &[u8]) -> Result<Option<Idempotency>, Problem> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let visible = |text: &&str| (1..=MAX_LEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    match value.to_str().ok().filter(visible) {
        Some(key) if values.next().is_none() => Ok(Some(Idempotency { key: key.to_owned(), body: Digest::of(body) })),
        _ => {
            let detail = format!("must be sent once, with 1 to {MAX_LEN} visible ASCII characters");
            Err(Problem::new(ProblemType::InvalidRequest, format!("Idempotency-Key {detail}"))
                .with_fields(vec![FieldError::new("Idempotency-Key", detail)]))
        }
    }
}

pub fn mismatch() -> Problem {
    Problem::new(
        ProblemType::IdempotencyMismatch,
        "this Idempotency-Key came before with another body; send the same body, or draw another key",
    )
}
