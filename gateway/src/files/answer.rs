//! What a runner says where it refuses: a problem, which is the caller's or is between the two of us.

use axum::response::IntoResponse;
use http::{HeaderMap, HeaderValue, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use service::Problem;
use session::ProblemType;
use session::problem::ProblemBody;

use super::empty;
use super::link::Answer;

/// A problem is far shorter.
const MAX_BYTES: usize = 16 * 1024;

/// `None`: nothing that a caller should hear.
pub async fn read(answered: http::Response<Incoming>) -> Option<Answer> {
    let (head, body) = answered.into_parts();
    let body = Limited::new(body, MAX_BYTES).collect().await.ok()?.to_bytes();
    told(&head.headers, &body)
}

/// What is refused of a `HEAD`: of its problem only the status is there.
pub fn without_body(answered: http::Response<Incoming>) -> Option<Answer> {
    use ProblemType::*;
    let kind = [InvalidRequest, Forbidden, FileNotFound, NotAFile, RangeNotSatisfiable, TooManyTransfers]
        .into_iter()
        .find(|kind| kind.status() == answered.status().as_u16())?;
    Some(Answer { response: empty(answered.status()), refused: Some(kind) })
}

fn told(headers: &HeaderMap, body: &[u8]) -> Option<Answer> {
    use ProblemType::*;
    let said: ProblemBody = serde_json::from_slice(body).ok()?;
    let kind: ProblemType = said.kind.rsplit('/').next()?.parse().ok()?;
    // Its refusal of our secret is not one of them.
    let (InvalidRequest | Forbidden | Conflict | PayloadTooLarge | FileNotFound | NotAFile | RangeNotSatisfiable
    | TooManyTransfers | RequestTimeout | InsufficientStorage | Internal) = kind
    else {
        return None;
    };
    let mut problem = Problem::new(kind, said.detail);
    if let Some(seconds) = said.retry_after_secs {
        problem = problem.retry_after(seconds);
    }
    let mut response = problem.into_response();
    if let (RangeNotSatisfiable, Some(range)) = (kind, headers.get(header::CONTENT_RANGE)) {
        response.headers_mut().insert(header::CONTENT_RANGE, HeaderValue::clone(range));
    }
    Some(Answer { response, refused: Some(kind) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_hears_what_is_its_own() {
        let say = |kind| serde_json::to_vec(&ProblemBody::new(kind, "as it is")).unwrap();
        let told = |kind| told(&HeaderMap::new(), &say(kind));
        assert_eq!(told(ProblemType::NotAFile).unwrap().refused, Some(ProblemType::NotAFile));
        assert!(told(ProblemType::Unauthorized).is_none());
        assert!(super::told(&HeaderMap::new(), b"the runner's secret is missing or wrong\n").is_none());
    }
}
