//! Where the tokens of read-only links come from: the controller, which alone can sign them.

use async_trait::async_trait;
use http::StatusCode;
use service::Problem;
use session::gateway_api::{ViewerToken, viewer_tokens_path};
use session::problem::ProblemBody;
use session::{ProblemType, Secret, SessionId};
use url::Url;

use crate::upstream;

/// An answer is one token, or one problem.
const MAX_BYTES: usize = 16 * 1024;
/// What a caller is told to wait when the controller cannot be asked.
const RETRY_SECS: u64 = 2;

/// Gives tokens to watch with. Whether somebody may have one has been looked at, but for what the session allows.
#[async_trait]
pub trait ViewerTokens: Send + Sync + 'static {
    /// The problem is for the caller.
    async fn viewer_token(&self, session: SessionId) -> Result<ViewerToken, Problem>;
}

/// Asks the controller's internal port.
pub struct HttpViewerTokens {
    /// `http://HOST:PORT/`
    controller: Url,
    token: Secret,
    client: reqwest::Client,
}

/// Why the controller gave none. For the log; no token is in it.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the controller cannot be asked: {0}")]
    Away(String),
    #[error("the controller answers {0}: {1}")]
    Strange(StatusCode, &'static str),
}

impl HttpViewerTokens {
    /// `token`: as [`store::SealKey::gateway_token`] has it.
    pub fn new(controller: Url, token: Secret) -> reqwest::Result<Self> {
        Ok(Self { client: upstream::client(&controller)?, controller, token })
    }

    async fn ask(&self, session: SessionId) -> Result<(StatusCode, Vec<u8>), Failure> {
        let mut url = self.controller.clone();
        url.set_path(&viewer_tokens_path(session));
        let away = |error: reqwest::Error| Failure::Away(upstream::describe(&error));
        let mut response = self.client.post(url).bearer_auth(self.token.expose()).send().await.map_err(away)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(away)? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(Failure::Strange(response.status(), "far too much"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((response.status(), body))
    }
}

#[async_trait]
impl ViewerTokens for HttpViewerTokens {
    async fn viewer_token(&self, session: SessionId) -> Result<ViewerToken, Problem> {
        let read = self.ask(session).await.and_then(|(status, body)| read(status, &body));
        read.unwrap_or_else(|failure| {
            tracing::warn!(%failure, %session, "no viewer's token can be had");
            Err(Problem::new(ProblemType::Unavailable, "no link can be made at the moment").retry_after(RETRY_SECS))
        })
    }
}

/// What the controller says to the caller, if it is that, or what is wrong between the two of us.
fn read(status: StatusCode, body: &[u8]) -> Result<Result<ViewerToken, Problem>, Failure> {
    if status == StatusCode::CREATED {
        return serde_json::from_slice(body).map(Ok).map_err(|_| Failure::Strange(status, "no token"));
    }
    let problem: ProblemBody = serde_json::from_slice(body).map_err(|_| Failure::Strange(status, "no problem"))?;
    let slug = problem.kind.rsplit('/').next().unwrap_or_default();
    match slug.parse() {
        Ok(ProblemType::Unauthorized) => {
            Err(Failure::Strange(status, "it has another encryption key than this gateway"))
        }
        Ok(kind @ ProblemType::Unavailable) => {
            Ok(Err(Problem::new(kind, problem.detail).retry_after(problem.retry_after_secs.unwrap_or(RETRY_SECS))))
        }
        Ok(
            kind @ (ProblemType::ShareForbidden
            | ProblemType::ViewerUnsupported
            | ProblemType::SessionEnded
            | ProblemType::SessionUnknown),
        ) => Ok(Err(Problem::new(kind, problem.detail))),
        _ => Err(Failure::Strange(status, "a problem that is not the caller's")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: ProblemType) -> Vec<u8> {
        serde_json::to_vec(&ProblemBody::new(kind, "as it is")).unwrap()
    }

    #[test]
    fn the_caller_hears_what_is_its_own_and_nothing_of_what_is_between_the_servers() {
        let kind = ProblemType::ShareForbidden;
        let told = read(StatusCode::FORBIDDEN, &problem(kind)).unwrap().unwrap_err();
        assert_eq!((told.kind, told.detail()), (kind, "as it is"));
        for kind in [ProblemType::Unauthorized, ProblemType::NotFound, ProblemType::Internal] {
            let status = StatusCode::from_u16(kind.status()).unwrap();
            assert!(read(status, &problem(kind)).is_err(), "{kind}");
        }
        assert!(read(StatusCode::CREATED, b"{}").is_err());
        assert!(read(StatusCode::BAD_GATEWAY, b"<html>").is_err());
    }
}
