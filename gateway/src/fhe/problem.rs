//! What a client is told when something is wrong: problem+json (RFC 9457), a `type` for each kind.

use bytes::Bytes;
use fhe::FheError;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

use super::http::routes::unknown_job;
use super::jobs::JobError;
use super::keys::{KeyStoreError, UploadError};
use super::{Busy, Refusal};

/// A failure in the client's words. `name` becomes the type `urn:veilgate:fhe:<name>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub status: StatusCode,
    pub name: &'static str,
    pub detail: String,
    pub retry_after_s: Option<u64>,
    /// Fields of the response that belong to this kind of problem.
    pub fields: Vec<(HeaderName, HeaderValue)>,
    /// Extension members (RFC 9457, section 3.2).
    pub members: Vec<(&'static str, u64)>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, name: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            name,
            detail: detail.into(),
            retry_after_s: None,
            fields: Vec::new(),
            members: Vec::new(),
        }
    }

    /// Who is nobody is told how to be somebody.
    pub(super) fn challenged(self, how: HeaderValue) -> Self {
        self.with_field(header::WWW_AUTHENTICATE, how)
    }

    pub(super) fn with_field(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.fields.push((name, value));
        self
    }

    /// The gateway stops, or as much is going on as it takes.
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

    pub(super) fn tenant_busy(retry_after_s: u64) -> Self {
        Self {
            retry_after_s: Some(retry_after_s),
            ..Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "tenant-busy",
                "as many of your requests are waiting as one tenant may have; try again after the time in Retry-After, with fewer at once",
            )
        }
    }

    pub(super) fn too_late(retry_after_s: u64) -> Self {
        Self {
            retry_after_s: Some(retry_after_s),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too-late",
                "the answer would come after the time that you or this route gave for it; nothing was computed. Send fewer rows, or give more time (Prefer: wait=SECONDS)",
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

    pub(super) fn incomplete() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "incomplete",
            "the request's body did not arrive whole",
        )
    }

    pub(super) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the evaluation failed inside the gateway; its log says why",
        )
    }

    /// As the client reads it (RFC 9457).
    pub(super) fn document(&self) -> serde_json::Value {
        let title = self.status.canonical_reason().unwrap_or("error");
        // RFC 9457 types of others keep their names.
        let kind = match self.name.contains(':') {
            true => self.name.to_owned(),
            false => format!("urn:veilgate:fhe:{}", self.name),
        };
        let mut body = serde_json::json!({
            "type": kind,
            "title": title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        for (name, value) in &self.members {
            body[*name] = (*value).into();
        }
        body
    }

    pub(super) fn into_response(self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(self.document().to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.fields);
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
            FheError::TooManyContributions { .. } => (StatusCode::CONFLICT, "window-full"),
            FheError::NotThisFormat(_)
            | FheError::Value { .. }
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
        let conflict = |name, detail| Self::new(StatusCode::CONFLICT, name, detail);
        match error {
            KeyStoreError::Unknown => Self::unknown_key(),
            KeyStoreError::Expired => Self::new(
                StatusCode::GONE,
                "key-expired",
                "this key has expired and is deleted; register it again, or a new one",
            ),
            KeyStoreError::Full { .. } => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "key-store-full",
                "the gateway's space for keys is used up; remove keys that are no longer needed, or ask its operator",
            ),
            KeyStoreError::TooMany { .. } => conflict(
                "too-many-keys",
                format!("{error}; remove one with DELETE /fhe/v1/keys/{{id}}"),
            ),
            KeyStoreError::TooMuch { .. } => conflict(
                "too-many-key-bytes",
                format!("{error}; remove one with DELETE /fhe/v1/keys/{{id}}"),
            ),
            KeyStoreError::InProgress => Self {
                detail: format!("{error}; try again when it is done"),
                ..Self::busy(1)
            },
            KeyStoreError::CannotReplace => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "cannot-replace",
                format!("{error}; GET /fhe/v1/keys lists those that are registered for you"),
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

/// The names that begin with https: are those of the draft on resumable uploads.
impl From<UploadError> for Problem {
    fn from(error: UploadError) -> Self {
        let detail = error.to_string();
        let new = |status, name, advice: &str| Self::new(status, name, format!("{detail}{advice}"));
        match error {
            UploadError::Store(error) => error.into(),
            UploadError::NotAKey(error) => error.into(),
            UploadError::Unknown => new(
                StatusCode::NOT_FOUND,
                "unknown-upload",
                "; it is done, was given up, or is another tenant's: begin one with POST /fhe/v1/uploads",
            ),
            UploadError::WrongLength(_) => new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "wrong-length",
                ": look at docs/specs/fhe-formats.md",
            ),
            UploadError::TooMany => new(
                StatusCode::CONFLICT,
                "too-many-uploads",
                "; finish one, or DELETE it: GET /fhe/v1/uploads lists them",
            ),
            UploadError::TooManyInAll => Self {
                detail: format!("{detail}; try again after the time in Retry-After"),
                ..Self::busy(30)
            },
            UploadError::NoSpace => new(
                StatusCode::INSUFFICIENT_STORAGE,
                "upload-space-full",
                "; try again later",
            ),
            UploadError::WrongOffset { expected, given } => Self {
                members: vec![("expected-offset", expected), ("provided-offset", given)],
                ..new(StatusCode::CONFLICT, MISMATCHING_OFFSET, "")
            }
            .with_field(HeaderName::from_static("upload-offset"), expected.into()),
            UploadError::Superseded => new(
                StatusCode::CONFLICT,
                "upload-superseded",
                "; only the latest request writes",
            ),
            UploadError::Finishing => Self {
                detail: format!("{detail}; try again when it is done"),
                ..Self::busy(1)
            },
            UploadError::TooLong(_) => {
                new(StatusCode::PAYLOAD_TOO_LARGE, "oversize", "; send no more")
            }
            UploadError::Short { .. } => new(
                StatusCode::BAD_REQUEST,
                INCONSISTENT_LENGTH,
                ", and the part said that it was the last",
            ),
            UploadError::NotTheKey => new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "hash-mismatch",
                "; the upload is removed: begin again",
            ),
        }
    }
}

impl From<JobError> for Problem {
    fn from(error: JobError) -> Self {
        let new =
            |status, name, advice: &str| Self::new(status, name, format!("{error}; {advice}"));
        let fetch = "fetch results and remove them with DELETE /fhe/v1/jobs/{id}, or wait until they expire";
        match error {
            JobError::Unknown => unknown_job(),
            JobError::TooMany { .. } => Self {
                retry_after_s: Some(JOBS_RETRY_S),
                ..new(StatusCode::TOO_MANY_REQUESTS, "too-many-jobs", fetch)
            },
            JobError::TooMuch { .. } => Self {
                retry_after_s: Some(JOBS_RETRY_S),
                ..new(StatusCode::TOO_MANY_REQUESTS, "too-many-job-bytes", fetch)
            },
            JobError::Full => new(
                StatusCode::INSUFFICIENT_STORAGE,
                "job-store-full",
                "send the request without Prefer: respond-async, or try again later",
            ),
            JobError::Io { .. } | JobError::Entropy(_) => {
                tracing::error!(%error, "FHE job store");
                Self::internal()
            }
        }
    }
}

/// Jobs of this tenant must end or be deleted first.
const JOBS_RETRY_S: u64 = 30;

const MISMATCHING_OFFSET: &str =
    "https://iana.org/assignments/http-problem-types#mismatching-upload-offset";
const INCONSISTENT_LENGTH: &str =
    "https://iana.org/assignments/http-problem-types#inconsistent-upload-length";

impl From<Busy> for Problem {
    fn from(busy: Busy) -> Self {
        match busy.refusal {
            Refusal::TenantFull => Self::tenant_busy(busy.retry_after_s),
            Refusal::Full => Self::busy(busy.retry_after_s),
            Refusal::TooLate => Self::too_late(busy.retry_after_s),
        }
    }
}
