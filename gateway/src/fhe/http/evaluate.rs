//! `/fhe/v1/programs/{name}/evaluate`: reads a request and what it prefers, and answers with the scores, or with a job.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use edge_types::Digest;
use fhe::Thing;
use fhe::wire::MAX_REQUEST_BYTES;
use http::{HeaderValue, Request, Response, header};
use http_body::Body;

use super::preferences::{Preferences, RouteDeadline, When};
use super::{Answer, blocking, collect, refuse_declared};
use crate::fhe::batch::{Ask, Evaluated};
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
        let of_parser = bytes.clone();
        let parse = move || {
            let request = fhe::Request::from_bytes(&of_parser)?;
            Ok((request, Digest::of(&of_parser)))
        };
        let (request, digest) = if small {
            parse()?
        } else {
            blocking(parse).await?
        };
        let name = newest.compiled.program().name();
        let entry = self.scorer.entry(name, &request).unwrap_or(newest);
        let ask = Ask {
            urgency: preferences.urgency,
            ..self.scorer.check(request, digest, tenant, &entry)?
        };
        match preferences.answer {
            When::Later => return self.begin_job(ask, bytes).await,
            When::Now => drop(bytes),
        }
        let receiver = self.scorer.submit(Ask { deadline, ..ask })?;
        // The sender goes away only when the gateway stops.
        let evaluated = receiver.await.map_err(|_| Problem::busy(1))??;
        let timing = server_timing(&evaluated);
        let mut response = reply_response(evaluated.reply, &timing);
        if let Some(wait) = preferences.wait
            && let Ok(applied) = HeaderValue::try_from(format!("wait={}", wait.as_secs()))
        {
            response.headers_mut().insert("preference-applied", applied);
        }
        Ok(response)
    }
}

/// Where the time of an evaluation went.
pub(in crate::fhe) fn server_timing(evaluated: &Evaluated) -> String {
    let ms = |time: std::time::Duration| time.as_secs_f64() * 1e3;
    let timings = &evaluated.timings;
    format!(
        "queue;dur={:.3}, batch;dur={:.3};desc=\"{} requests\", linear;dur={:.3}, keyswitch;dur={:.3}, bootstrap;dur={:.3}",
        ms(evaluated.queued),
        ms(evaluated.gathered),
        evaluated.batch_len,
        ms(timings.linear),
        ms(timings.keyswitch),
        ms(timings.bootstrap),
    )
}

pub(super) fn reply_response(reply: Bytes, timing: &str) -> Response<Bytes> {
    let mut response = Response::new(reply);
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
