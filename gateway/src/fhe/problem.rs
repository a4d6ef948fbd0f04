//! What a client is told when something is wrong: problem+json (RFC 9457), a `type` for each kind.

use bytes::Bytes;
use fhe::FheError;
use http::{HeaderValue, Response, StatusCode, header};

use super::keys::KeyStoreError;

/// A failure in the client's words. `name` becomes the type `urn:veilgate:fhe:<name>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub status: StatusCode,
    pub name: &'static str,
    pub detail: String,
    pub retry_after_s: Option<u64>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, name: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            name,
            detail: detail.into(),
            retry_after_s: None,
        }
    }

    pub(super) fn busy(retry_after_s: u64) -> Self {
        Self {
            retry_after_s: Some(retry_after_s),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "more requests are waiting than this gateway takes; try again after the time in Retry-After",
            )
        }
    }

    pub(super) fn unknown_key() -> Self {
        // Another tenant's key looks the same as none at all.
        Self::new(
            StatusCode::NOT_FOUND,
            "unknown-key",
            "no such evaluation key is registered for you; register it with POST /fhe/v1/keys",
        )
    }

    pub(super) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the evaluation failed inside the gateway; its log says why",
        )
    }

    pub(super) fn into_response(self) -> Response<Bytes> {
        let title = self.status.canonical_reason().unwrap_or("error");
        let body = serde_json::json!({
            "type": format!("urn:veilgate:fhe:{}", self.name),
            "title": title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut response = Response::new(Bytes::from(body.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Bytes that a client sent and that are not what they should be. The words of these errors are made for it.
impl From<FheError> for Problem {
    fn from(error: FheError) -> Self {
        let (status, name) = match &error {
            FheError::Truncated { .. } => (StatusCode::BAD_REQUEST, "truncated"),
            FheError::Oversize { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "oversize"),
            FheError::WrongParams { .. } | FheError::UnknownParams { .. } => {
                (StatusCode::UNPROCESSABLE_ENTITY, "wrong-parameter-set")
            }
            FheError::Version { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "unsupported-version"),
            FheError::NotThisFormat(_)
            | FheError::Malformed { .. }
            | FheError::Mismatch { .. }
            | FheError::Program(_)
            | FheError::Row { .. } => (StatusCode::BAD_REQUEST, "malformed"),
            FheError::Entropy(_) => return Self::internal(),
        };
        Self::new(status, name, error.to_string())
    }
}

impl From<KeyStoreError> for Problem {
    fn from(error: KeyStoreError) -> Self {
        match error {
            KeyStoreError::Unknown => Self::unknown_key(),
            KeyStoreError::Full { .. } => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "key-store-full",
                "the gateway's space for keys is used up; remove keys that are no longer needed, or ask its operator",
            ),
            KeyStoreError::TooMany => Self::new(
                StatusCode::CONFLICT,
                "too-many-keys",
                format!("{error}; remove one with DELETE /fhe/v1/keys/{{id}}"),
            ),
            KeyStoreError::Damaged(_) => {
                Self::new(StatusCode::NOT_FOUND, "unknown-key", error.to_string())
            }
            KeyStoreError::Io { .. } | KeyStoreError::Expand(_) => {
                tracing::error!(%error, "evaluation key store");
                Self::internal()
            }
        }
    }
}
