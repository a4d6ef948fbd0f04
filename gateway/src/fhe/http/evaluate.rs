//! `/fhe/v1/programs/{name}/evaluate`: that a request, a program and a key belong together; then the engine.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use edge_types::Digest;
use fhe::wire::MAX_REQUEST_BYTES;
use fhe::{FheError, Thing};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use kernels::MAX_CIPHERTEXTS;

use super::preferences::{Preferences, RouteDeadline};
use super::{Answer, PREFIX, blocking, collect, refuse_declared};
use crate::fhe::batch::{Ask, Batcher, Evaluated};
use crate::fhe::programs::Entry;
use crate::fhe::{FheService, Problem, Tenant};

/// Larger bodies are parsed and hashed on a thread that may block.
const INLINE_BYTES: usize = 256 << 10;

impl FheService {
    pub(super) async fn evaluate<B>(
        &self,
        request: Request<B>,
        tenant: &Tenant,
        newest: Arc<Entry>,
    ) -> Answer
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let limit = self.limit(MAX_REQUEST_BYTES);
        refuse_declared(&request, Thing::Request, limit)?;
        let preferences = Preferences::of(request.headers());
        let route = request.extensions().get::<RouteDeadline>().copied();
        let deadline = preferences.deadline(Instant::now(), route);
        let bytes = collect(request.into_body(), Thing::Request, limit).await?;
        let small = bytes.len() <= INLINE_BYTES;
        let parse = move || Ok((fhe::Request::from_bytes(&bytes)?, Digest::of(&bytes)));
        let (request, digest) = if small {
            parse()?
        } else {
            blocking(parse).await?
        };
        // Rows are for the version that they were encrypted for, as long as it is installed.
        let name = newest.compiled.program().name();
        let entry = self.programs.of_digest(name, request.program);
        let entry = &*entry.unwrap_or(newest);
        let ask = Ask {
            urgency: preferences.urgency,
            deadline,
            ..self.check(request, digest, tenant, entry)?
        };
        let receiver = self.engine_of(entry).submit(ask)?;
        // The sender goes away only when the gateway stops.
        let evaluated = receiver.await.map_err(|_| Problem::busy(1))??;
        let mut response = evaluated_response(evaluated);
        if let Some(wait) = preferences.wait
            && let Ok(applied) = HeaderValue::try_from(format!("wait={}", wait.as_secs()))
        {
            response.headers_mut().insert("preference-applied", applied);
        }
        Ok(response)
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
            priority: tenant.settings().priority,
            urgency: 0,
            deadline: None,
            digest,
            request,
        })
    }
}

fn evaluated_response(evaluated: Evaluated) -> Response<Bytes> {
    let ms = |time: std::time::Duration| time.as_secs_f64() * 1e3;
    let timings = &evaluated.timings;
    let timing = format!(
        "queue;dur={:.3}, batch;dur={:.3};desc=\"{} requests\", linear;dur={:.3}, keyswitch;dur={:.3}, bootstrap;dur={:.3}",
        ms(evaluated.queued),
        ms(evaluated.gathered),
        evaluated.batch_len,
        ms(timings.linear),
        ms(timings.keyswitch),
        ms(timings.bootstrap),
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
