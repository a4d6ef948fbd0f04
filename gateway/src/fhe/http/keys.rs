//! `/fhe/v1/keys`: registering, describing and forgetting evaluation keys.

use std::error::Error;

use bytes::Bytes;
use fhe::{EvaluationKey, KeyId, Thing};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;

use super::{Answer, PREFIX, blocking, collect, json, refuse_declared};
use crate::fhe::keys::KeyInfo;
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
        let bytes = collect(request.into_body(), Thing::EvaluationKey, limit).await?;
        let (keys, tenant) = (self.keys.clone(), tenant.clone());
        let (id, info, new) = blocking(move || {
            let key = EvaluationKey::from_bytes(bytes.into())?;
            let info = KeyInfo {
                set: key.set(),
                bytes: key.as_bytes().len() as u64,
            };
            let new = keys.add(&tenant, &key)?;
            Ok((key.id(), info, new))
        })
        .await?;
        let status = if new {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        let mut response = describe_key(status, id, info);
        if let Ok(location) = HeaderValue::try_from(format!("{PREFIX}keys/{id}")) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        Ok(response)
    }

    pub(super) fn describe(&self, tenant: &Tenant, id: &str) -> Answer {
        let id = id.parse::<KeyId>().map_err(|_| Problem::unknown_key())?;
        let info = self
            .keys
            .info(tenant, id)
            .ok_or_else(Problem::unknown_key)?;
        Ok(describe_key(StatusCode::OK, id, info))
    }

    pub(super) async fn forget(&self, tenant: &Tenant, id: &str) -> Answer {
        let id = id.parse::<KeyId>().map_err(|_| Problem::unknown_key())?;
        let (keys, tenant) = (self.keys.clone(), tenant.clone());
        match blocking(move || Ok(keys.remove(&tenant, id)?)).await? {
            false => Err(Problem::unknown_key()),
            true => {
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = StatusCode::NO_CONTENT;
                Ok(response)
            }
        }
    }
}

fn describe_key(status: StatusCode, id: KeyId, info: KeyInfo) -> Response<Bytes> {
    let body = serde_json::json!({ "id": id.to_string(), "params": info.set, "bytes": info.bytes });
    json(status, body.to_string().into())
}
