//! The stages of the bodies: gathered whole for the policies that asked, or watched as they pass; then framed as they came out.
//!
//! Invariants: nothing is gathered but under a policy's limit and within the route's timeout; what is only watched is never held;
//! a message without a body calls no body hook.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Response};
use parking_lot::Mutex;
use policy_host::llm::{Format, UsageScanner};
use policy_host::{BodyNeed, ResponseParts};
use tokio::time::{Instant, timeout_at};

use super::passing::{Watch, Way};
use super::policy::{Stage, answer_of, seen_as, source_after, unavailable_policy};
use super::usage::scanned;
use super::{Answer, Next};
use crate::body::{Body, BodyError, Gathered};
use crate::error::{Kind, ProxyError, RequestFault, Side};
use crate::exchange::Source;
use crate::upstream::fault::{of_refused_response, of_request_body, of_response_body};

impl Stage<'_> {
    /// The request's body hooks. An answer means that no upstream is asked.
    pub(super) async fn on_request_body(&mut self, body: Body) -> Result<Next, ProxyError> {
        let need = self.route.chain.request_need(&self.context);
        if need.is_none() || body.is_empty() {
            return Ok(Next::Forward(body));
        }
        let body = match need.whole {
            None => body,
            Some(limit) => match self.whole_request(body, limit as u64).await? {
                Next::Forward(body) => body,
                answer => return Ok(answer),
            },
        };
        if need.watch {
            return Ok(Next::Forward(self.watched_request(body).await?));
        }
        Ok(Next::Forward(body))
    }

    async fn whole_request(&mut self, body: Body, limit: u64) -> Result<Next, ProxyError> {
        let bytes = match self.gather_request(body, limit).await? {
            Gathered::Whole(bytes) => bytes,
            Gathered::Longer(_) => {
                let detail = format!("a policy takes bodies of up to {limit} bytes");
                return Err(ProxyError::request(RequestFault::BodyTooLarge, detail));
            }
        };
        let chain = &self.route.chain;
        let (outcome, another) = chain
            .on_request_body(&mut self.context, bytes.clone())
            .await;
        self.note_decisions();
        if let Some(answer) = answer_of(outcome)? {
            return Ok(Next::Answer(answer));
        }
        let bytes = another.unwrap_or(bytes);
        frame(&mut self.context.request.headers, &bytes);
        Ok(Next::Forward(Body::full(bytes)))
    }

    /// Everything, if it is within the limit and comes within the route's timeout.
    pub(super) async fn gather_request(
        &mut self,
        body: Body,
        limit: u64,
    ) -> Result<Gathered, ProxyError> {
        let gathering = timeout_at(self.deadline(), body.gather(limit));
        match self.apart(gathering).await {
            Ok(Ok(gathered)) => Ok(gathered),
            Ok(Err(error)) => Err(of_request_body(&error)),
            Err(_) => {
                let detail = "the body did not come within the route's timeout";
                Err(ProxyError::request(RequestFault::BodyTimeout, detail))
            }
        }
    }

    /// A body that is here already is watched at once, and can still be sent again after that.
    async fn watched_request(&mut self, body: Body) -> Result<Body, ProxyError> {
        let watch = self.watch(Way::ToUpstream);
        let Some(bytes) = body.in_memory() else {
            self.context.request.headers.remove(CONTENT_LENGTH);
            return Ok(watch.over(body));
        };
        let left = self.apart(watch.at_once(bytes)).await;
        let left = left.map_err(|refusal| of_request_body(&BodyError::Refused(refusal)))?;
        frame(&mut self.context.request.headers, &left);
        Ok(Body::full(left))
    }

    fn watch(&mut self, way: Way) -> Watch {
        Watch {
            route: self.route.clone(),
            shared: self.share(),
            way,
        }
    }

    /// The response's body hooks. Whatever the response's source; what the cache stores went by before.
    pub(super) async fn on_response_body(&mut self, answer: Answer) -> Result<Answer, ProxyError> {
        let answer = self.usage_watched(answer);
        let need = self.route.chain.response_need(&self.context);
        let status = answer.response.status().as_u16();
        let bodiless = self.account.summary.method == Method::HEAD || matches!(status, 204 | 304);
        if need.is_none() || bodiless || answer.response.body().is_empty() {
            return Ok(answer);
        }
        let (parts, body) = answer.response.into_parts();
        self.context.response = Some(ResponseParts {
            status: parts.status,
            headers: parts.headers,
            source: seen_as(answer.source),
        });
        let body = match self.changed_response(need, body).await {
            Ok(body) => body,
            Err(error) => return self.answer_of_watcher().ok_or(error),
        };
        let mut response = Response::new(body);
        let mut source = answer.source;
        if let Some(head) = &self.context.response {
            source = source_after(head.source, source);
            *response.status_mut() = head.status;
            // Those who watch may still read it while the body passes.
            response.headers_mut().clone_from(&head.headers);
        }
        Ok(Answer {
            response,
            source,
            fill: None,
        })
    }

    async fn changed_response(&mut self, need: BodyNeed, body: Body) -> Result<Body, ProxyError> {
        let body = match need.whole {
            None => body,
            Some(limit) => self.whole_response(body, limit as u64).await?,
        };
        if need.watch {
            return self.watched_response(body).await;
        }
        Ok(body)
    }

    async fn whole_response(&mut self, body: Body, limit: u64) -> Result<Body, ProxyError> {
        let gathering = timeout_at(self.deadline(), body.gather(limit));
        let bytes = match self.apart(gathering).await {
            Ok(Ok(Gathered::Whole(bytes))) => bytes,
            Ok(Ok(Gathered::Longer(_))) => {
                return Err(of_response_body(&BodyError::TooLarge { limit }));
            }
            Ok(Err(error)) => return Err(of_response_body(&error)),
            Err(_) => {
                let detail = "the response's body did not come within the route's timeout";
                return Err(ProxyError::new(
                    Kind::HttpResponseTimeout,
                    Side::Upstream,
                    detail,
                ));
            }
        };
        let chain = &self.route.chain;
        let another = chain
            .on_response_body(&mut self.context, bytes.clone())
            .await;
        let another = another.map_err(|unavailable| unavailable_policy(&unavailable))?;
        let bytes = another.unwrap_or(bytes);
        self.frame_response(&bytes);
        Ok(Body::full(bytes))
    }

    async fn watched_response(&mut self, body: Body) -> Result<Body, ProxyError> {
        let watch = self.watch(Way::ToClient);
        let Some(bytes) = body.in_memory() else {
            if let Some(head) = &mut self.context.response {
                head.headers.remove(CONTENT_LENGTH);
            }
            // What is broken off at its beginning can still become another answer; nothing is waited for.
            let begun = self.apart(watch.over(body).begun()).await;
            return begun.map_err(|error| of_response_body(&error));
        };
        let left = self.apart(watch.at_once(bytes)).await;
        let left = left.map_err(|refusal| of_refused_response(&refusal))?;
        self.frame_response(&left);
        Ok(Body::full(left))
    }

    fn frame_response(&mut self, bytes: &Bytes) {
        if let Some(head) = &mut self.context.response {
            frame(&mut head.headers, bytes);
        }
    }

    /// Where a policy may ask for it, the tokens of the response are counted as it passes.
    fn usage_watched(&mut self, mut answer: Answer) -> Answer {
        let headers = answer.response.headers();
        let format = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .and_then(Format::of);
        let readable = !headers.contains_key(CONTENT_ENCODING)
            && matches!(
                answer.source,
                Source::Upstream | Source::Cache | Source::StaleCache
            );
        if let Some(format) = format.filter(|_| readable && self.route.chain.asks_llm()) {
            let scanner = Arc::new(Mutex::new(UsageScanner::new(format)));
            self.account.usage = Some(scanner.clone());
            answer.response = answer.response.map(|body| scanned(body, scanner));
        }
        answer
    }

    fn deadline(&self) -> Instant {
        Instant::from_std(self.account.started()) + self.route.config.timeout
    }
}

fn frame(headers: &mut HeaderMap, bytes: &Bytes) {
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
}
