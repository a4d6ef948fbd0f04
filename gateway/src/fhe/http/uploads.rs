//! `/fhe/v1/uploads`: keys in parts, going on where a lost connection ended.
//!
//! Follows draft-ietf-httpbis-resumable-upload in its fields, media type, HEAD, PATCH, DELETE and problem types; an upload
//! is begun by a resource of our own, because the key's id and size are to be known before its first byte
//! (docs/specs/fhe-http.md).

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use edge_types::Digest;
use fhe::KeyId;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;

use super::keys::{bad_parameter, no_content, private, registered};
use super::{Answer, PREFIX, blocking};
use crate::fhe::keys::{Added, Started, UPLOAD_IDLE_S, Upload, Wishes};
use crate::fhe::{FheService, Problem, Tenant, UploadError};

const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_COMPLETE: HeaderName = HeaderName::from_static("upload-complete");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
const UPLOAD_LIMIT: HeaderName = HeaderName::from_static("upload-limit");
const PARTIAL_UPLOAD: &str = "application/partial-upload";

/// A request to begin an upload has a few hundred bytes.
const MAX_BEGIN_BYTES: usize = 4 << 10;
/// Gathered before it is written: a few writes a part, and little lost with the connection.
const WRITE_BYTES: usize = 256 << 10;

/// The body of POST /fhe/v1/uploads.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Begin {
    id: Digest,
    bytes: u64,
    label: Option<String>,
    expires_s: Option<u64>,
    replaces: Option<Digest>,
}

impl FheService {
    pub(super) async fn start_upload<B>(&self, request: Request<B>, tenant: &Tenant) -> Answer
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let body = Limited::new(request.into_body(), MAX_BEGIN_BYTES);
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                let detail = format!("what begins an upload has at most {MAX_BEGIN_BYTES} bytes");
                return Err(Problem::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "oversize",
                    detail,
                ));
            }
            Err(_) => return Err(Problem::incomplete()),
        };
        let begin: Begin = serde_json::from_slice(&body).map_err(|error| {
            let detail = format!(
                "{error}; send JSON with id, bytes and, if wanted, label, expires_s, replaces"
            );
            Problem::new(StatusCode::BAD_REQUEST, "malformed", detail)
        })?;
        let key = KeyId(begin.id);
        let wishes = Wishes::new(begin.label, begin.expires_s, begin.replaces.map(KeyId))
            .map_err(bad_parameter)?;
        let (keys, tenant) = (self.keys.clone(), tenant.clone());
        let answer = blocking(move || {
            Ok(
                match keys.start_upload(&tenant, key, begin.bytes, wishes)? {
                    Started::New(upload) => begun(StatusCode::CREATED, &upload),
                    Started::GoesOn(upload) => begun(StatusCode::OK, &upload),
                    Started::Registered => {
                        registered(Added::WasThere, &keys.describe(&tenant, key)?)
                    }
                },
            )
        });
        answer.await
    }

    pub(super) fn list_uploads(&self, tenant: &Tenant) -> Response<Bytes> {
        let all = self.keys.list_uploads(tenant);
        let all: Vec<_> = all.iter().map(|upload| describe(upload)).collect();
        let body = serde_json::json!({ "uploads": all });
        private(StatusCode::OK, body.to_string().into())
    }

    pub(super) fn describe_upload(&self, tenant: &Tenant, id: &str) -> Answer {
        let upload = self.keys.upload(tenant, id)?;
        let mut response = private(StatusCode::OK, describe(&upload).to_string().into());
        fields(response.headers_mut(), &upload);
        Ok(response)
    }

    pub(super) async fn cancel_upload(&self, tenant: &Tenant, id: &str) -> Answer {
        let upload = self.keys.upload(tenant, id)?;
        let keys = self.keys.clone();
        blocking(move || Ok(keys.cancel_upload(&upload)?)).await?;
        Ok(no_content())
    }

    /// What arrives is kept, even if the rest of the part does not.
    pub(super) async fn append<B>(&self, request: Request<B>, tenant: &Tenant, id: &str) -> Answer
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let part = Part::of(request.headers())?;
        let upload = self.keys.upload(tenant, id)?;
        let writer = upload.begin();
        let of_check = upload.clone();
        blocking(move || Ok(of_check.expect(writer, part.offset)?)).await?;
        if request.body().size_hint().lower() > upload.bytes - part.offset {
            return Err(UploadError::TooLong(upload.bytes).into());
        }
        let mut at = part.offset;
        let mut body = pin!(request.into_body());
        let mut held = BytesMut::new();
        loop {
            let frame = body.frame().await;
            let ended = match &frame {
                Some(Ok(_)) => None,
                None => Some(Ok(())),
                Some(Err(_)) => Some(Err(Problem::incomplete())),
            };
            if let Some(Ok(frame)) = frame
                && let Ok(data) = frame.into_data()
            {
                held.extend_from_slice(&data);
            }
            if held.len() >= WRITE_BYTES || (ended.is_some() && !held.is_empty()) {
                let data = held.split().freeze();
                let len = data.len() as u64;
                let (keys, upload) = (self.keys.clone(), upload.clone());
                blocking(move || Ok(keys.append(&upload, writer, at, &data)?)).await?;
                at += len;
            }
            match ended {
                Some(Ok(())) => break,
                Some(Err(problem)) => return Err(problem),
                None => {}
            }
        }
        match (part.last, upload.is_whole()) {
            (Last::Yes | Last::NotSaid, true) => self.complete(upload, tenant).await,
            (Last::Yes, false) => Err(UploadError::Short {
                got: upload.offset(),
                bytes: upload.bytes,
            }
            .into()),
            (Last::No, _) | (Last::NotSaid, false) => {
                let mut response = no_content();
                fields(response.headers_mut(), &upload);
                Ok(response)
            }
        }
    }

    async fn complete(&self, upload: Arc<Upload>, tenant: &Tenant) -> Answer {
        // The key is in memory while it is checked, as an upload in one piece is.
        let Ok(_permit) = self.uploads.try_acquire() else {
            return Err(Problem::busy(1));
        };
        let (keys, tenant) = (self.keys.clone(), tenant.clone());
        let (added, view) = blocking(move || {
            let added = keys.complete(&upload)?;
            Ok((added, keys.describe(&tenant, upload.key)?))
        })
        .await?;
        let mut response = registered(added, &view);
        let headers = response.headers_mut();
        headers.insert(UPLOAD_COMPLETE, HeaderValue::from_static("?1"));
        headers.insert(UPLOAD_OFFSET, view.info.bytes.into());
        Ok(response)
    }
}

