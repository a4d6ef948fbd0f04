//! The resources of `/fhe/v1/` (docs/specs/fhe-http.md): paths, methods, limits, headers.

use std::error::Error;

use bytes::Bytes;
use fhe::{FheError, Thing};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::{FheService, Problem, Tenant};

mod counters;
mod evaluate;
mod jobs;
mod keys;
mod openapi;
mod preferences;
pub(super) mod programs;
pub(super) mod routes;
mod uploads;

pub(super) use evaluate::server_timing;
pub use preferences::RouteDeadline;

const PREFIX: &str = "/fhe/v1/";
type Answer = Result<Response<Bytes>, Problem>;

impl FheService {
    /// Answers one request of this tenant. Never fails: what goes wrong is a problem+json response.
    pub async fn handle<B>(&self, request: Request<B>, tenant: &Tenant) -> Response<Bytes>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        self.answer(request, tenant)
            .await
            .unwrap_or_else(Problem::into_response)
    }

    async fn answer<B>(&self, request: Request<B>, tenant: &Tenant) -> Answer
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let path = request.uri().path().to_owned();
        let parts = routes::parts(&path);
        let method = request.method().clone();
        routes::check(&parts, &method)?;
        match (parts.as_slice(), method) {
            ([], _) => Ok(self.index()),
            (["openapi.json"], _) => Ok(openapi::document()),
            (["programs"], Method::GET | Method::HEAD) => Ok(self.list_programs()),
            (["programs", name], Method::GET | Method::HEAD) => {
                Ok(json(StatusCode::OK, self.program(name)?.public.clone()))
            }
            (["programs", name, "versions", version], Method::GET | Method::HEAD) => {
                self.describe_version(name, version)
            }
            (["programs", name, "evaluate"], Method::POST) => {
                let newest = self.program(name)?;
                self.evaluate(request, tenant, newest).await
            }
            (["keys"], Method::POST) => self.register(request, tenant).await,
            (["keys"], _) => Ok(self.list_keys(tenant)),
            (["keys", id], Method::GET | Method::HEAD) => self.describe(tenant, id),
            (["keys", id], Method::DELETE) => self.forget(tenant, id).await,
            (["uploads"], Method::POST) => self.start_upload(request, tenant).await,
            (["uploads"], _) => Ok(self.list_uploads(tenant)),
            (["uploads", id], Method::PATCH) => self.append(request, tenant, id).await,
            (["uploads", id], Method::DELETE) => self.cancel_upload(tenant, id).await,
            (["uploads", id], _) => self.describe_upload(tenant, id),
            (["jobs", id], Method::DELETE) => self.forget_job(tenant, id).await,
            (["jobs", id], _) => self.describe_job(tenant, id),
            (["jobs", id, "result"], _) => self.job_result(tenant, id).await,
            (["counters", rest @ ..], method) => self.counters(request, tenant, rest, method).await,
            _ => Err(routes::unknown()),
        }
    }

    fn limit(&self, format: usize) -> usize {
        usize::try_from(self.max_request_bytes)
            .unwrap_or(usize::MAX)
            .min(format)
    }
}

/// A declared length past the limit is refused before a byte of it is read.
fn refuse_declared<B: Body>(
    request: &Request<B>,
    thing: Thing,
    limit: usize,
) -> Result<(), Problem> {
    match request.body().size_hint().lower() {
        got if got > limit as u64 => Err(oversize(thing, limit, got as usize)),
        _ => Ok(()),
    }
}

fn oversize(thing: Thing, limit: usize, got: usize) -> Problem {
    FheError::Oversize { thing, limit, got }.into()
}

async fn collect<B>(body: B, thing: Thing, limit: usize) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(oversize(thing, limit, limit + 1)),
        Err(error) => {
            tracing::debug!(%error, "the body of an FHE request did not arrive");
            Err(Problem::incomplete())
        }
    }
}

async fn blocking<T, F>(work: F) -> Result<T, Problem>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Problem> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(%error, "an FHE task failed");
            Err(Problem::internal())
        }
    }
}

fn json(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}
