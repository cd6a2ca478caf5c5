//! Reading a request's JSON. What cannot be read is refused with the path of the member, and never with its value:
//! a body holds environment values, prompts and credentials, and serde's own messages quote what they found.

use std::time::Duration;

use axum::extract::Request;
use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use service::Problem;
use session::ProblemType;
use session::problem::FieldError;

use super::MAX_BODY;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest body that is read only so that its sender gets to see the answer.
const MAX_IGNORED: usize = 4 * MAX_BODY;
/// Characters of an unknown member's name that are repeated to the caller.
const SHOWN_NAME: usize = 64;

/// Takes the whole body, once its type and length are acceptable.
pub async fn read_body(request: Request) -> Result<Bytes, Problem> {
    check_type(request.headers())?;
    match tokio::time::timeout(BODY_TIMEOUT, collect(request)).await {
        Ok(Ok(Some(body))) => Ok(body),
        Ok(Ok(None)) => Err(Problem::new(ProblemType::PayloadTooLarge, format!("a body has at most {MAX_BODY} bytes"))),
        Ok(Err(_)) => Err(unreadable("the body did not arrive whole")),
        Err(_) => Err(unreadable(format!("the body did not arrive within {} seconds", BODY_TIMEOUT.as_secs()))),
    }
}

/// `None`: it is too long. It is read to its end all the same, unless that is far: a sender whose connection is closed
/// while it still sends, such as a proxy, mostly never sees the answer.
async fn collect(request: Request) -> Result<Option<Bytes>, axum::Error> {
    let stated = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if stated.is_some_and(|length: u64| length > MAX_IGNORED as u64) {
        return Ok(None);
    }
    let mut chunks = request.into_body().into_data_stream();
    let (mut body, mut length) = (BytesMut::new(), 0);
    while let Some(chunk) = chunks.try_next().await? {
        length += chunk.len();
        if length > MAX_IGNORED {
            break;
        }
        if length <= MAX_BODY {
            body.extend_from_slice(&chunk);
        }
    }
    Ok((length <= MAX_BODY).then(|| body.freeze()))
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let stated = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = stated.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::new(ProblemType::UnsupportedMediaType, "send the body as Content-Type: application/json"))
}

/// Reads a body that is JSON and nothing but `T`.
pub fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        refusal(&path, error.inner())
    })?;
    json.end().map_err(|error| refusal(".", &error))?;
    match list_in(body) {
        None => Ok(value),
        Some(path) if path.is_empty() => Err(unreadable("the body must be an object")),
        Some(field) => Err(refused_member(field, "must be an object".to_owned())),
    }
}

/// Where a body that was read holds a list. serde also reads a struct from a list of its members in order, and no
/// request of ours has a member that is a list, so a list is always such an accident.
fn list_in(body: &[u8]) -> Option<String> {
    fn find(value: &serde_json::Value, path: &str) -> Option<String> {
        match value {
            serde_json::Value::Array(_) => Some(path.to_owned()),
            serde_json::Value::Object(members) => {
                members.iter().find_map(|(name, value)| find(value, &member(path, name)))
            }
            _ => None,
        }
    }
    // Few bodies hold a bracket at all.
    let value = body.contains(&b'[').then(|| serde_json::from_slice(body).ok()).flatten()?;
    find(&value, "")
}

fn refused_member(field: String, detail: String) -> Problem {
    unreadable(format!("{field} {detail}")).with_fields(vec![FieldError::new(field, detail)])
}

fn unreadable(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemType::InvalidRequest, detail)
}

fn refusal(path: &str, error: &serde_json::Error) -> Problem {
    match error.classify() {
        Category::Data => {}
        Category::Eof => return unreadable("the body ends in the middle of its JSON"),
        Category::Syntax | Category::Io => {
            return unreadable(format!("the body is not JSON: line {}, column {}", error.line(), error.column()));
        }
    }
    let (field, detail) = explain(path, &error.to_string());
    if field.is_empty() {
        return unreadable(format!("the body {detail}"));
    }
    refused_member(field, detail)
}

