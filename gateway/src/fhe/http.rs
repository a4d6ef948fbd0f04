//! The resources of `/fhe/v1/` (docs/specs/fhe-http.md): paths, methods, limits, headers.

use std::error::Error;

use bytes::Bytes;
use edge_types::Digest;
use fhe::wire::MAX_REQUEST_BYTES;
use fhe::{EvaluationKey, FheError, KeyId, Thing};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kernels::MAX_CIPHERTEXTS;

use super::batch::{Ask, Batcher, Evaluated};
use super::keys::KeyInfo;
use super::programs::Entry;
use super::{FheService, Problem, Tenant};

const PREFIX: &str = "/fhe/v1/";
/// Larger bodies are parsed and hashed on a thread that may block.
const INLINE_BYTES: usize = 256 << 10;

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
        let parts: Vec<&str> = path.strip_prefix(PREFIX).unwrap_or("").split('/').collect();
        let method = request.method().clone();
        match (parts.as_slice(), method) {
            (["programs"], Method::GET | Method::HEAD) => Ok(self.list_programs()),
            (["programs"], _) => Err(not_allowed("GET")),
            (["programs", name], Method::GET | Method::HEAD) => {
                Ok(json(StatusCode::OK, self.program(name)?.public.clone()))
            }
            (["programs", _], _) => Err(not_allowed("GET")),
            (["programs", name, "evaluate"], Method::POST) => {
                self.evaluate(request, tenant, self.program(name)?).await
            }
            (["programs", _, "evaluate"], _) => Err(not_allowed("POST")),
            (["keys"], Method::POST) => self.register(request, tenant).await,
            (["keys"], _) => Err(not_allowed("POST")),
            (["keys", id], Method::GET | Method::HEAD) => self.describe(tenant, id),
            (["keys", id], Method::DELETE) => self.forget(tenant, id).await,
            (["keys", _], _) => Err(not_allowed("GET, DELETE")),
            _ => Err(Problem::new(
                StatusCode::NOT_FOUND,
                "unknown-resource",
                "there is /fhe/v1/programs, /fhe/v1/programs/{name}, /fhe/v1/programs/{name}/evaluate and /fhe/v1/keys",
            )),
        }
    }

    fn list_programs(&self) -> Response<Bytes> {
        let mut body = b"{\"programs\":[".to_vec();
        for (index, entry) in self.programs.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            let program = entry.compiled.program();
            let item = serde_json::json!({
                "name": program.name(),
                "version": program.version(),
                "digest": program.digest(),
                "params": program.params(),
                "bootstraps_per_row": program.bootstraps_per_row(),
            });
            body.extend_from_slice(item.to_string().as_bytes());
        }
        body.extend_from_slice(b"]}");
        json(StatusCode::OK, body.into())
    }

    fn program(&self, name: &str) -> Result<&Entry, Problem> {
        self.programs.get(name).ok_or_else(|| {
            let detail =
                "there is no program of this name here; GET /fhe/v1/programs lists those that are";
            Problem::new(StatusCode::NOT_FOUND, "unknown-program", detail)
        })
    }

    async fn register<B>(&self, request: Request<B>, tenant: &Tenant) -> Answer
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

    fn describe(&self, tenant: &Tenant, id: &str) -> Answer {
        let id = id.parse::<KeyId>().map_err(|_| Problem::unknown_key())?;
        let info = self
            .keys
            .info(tenant, id)
            .ok_or_else(Problem::unknown_key)?;
        Ok(describe_key(StatusCode::OK, id, info))
    }

    async fn forget(&self, tenant: &Tenant, id: &str) -> Answer {
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

    async fn evaluate<B>(&self, request: Request<B>, tenant: &Tenant, entry: &Entry) -> Answer
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let limit = self.limit(MAX_REQUEST_BYTES);
        refuse_declared(&request, Thing::Request, limit)?;
        let bytes = collect(request.into_body(), Thing::Request, limit).await?;
        let small = bytes.len() <= INLINE_BYTES;
        let parse = move || Ok((fhe::Request::from_bytes(&bytes)?, Digest::of(&bytes)));
        let (request, digest) = if small {
            parse()?
        } else {
            blocking(parse).await?
        };
        let ask = self.check(request, digest, tenant, entry)?;
        let engine = self.engine_of(entry);
        let receiver = engine
            .submit(ask)
            .map_err(|busy| Problem::busy(busy.retry_after_s))?;
        // The sender goes away only when the gateway stops.
        let evaluated = receiver.await.map_err(|_| Problem::busy(1))??;
        Ok(evaluated_response(evaluated))
    }

    fn engine_of(&self, entry: &Entry) -> &Batcher {
        if entry.compiled.program().is_linear() {
            &self.linear
        } else {
            &self.bootstrap
        }
    }

    /// That the request, the program and the key belong together: all of it before any arithmetic.
    fn check(
        &self,
        request: fhe::Request,
        digest: Digest,
        tenant: &Tenant,
        entry: &Entry,
    ) -> Result<Ask, Problem> {
        let program = entry.compiled.program();
        if request.program != program.digest() {
            let detail = format!(
                "the rows were encrypted for another program, or another version of it; fetch {PREFIX}programs/{} again",
                program.name()
            );
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "program-changed",
                detail,
            ));
        }
        let info = self
            .keys
            .info(tenant, request.key)
            .ok_or_else(Problem::unknown_key)?;
        let wrong_set = |expected, got| {
            Problem::from(FheError::WrongParams {
                thing: Thing::Request,
                expected,
                got,
            })
        };
        if request.params != info.set {
            return Err(wrong_set(info.set, request.params));
        }
        if !info.set.serves(program.params()) {
            return Err(wrong_set(program.params(), info.set));
        }
        if request.values_per_row() != program.input_count() {
            let detail = format!(
                "{} values a row, and the program takes {}",
                request.values_per_row(),
                program.input_count()
            );
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "wrong-shape",
                detail,
            ));
        }
        let most = MAX_CIPHERTEXTS / entry.compiled.ciphertexts_per_row().max(1);
        if request.rows() > most.max(1) {
            let detail = format!(
                "{} rows at once; this program takes {most}: send several requests",
                request.rows()
            );
            return Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-many-rows",
                detail,
            ));
        }
        Ok(Ask {
            program: entry.compiled.clone(),
            key: request.key,
            set: info.set,
            tenant: tenant.clone(),
            digest,
            request,
        })
    }

    fn limit(&self, format: usize) -> usize {
        usize::try_from(self.max_request_bytes)
            .unwrap_or(usize::MAX)
            .min(format)
    }
}

fn not_allowed(allow: &'static str) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        format!("allowed here: {allow}"),
    )
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
            Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "incomplete",
                "the request's body did not arrive whole",
            ))
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

fn describe_key(status: StatusCode, id: KeyId, info: KeyInfo) -> Response<Bytes> {
    let body = serde_json::json!({ "id": id.to_string(), "params": info.set, "bytes": info.bytes });
    json(status, body.to_string().into())
}

fn evaluated_response(evaluated: Evaluated) -> Response<Bytes> {
    let ms = |time: std::time::Duration| time.as_secs_f64() * 1e3;
    let timings = &evaluated.timings;
    let timing = format!(
        "queue;dur={:.3}, linear;dur={:.3}, keyswitch;dur={:.3}, bootstrap;dur={:.3}, batch;desc=\"{} requests\"",
        ms(evaluated.queued),
        ms(timings.linear),
        ms(timings.keyswitch),
        ms(timings.bootstrap),
        evaluated.batch_len,
    );
    let mut response = Response::new(evaluated.reply);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(timing) = HeaderValue::try_from(timing) {
        headers.insert("server-timing", timing);
    }
    response
}
