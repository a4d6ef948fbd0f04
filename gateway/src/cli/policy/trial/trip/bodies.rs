//! The bodies of an exchange: given whole or in pieces to the hooks that the policy asked for, as the gateway does it.

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use policy_host::llm::{Format, UsageScanner};
use policy_host::{Outcome, Passed, ResponseParts, Source};

use super::super::step::Decision;
use super::{Replied, Reply, Trip, answered, broken_off, refused, whole};

impl Trip<'_> {
    /// An answer ends the exchange here.
    pub(super) async fn request_body(&mut self) -> Option<Replied> {
        let bed = self.bed;
        let need = bed.chain.request_need(&self.context);
        if need.is_none() || self.request_body.iter().all(Bytes::is_empty) {
            return None;
        }
        if let Some(limit) = need.whole {
            let body = whole(&self.request_body);
            if body.len() > limit {
                return Some(broken_off(
                    Decision::TooLarge,
                    StatusCode::PAYLOAD_TOO_LARGE,
                ));
            }
            let call = bed.chain.on_request_body(&mut self.context, body.clone());
            let (outcome, another) = bed.step("request-body", call).await;
            match outcome {
                Outcome::Continue => {}
                Outcome::Respond(response) => return Some(answered(response)),
                Outcome::Defer => return Some(refused(Decision::Defer)),
                Outcome::Unavailable(_) => return Some(refused(Decision::Unavailable)),
            }
            self.request_body = vec![another.unwrap_or(body)];
        }
        // Without an attempt nothing passes; what was gathered is seen anyway.
        let passes = need.whole.is_some() || !self.step.attempts.is_empty();
        if need.watch
            && passes
            && let Some(ended) = self.watch_request().await
        {
            return Some(ended);
        }
        let length = self.request_body.iter().map(Bytes::len).sum();
        frame(&mut self.context.request.headers, length);
        None
    }

    async fn watch_request(&mut self) -> Option<Replied> {
        let bed = self.bed;
        let chunks = std::mem::take(&mut self.request_body);
        let count = chunks.len();
        for (at, chunk) in chunks.into_iter().enumerate() {
            let call = bed
                .chain
                .on_request_chunk(&mut self.context, chunk, at + 1 == count);
            match bed.step("request-chunk", call).await {
                Passed::On(left) => self.request_body.push(left),
                Passed::BrokenOff(_) => {
                    return Some(broken_off(Decision::Abort, StatusCode::FORBIDDEN));
                }
                Passed::Answered(_, response) => return Some(answered(response)),
                Passed::Unavailable(_) => return Some(refused(Decision::Unavailable)),
            }
        }
        None
    }

    /// The response as it passes to the client.
    pub(super) async fn response_body(
        &mut self,
        decision: Decision,
        mut reply: Reply,
    ) -> (Decision, Reply) {
        self.read_usage(&reply);
        let bed = self.bed;
        let need = bed.chain.response_need(&self.context);
        let bodiless =
            self.step.request.method == Method::HEAD || matches!(reply.status.as_u16(), 204 | 304);
        if need.is_none() || bodiless || reply.body.iter().all(Bytes::is_empty) {
            return (decision, reply);
        }
        self.context.response = Some(ResponseParts {
            status: reply.status,
            headers: std::mem::take(&mut reply.headers),
            source: reply.source,
        });
        let body = match self
            .changed_response(need.whole, need.watch, reply.body)
            .await
        {
            Ok(body) => body,
            Err(instead) => return *instead,
        };
        let mut decision = decision;
        if let Some(head) = self.context.response.take() {
            if head.source == Source::Local && reply.source != Source::Local {
                decision = Decision::Respond;
            }
            (reply.status, reply.headers, reply.source) = (head.status, head.headers, head.source);
        }
        frame(&mut reply.headers, body.iter().map(Bytes::len).sum());
        reply.body = body;
        (decision, reply)
    }

    async fn changed_response(
        &mut self,
        limit: Option<usize>,
        watch: bool,
        body: Vec<Bytes>,
    ) -> Result<Vec<Bytes>, Box<(Decision, Reply)>> {
        let bed = self.bed;
        let mut body = body;
        let failed = |decision, status| Err(Box::new((decision, Reply::error(status))));
        if let Some(limit) = limit {
            let all = whole(&body);
            if all.len() > limit {
                return failed(Decision::TooLarge, StatusCode::BAD_GATEWAY);
            }
            let call = bed.chain.on_response_body(&mut self.context, all.clone());
            match bed.step("response-body", call).await {
                Ok(another) => body = vec![another.unwrap_or(all)],
                Err(_) => return failed(Decision::Unavailable, StatusCode::SERVICE_UNAVAILABLE),
            }
        }
        if !watch {
            return Ok(body);
        }
        let count = body.len();
        let mut passed: Vec<Bytes> = Vec::new();
        for (at, chunk) in body.into_iter().enumerate() {
            let call = bed
                .chain
                .on_response_chunk(&mut self.context, chunk, at + 1 == count);
            match bed.step("response-chunk", call).await {
                Passed::On(left) => passed.push(left),
                // The head leaves with the first piece that passes.
                Passed::Answered(_, response) if passed.iter().all(Bytes::is_empty) => {
                    return Err(Box::new((Decision::Respond, Reply::local(response))));
                }
                Passed::BrokenOff(_) | Passed::Answered(..) => {
                    return failed(Decision::Abort, StatusCode::BAD_GATEWAY);
                }
                Passed::Unavailable(_) => {
                    return failed(Decision::Unavailable, StatusCode::SERVICE_UNAVAILABLE);
                }
            }
        }
        Ok(passed)
    }

    /// What an LLM's response says of its tokens, for the complete hook.
    fn read_usage(&mut self, reply: &Reply) {
        let stored = matches!(
            reply.source,
            Source::Upstream | Source::Cache | Source::StaleCache
        );
        if !stored || reply.headers.contains_key(CONTENT_ENCODING) {
            return;
        }
        let content_type = reply
            .headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let Some(format) = content_type.and_then(Format::of) else {
            return;
        };
        let mut scanner = UsageScanner::new(format);
        for chunk in &reply.body {
            scanner.read(chunk);
        }
        let prompt = self.context.llm_prompt();
        self.context.llm_is_over(scanner.usage(prompt));
    }
}

/// A body that was looked at may have another length.
fn frame(headers: &mut HeaderMap, length: usize) {
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
}