/// Turns serde's message into the field and a sentence without any value in it. What follows the last `, expected `
/// is the type's own text, and what precedes it may quote the request.
fn explain(path: &str, message: &str) -> (String, String) {
    let path = if path == "." { "" } else { path };
    let message = message.rsplit_once(" at line ").map_or(message, |(text, _)| text);
    let quoted =
        |prefix: &str| message.strip_prefix(prefix).and_then(|rest| rest.split_once('`')).map(|(name, _)| name);
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let name = rest.rsplit_once("`, expected ").map_or("", |(name, _)| name);
        return (member(path, &shortened(name)), "is not a known member".to_owned());
    }
    if let Some(name) = quoted("missing field `") {
        return (member(path, name), "is missing".to_owned());
    }
    if let Some(name) = quoted("duplicate field `") {
        return (member(path, name), "is there twice".to_owned());
    }
    match message.rsplit_once(", expected ") {
        Some((_, expected)) => (shortened(path), format!("must be {}", in_words(expected))),
        None => (shortened(path), "has the wrong type".to_owned()),
    }
}

/// serde reports an unknown member either at its parent or at itself.
fn member(path: &str, name: &str) -> String {
    if path.is_empty() {
        return name.to_owned();
    }
    if path == name || path.ends_with(&format!(".{name}")) {
        return path.to_owned();
    }
    format!("{path}.{name}")
}

fn shortened(text: &str) -> String {
    text.chars().take(SHOWN_NAME).collect()
}

fn in_words(expected: &str) -> String {
    match expected {
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u64" => "a whole number, 0 or more".to_owned(),
        "a map" => "an object".to_owned(),
        text if text.starts_with("struct ") => "an object".to_owned(),
        text => text.replace('`', ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use session::api::{CreateSession, MintToken};

    fn refused<T: DeserializeOwned>(body: &str) -> (String, String) {
        let Err(problem) = from_json::<T>(body.as_bytes()) else { panic!("{body} was read") };
        assert_eq!(problem.kind, ProblemType::InvalidRequest);
        let field = problem.fields().first().map(|error| error.field.clone()).unwrap_or_default();
        (field, problem.detail().to_owned())
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_path() {
        for (body, field, detail) in [
            (r#"{"cols":"wide"}"#, "cols", "cols must be a whole number from 0 to 65535"),
            (r#"{"cols":-1}"#, "cols", "cols must be a whole number from 0 to 65535"),
            (r#"{"ttl_seconds":1.5}"#, "ttl_seconds", "ttl_seconds must be a whole number, 0 or more"),
            (r#"{"comand":"x"}"#, "comand", "comand is not a known member"),
            (r#"{"env":["A"]}"#, "env", "env must be an object"),
            (r#"{"env":{"A":1}}"#, "env.A", "env.A must be a string"),
            (r#"{"code_auth":{}}"#, "code_auth.token", "code_auth.token is missing"),
            (r#"{"code_auth":{"token":"x","pass":"y"}}"#, "code_auth.pass", "code_auth.pass is not a known member"),
            (r#"{"command":"a","command":"b"}"#, "command", "command is there twice"),
            (r#"{"labels":{"a":{}}}"#, "labels.a", "labels.a must be a string"),
            ("[]", "", "the body must be an object"),
            (r#"["https://h.example/x.zip","true"]"#, "", "the body must be an object"),
            (r#"{"code_auth":["u","t"]}"#, "code_auth", "code_auth must be an object"),
            ("7", "", "the body must be an object"),
            ("", "", "the body ends in the middle of its JSON"),
            ("{} {}", "", "the body is not JSON: line 1, column 4"),
            ("{'a':1}", "", "the body is not JSON: line 1, column 2"),
        ] {
            assert_eq!(refused::<CreateSession>(body), (field.to_owned(), detail.to_owned()), "{body}");
        }
        assert_eq!(refused::<MintToken>(r#"{"role":"admin"}"#).1, "role must be operator or viewer");
    }

    #[test]
    fn no_refusal_repeats_a_value() {
        for body in [
            r#"{"env":"s3cret"}"#,
            r#"{"env":{"A":{"s3cret":1}}}"#,
            r#"{"code_auth":"s3cret, expected `x` at line 1"}"#,
            r#"{"prompt":["s3cret"]}"#,
            r#"{"cols":"s3cret"}"#,
            r#"{"in_place":"s3cret"}"#,
            r#"{"env":{"A":s3cret}}"#,
            r#"{"prompt":"s3cret"#,
        ] {
            let (field, detail) = refused::<CreateSession>(body);
            assert!(!field.contains("s3cret") && !detail.contains("s3cret"), "{body}: {field}: {detail}");
        }
    }
}