/// What the fields of a PATCH say.
struct Part {
    offset: u64,
    last: Last,
}

/// Whether the part is the last one.
#[derive(Clone, Copy)]
enum Last {
    Yes,
    No,
    /// It is if all bytes are there.
    NotSaid,
}

impl Part {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let kind = headers.get(header::CONTENT_TYPE);
        if kind.is_none_or(|kind| {
            !kind
                .as_bytes()
                .eq_ignore_ascii_case(PARTIAL_UPLOAD.as_bytes())
        }) {
            let detail = format!("a part of an upload has the content type {PARTIAL_UPLOAD}");
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "wrong-media-type",
                detail,
            )
            .with_field(
                HeaderName::from_static("accept-patch"),
                HeaderValue::from_static(PARTIAL_UPLOAD),
            ));
        }
        let text = |name| match headers.get_all(name).iter().collect::<Vec<_>>()[..] {
            [] => Ok(None),
            [one] => one.to_str().map(Some).map_err(|_| ()),
            _ => Err(()),
        };
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let offset = match text(UPLOAD_OFFSET) {
            // A structured integer has at most 15 digits.
            Ok(Some(text)) if text.len() <= 15 && digits(text) => text.parse().ok(),
            _ => None,
        };
        let Some(offset) = offset else {
            return Err(bad_parameter(
                "Upload-Offset says at which byte the part begins; HEAD tells where the upload goes on".to_owned(),
            ));
        };
        let last = match text(UPLOAD_COMPLETE) {
            Ok(None) => Last::NotSaid,
            Ok(Some("?1")) => Last::Yes,
            Ok(Some("?0")) => Last::No,
            _ => {
                return Err(bad_parameter(
                    "Upload-Complete is ?1 for the last part and ?0 for the others".to_owned(),
                ));
            }
        };
        Ok(Self { offset, last })
    }
}

fn begun(status: StatusCode, upload: &Upload) -> Response<Bytes> {
    let mut response = private(status, describe(upload).to_string().into());
    let headers = response.headers_mut();
    fields(headers, upload);
    if let Ok(location) = HeaderValue::try_from(format!("{PREFIX}uploads/{}", upload.id)) {
        headers.insert(header::LOCATION, location);
    }
    response
}

fn fields(headers: &mut HeaderMap, upload: &Upload) {
    headers.insert(UPLOAD_OFFSET, upload.offset().into());
    headers.insert(UPLOAD_COMPLETE, HeaderValue::from_static("?0"));
    headers.insert(UPLOAD_LENGTH, upload.bytes.into());
    let no_store = HeaderValue::from_static("no-store");
    headers.insert(header::CACHE_CONTROL, no_store);
    if let Ok(limit) = HeaderValue::try_from(format!("max-age={UPLOAD_IDLE_S}")) {
        headers.insert(UPLOAD_LIMIT, limit);
    }
}

fn describe(upload: &Upload) -> serde_json::Value {
    serde_json::json!({
        "upload": upload.id.to_string(),
        "id": upload.key.to_string(),
        "bytes": upload.bytes,
        "offset": upload.offset(),
        "expires": upload.expires(),
    })
}
