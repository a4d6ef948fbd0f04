//! `/fhe/v1/keys`: registering, listing, describing and deleting evaluation keys.

use std::error::Error;

use bytes::Bytes;
use fhe::{EvaluationKey, KeyId, Thing};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use serde_json::Value;

use super::{Answer, PREFIX, blocking, collect, json, refuse_declared};
use crate::fhe::keys::{Added, KeyView, Wishes};
use crate::fhe::{FheService, Problem, Tenant};

impl FheService {
    pub(super) async fn register<B>(&self, request: Request<B>, tenant: &Tenant) -> Answer
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let limit = self.limit(EvaluationKey::MAX_BYTES);
        refuse_declared(&request, Thing::EvaluationKey, limit)?;
        // Held until the key is stored, because the key is in memory until then.
        let Ok(_permit) = self.uploads.try_acquire() else {
            return Err(Problem::busy(1));
        };
        let wishes = wishes(request.uri().query().unwrap_or_default())?;
        let bytes = collect(request.into_body(), Thing::EvaluationKey, limit).await?;
        let (keys, tenant) = (self.keys.clone(), tenant.clone());
        let (added, view) = blocking(move || {
            let key = EvaluationKey::from_bytes(bytes.into())?;
            let added = keys.add(&tenant, &key, &wishes)?;
            Ok((added, keys.describe(&tenant, key.id())?))
        })
        .await?;
        Ok(registered(added, &view))
    }

    pub(super) fn list_keys(&self, tenant: &Tenant) -> Response<Bytes> {
        let keys: Vec<Value> = self.keys.list(tenant).iter().map(describe_key).collect();
        let body = serde_json::json!({ "keys": keys });
        private(StatusCode::OK, body.to_string().into())
    }

    pub(super) fn describe(&self, tenant: &Tenant, id: &str) -> Answer {
        let id = id.parse::<KeyId>().map_err(|_| Problem::unknown_key())?;
        let view = self.keys.describe(tenant, id)?;
        Ok(private(
            StatusCode::OK,
            describe_key(&view).to_string().into(),
        ))
    }

    pub(super) async fn forget(&self, tenant: &Tenant, id: &str) -> Answer {
        let id = id.parse::<KeyId>().map_err(|_| Problem::unknown_key())?;
        let (keys, tenant) = (self.keys.clone(), tenant.clone());
        match blocking(move || Ok(keys.remove(&tenant, id)?)).await? {
            false => Err(Problem::unknown_key()),
            true => Ok(no_content()),
        }
    }
}

/// What is one tenant's is in no cache, which might give it to another.
pub(super) fn private(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut response = json(status, body);
    let no_store = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    response
}

pub(super) fn no_content() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

pub(super) fn registered(added: Added, view: &KeyView) -> Response<Bytes> {
    let status = match added {
        Added::New => StatusCode::CREATED,
        Added::WasThere => StatusCode::OK,
    };
    let mut response = private(status, describe_key(view).to_string().into());
    if let Ok(location) = HeaderValue::try_from(format!("{PREFIX}keys/{}", view.id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// Times are seconds since 1970.
fn describe_key(view: &KeyView) -> Value {
    let meta = &view.meta;
    serde_json::json!({
        "id": view.id.to_string(),
        "params": view.info.set,
        "bytes": view.info.bytes,
        "created": meta.created,
        "last_used": meta.last_used,
        "expires": meta.expires,
        "label": meta.label,
        "replaces": meta.replaces,
        "replaced_by": meta.replaced_by,
    })
}

/// What the query of a registration asks for.
fn wishes(query: &str) -> Result<Wishes, Problem> {
    let (mut label, mut expires_s, mut replaces) = (None, None, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let new = match &*name {
            "label" => label.replace(value.into_owned()).is_none(),
            "expires_s" => {
                let seconds = value.parse().map_err(|_| {
                    bad_parameter("expires_s is a whole number of seconds".to_owned())
                })?;
                expires_s.replace(seconds).is_none()
            }
            "replaces" => {
                let id = value
                    .parse()
                    .map_err(|_| bad_parameter("replaces is the id of a key".to_owned()))?;
                replaces.replace(id).is_none()
            }
            _ => {
                return Err(bad_parameter(
                    "the parameters here are label, expires_s and replaces".to_owned(),
                ));
            }
        };
        if !new {
            return Err(bad_parameter(format!("{name} is given twice")));
        }
    }
    Wishes::new(label, expires_s, replaces).map_err(bad_parameter)
}

pub(super) fn bad_parameter(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-parameter", detail)
}
