//! `/fhe/v1/counters/{stream}`: making a stream, adding to it, and fetching what was added up.

use std::error::Error;

use bytes::Bytes;
use edge_types::Digest;
use fhe::Thing;
use fhe::counters::COUNTER_BYTES;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use serde_json::{Value, json};

use super::keys::{no_content, private};
use super::{Answer, PREFIX, blocking, collect, refuse_declared, routes};
use crate::fhe::counters::{Definition, MAX_DEFINITION_BYTES, StreamName, WindowState, WindowView};
use crate::fhe::{FheService, Problem, Tenant, seconds_since_1970};

const BINARY: &str = "application/octet-stream";

impl FheService {
    /// `rest`: the segments after `counters`.
    pub(super) async fn counters<B>(
        &self,
        request: Request<B>,
        tenant: &Tenant,
        rest: &[&str],
        method: Method,
    ) -> Answer
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let [name, rest @ ..] = rest else {
            return Err(routes::unknown());
        };
        let name: StreamName = name.parse()?;
        match (rest, method) {
            ([], Method::PUT) => self.define_stream(request, tenant, name).await,
            ([], Method::POST) => self.contribute(request, name).await,
            ([], Method::DELETE) => self.remove_stream(tenant, name).await,
            ([], _) => self.describe_stream(&name),
            (["public-key"], _) => {
                let key = self.counters.definition(&name)?.key;
                Ok(binary(key.as_bytes().to_vec()))
            }
            (["windows"], _) => self.list_windows(tenant, &name),
            (["windows", start], _) => self.merged_window(tenant, name, start).await,
            _ => Err(routes::unknown()),
        }
    }

    async fn define_stream<B>(
        &self,
        request: Request<B>,
        tenant: &Tenant,
        name: StreamName,
    ) -> Answer
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (thing, limit) = (Thing::CounterSchema, self.limit(MAX_DEFINITION_BYTES));
        refuse_declared(&request, thing, limit)?;
        let body = collect(request.into_body(), thing, limit).await?;
        let (counters, tenant) = (self.counters.clone(), tenant.clone());
        let described = name.clone();
        let new = blocking(move || {
            let definition = Definition::from_json(&body)?;
            Ok(counters.define(&tenant, &name, definition)?)
        })
        .await?;
        let mut response = self.describe_stream(&described)?;
        if new {
            *response.status_mut() = StatusCode::CREATED;
            if let Ok(location) = HeaderValue::try_from(format!("{PREFIX}counters/{described}")) {
                response.headers_mut().insert(header::LOCATION, location);
            }
        }
        Ok(response)
    }

    async fn remove_stream(&self, tenant: &Tenant, name: StreamName) -> Answer {
        let (counters, tenant) = (self.counters.clone(), tenant.clone());
        blocking(move || Ok(counters.remove(&tenant, &name)?)).await?;
        Ok(no_content())
    }

    /// What a contributor needs, whoever it is: nothing here is secret.
    fn describe_stream(&self, name: &StreamName) -> Answer {
        let definition = self.counters.definition(name)?;
        let schema: Value =
            serde_json::from_slice(&definition.schema.to_json()).unwrap_or_default();
        let body = json!({
            "stream": name.to_string(),
            "window_seconds": definition.window_seconds,
            "public_key": definition.key.id().to_string(),
            "schema_digest": definition.schema.digest().to_string(),
            "schema": schema,
        });
        Ok(private(StatusCode::OK, body.to_string().into()))
    }

    async fn contribute<B>(&self, request: Request<B>, name: StreamName) -> Answer
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (thing, limit) = (Thing::CounterCiphertext, self.limit(COUNTER_BYTES));
        refuse_declared(&request, thing, limit)?;
        let key = idempotency_key(request.headers())?;
        let bytes = collect(request.into_body(), thing, limit).await?;
        if key.is_some_and(|key| key != Digest::of(&bytes)) {
            return Err(wrong_idempotency_key());
        }
        let counters = self.counters.clone();
        let now = seconds_since_1970();
        let taken = blocking(move || Ok(counters.contribute(&name, &bytes, now)?)).await?;
        let counted = match taken.new {
            true => "now",
            false => "before",
        };
        metrics::counter!("gateway_fhe_counter_contributions_total", "counted" => counted)
            .increment(1);
        let body = json!({
            "counted": counted,
            "window": taken.start,
            "contributions": taken.contributions,
        });
        Ok(private(StatusCode::OK, body.to_string().into()))
    }

    fn list_windows(&self, tenant: &Tenant, name: &StreamName) -> Answer {
        let windows = self.counters.windows(tenant, name)?;
        let seconds = self.counters.definition(name)?.window_seconds;
        let windows: Vec<Value> = windows.iter().map(describe_window).collect();
        let body = json!({ "window_seconds": seconds, "windows": windows });
        Ok(private(StatusCode::OK, body.to_string().into()))
    }

    async fn merged_window(&self, tenant: &Tenant, name: StreamName, start: &str) -> Answer {
        let start: u64 = start.parse().map_err(|_| {
            super::keys::bad_parameter(
                "a window is named by its first second since 1970, as GET …/windows lists them"
                    .to_owned(),
            )
        })?;
        let (counters, tenant) = (self.counters.clone(), tenant.clone());
        let merged = blocking(move || Ok(counters.merged(&tenant, &name, start)?)).await?;
        Ok(binary(merged.to_bytes()))
    }
}

fn describe_window(view: &WindowView) -> Value {
    let state = match view.state {
        WindowState::Open => "open",
        WindowState::Closed => "closed",
        WindowState::Recorded => "recorded",
    };
    json!({ "start": view.start, "contributions": view.contributions, "state": state })
}

fn binary(bytes: Vec<u8>) -> Response<Bytes> {
    let mut response = private(StatusCode::OK, bytes.into());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(BINARY));
    response
}

/// It may be left out: a contribution is known by its bytes. If it is there, it is their BLAKE3, and tells a body that was
/// changed on its way.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<Digest>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| wrong_idempotency_key())?;
    let key = text.trim_matches('"').parse();
    key.map(Some).map_err(|_| wrong_idempotency_key())
}

fn wrong_idempotency_key() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "wrong-idempotency-key",
        "Idempotency-Key is the BLAKE3 of the body, in hexadecimal; leave it out, or send the body again",
    )
}
