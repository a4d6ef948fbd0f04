//! The hooks on bodies. Who asked for which is remembered in the exchange, by place.
//!
//! Whole bodies come first, then what passes is watched. A policy whose hook fails under `on_fault = skip` is asked no more about
//! that body: half of a change is nobody's.

use bytes::Bytes;
use http::HeaderMap;

use super::filters::{self, PieceLeft};
use super::{Chain, apply, contain};
use crate::bindings::veilgate::policy::types::{BodyNeed as Wish, ChunkAction};
use crate::bodies::{Asked, BodyNeed, Places};
use crate::decision::{Outcome, Passed, Unavailable};
use crate::exchange::{ExchangeContext, Phase, ResponseParts, Source};
use crate::hooks::{Hook, Pick};
use crate::host::convert::{self, Decided};
use crate::policy::Policy;

/// The most of a body that one call of a stream hook gets: what a guest must have room for, whatever comes at once.
pub const MAX_CHUNK_BYTES: usize = 64 * 1024;

/// Which of the two messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    Request,
    Response,
}

impl Message {
    fn hook_for(self, wish: Wish) -> Option<Hook> {
        match (self, wish) {
            (_, Wish::None) => None,
            (Self::Request, Wish::Whole) => Some(Hook::RequestBody),
            (Self::Request, Wish::Watch) => Some(Hook::RequestStream),
            (Self::Response, Wish::Whole) => Some(Hook::ResponseBody),
            (Self::Response, Wish::Watch) => Some(Hook::ResponseStream),
        }
    }

    fn asked(self, exchange: &mut ExchangeContext) -> &mut Asked {
        match self {
            Self::Request => &mut exchange.bodies.request,
            Self::Response => &mut exchange.bodies.response,
        }
    }

    /// The place that is called as number `at` of `count`.
    fn nth(self, at: usize, count: usize) -> usize {
        match self {
            Self::Request => at,
            Self::Response => count - 1 - at,
        }
    }

    fn chunk_hook(self) -> Pick<(Vec<u8>, bool), (ChunkAction,)> {
        match self {
            Self::Request => |hooks| &hooks.request_chunk,
            Self::Response => |hooks| &hooks.response_chunk,
        }
    }
}

/// Whether the policy may have the body that it asks for.
pub(super) fn check_wish(
    policy: &Policy,
    place: usize,
    message: Message,
    wish: Wish,
) -> Result<(), &'static str> {
    let Some(hook) = message.hook_for(wish) else {
        return Ok(());
    };
    if !policy.has(hook) {
        return Err("a body was asked for, and the module exports no hook to take it");
    }
    let mut places = Places::default();
    if places.add(place) {
        Ok(())
    } else {
        Err("only the first 64 policies of a route can ask for bodies")
    }
}

/// Remembers who asked.
pub(super) fn note_wish(
    exchange: &mut ExchangeContext,
    place: usize,
    message: Message,
    wish: Wish,
) {
    let asked = message.asked(exchange);
    match wish {
        Wish::None => false,
        Wish::Whole => asked.whole.add(place),
        Wish::Watch => asked.watch.add(place),
    };
}

impl Chain {
    /// What the request hooks asked of the request's body.
    pub fn request_need(&self, exchange: &ExchangeContext) -> BodyNeed {
        self.need(exchange.bodies.request)
    }

    /// What the response hooks asked of the response's body.
    pub fn response_need(&self, exchange: &ExchangeContext) -> BodyNeed {
        self.need(exchange.bodies.response)
    }

    /// Whether a policy may ask what an LLM's answer cost.
    pub fn asks_llm(&self) -> bool {
        self.policies.iter().any(|policy| policy.asks_llm())
    }

    /// The longest body that is gathered for the key of the cache.
    pub fn cache_body_bytes(&self) -> usize {
        let keying = self.policies.iter().filter(|policy| policy.keys_cache());
        keying
            .map(|policy| policy.max_body_bytes())
            .max()
            .unwrap_or(0)
    }

    fn need(&self, asked: Asked) -> BodyNeed {
        let whole = self
            .at(asked.whole)
            .map(|(_, policy)| policy.max_body_bytes());
        BodyNeed {
            whole: whole.min(),
            watch: !asked.watch.is_empty(),
        }
    }

    fn at(&self, places: Places) -> impl DoubleEndedIterator<Item = (usize, &Policy)> {
        let all = if places.is_empty() {
            &[][..]
        } else {
            &self.policies
        };
        all.iter()
            .enumerate()
            .filter(move |(place, _)| places.has(*place))
            .map(|(place, policy)| (place, &**policy))
    }

    /// The whole request body, for those that asked for it, in order, each seeing what the one before made of it. The second value is
    /// the body to send, if it is another one. It must not be longer than `request_need` said.
    pub async fn on_request_body(
        &self,
        exchange: &mut ExchangeContext,
        body: Bytes,
    ) -> (Outcome, Option<Bytes>) {
        exchange.phase = Phase::RequestBody;
        exchange.llm.sees(body.clone());
        let (mut body, mut replaced) = (body, false);
        let mut outcome = Outcome::Continue;
        let limit = self.request_need(exchange).whole.unwrap_or(0);
        for (place, policy) in self.at(exchange.bodies.request.whole) {
            match one_request_body(policy, place, exchange, &body, limit).await {
                Ok((decided, another)) => {
                    if let Some(another) = exchange.llm.after_hook(another) {
                        (body, replaced) = (another, true);
                    }
                    outcome = decided;
                }
                Err(cause) => {
                    exchange.llm.after_fault(&body);
                    outcome =
                        contain(policy, cause).map_or(Outcome::Continue, Outcome::Unavailable);
                }
            }
            if !matches!(outcome, Outcome::Continue) {
                break;
            }
        }
        exchange.llm.body_is_gone(self.asks_llm());
        (outcome, replaced.then_some(body))
    }

    /// The whole response body, in reverse order. The answer is the body to send, if it is another one. Set `exchange.response` before;
    /// a policy may have put another in its place, whose source is `Source::Local`.
    pub async fn on_response_body(
        &self,
        exchange: &mut ExchangeContext,
        body: Bytes,
    ) -> Result<Option<Bytes>, Unavailable> {
        exchange.phase = Phase::ResponseBody;
        let mut replaced: Option<Bytes> = None;
        let limit = self.response_need(exchange).whole.unwrap_or(0);
        for (_, policy) in self.at(exchange.bodies.response.whole).rev() {
            let seen = replaced.as_ref().unwrap_or(&body);
            if let Some(plugin) = policy.plugin() {
                let seen = seen.clone();
                let whole = filters::whole(policy, plugin, exchange, Message::Response, seen);
                match Box::pin(whole).await {
                    Ok((None, another)) => replaced = another.or(replaced),
                    // The head is still here: those who come after see this response instead.
                    Ok((Some(response), _)) => {
                        replaced = Some(response.body);
                        exchange.response = Some(ResponseParts {
                            status: response.status,
                            headers: response.headers,
                            source: Source::Local,
                        });
                    }
                    Err(cause) => contain(policy, cause).map_or(Ok(()), Err)?,
                }
                continue;
            }
            let seen = seen.to_vec();
            let read = |(answer,)| convert::replacement(answer, limit);
            let called = policy.call(exchange, |hooks| &hooks.response_body, (seen,), read);
            match called.await {
                Ok(None) => {}
                Ok(Some(another)) => replaced = Some(another),
                Err(cause) => contain(policy, cause).map_or(Ok(()), Err)?,
            }
        }
        Ok(replaced)
    }

    /// A piece of the request's body on its way, in order.
    pub async fn on_request_chunk(
        &self,
        exchange: &mut ExchangeContext,
        chunk: Bytes,
        end: bool,
    ) -> Passed {
        let phase = std::mem::replace(&mut exchange.phase, Phase::RequestStream);
        let passed = self.pass(exchange, Message::Request, chunk, end).await;
        // The request may still be on its way when the response comes, and then the two take turns.
        exchange.phase = phase;
        passed
    }

    /// A piece of the response's body on its way, in reverse order.
    pub async fn on_response_chunk(
        &self,
        exchange: &mut ExchangeContext,
        chunk: Bytes,
        end: bool,
    ) -> Passed {
        exchange.phase = Phase::ResponseStream;
        self.pass(exchange, Message::Response, chunk, end).await
    }

    /// The request's trailers, once the end of its body was told, for the filters that watch it.
    pub async fn on_request_trailers(
        &self,
        exchange: &mut ExchangeContext,
        trailers: HeaderMap,
    ) -> Passed<HeaderMap> {
        let phase = std::mem::replace(&mut exchange.phase, Phase::RequestStream);
        let passed = self.trail(exchange, Message::Request, trailers).await;
        exchange.phase = phase;
        passed
    }

    /// The response's trailers, in reverse order.
    pub async fn on_response_trailers(
        &self,
        exchange: &mut ExchangeContext,
        trailers: HeaderMap,
    ) -> Passed<HeaderMap> {
        exchange.phase = Phase::ResponseStream;
        self.trail(exchange, Message::Response, trailers).await
    }

    async fn trail(
        &self,
        exchange: &mut ExchangeContext,
        message: Message,
        trailers: HeaderMap,
    ) -> Passed<HeaderMap> {
        let mut trailers = trailers;
        for at in 0..self.policies.len() {
            let place = message.nth(at, self.policies.len());
            let policy = &self.policies[place];
            let watches = message.asked(exchange).watch.has(place);
            let plugin = policy
                .plugin()
                .filter(|plugin| watches && filters::sees_trailers(plugin, message));
            let Some(plugin) = plugin else {
                continue;
            };
            let before = trailers.clone();
            let called = filters::trailers(policy, plugin, exchange, message, trailers);
            trailers = match Box::pin(called).await {
                Ok((None, left)) => left,
                Ok((Some(response), _)) => {
                    return Passed::Answered(policy.label().clone(), response);
                }
                Err(cause) => match contain(policy, cause) {
                    Some(unavailable) => return Passed::Unavailable(unavailable),
                    None => before,
                },
            };
        }
        Passed::On(trailers)
    }

    /// Every watcher sees what those before it left; a long piece comes in several, which are joined again.
    async fn pass(
        &self,
        exchange: &mut ExchangeContext,
        message: Message,
        chunk: Bytes,
        end: bool,
    ) -> Passed {
        if chunk.len() <= MAX_CHUNK_BYTES {
            return self.pass_one(exchange, message, chunk, end).await;
        }
        let mut rest = chunk;
        let mut joined = bytes::BytesMut::new();
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(MAX_CHUNK_BYTES));
            let last = end && rest.is_empty();
            match self.pass_one(exchange, message, piece, last).await {
                Passed::On(left) => joined.extend_from_slice(&left),
                broken => return broken,
            }
        }
        Passed::On(joined.freeze())
    }

    async fn pass_one(
        &self,
        exchange: &mut ExchangeContext,
        message: Message,
        chunk: Bytes,
        end: bool,
    ) -> Passed {
        let mut chunk = chunk;
        for at in 0..self.policies.len() {
            let place = message.nth(at, self.policies.len());
            // Nobody is asked about what was dropped, unless it is the end.
            if !message.asked(exchange).watch.has(place) || (chunk.is_empty() && !end) {
                continue;
            }
            let policy = &self.policies[place];
            if let Some(plugin) = policy.plugin() {
                let piece = filters::piece(policy, plugin, exchange, message, &chunk, end);
                match Box::pin(piece).await {
                    PieceLeft::Kept => {}
                    PieceLeft::Replaced(another) => chunk = another,
                    PieceLeft::BrokenOff => return Passed::BrokenOff(policy.label().clone()),
                    PieceLeft::Answered(response) => {
                        return Passed::Answered(policy.label().clone(), response);
                    }
                    PieceLeft::Failed(cause, held) => {
                        if let Some(unavailable) = contain(policy, cause) {
                            return Passed::Unavailable(unavailable);
                        }
                        message.asked(exchange).watch.remove(place);
                        chunk = held;
                    }
                }
                continue;
            }
            let seen = chunk.to_vec();
            let read = |(action,)| checked(action, policy.max_body_bytes());
            let called = policy.call(exchange, message.chunk_hook(), (seen, end), read);
            match called.await {
                Ok(ChunkAction::Keep) => {}
                Ok(ChunkAction::Replace(another)) => chunk = Bytes::from(another),
                Ok(ChunkAction::Drop) => chunk = Bytes::new(),
                Ok(ChunkAction::StopWatching) => message.asked(exchange).watch.remove(place),
                Ok(ChunkAction::Abort) => return Passed::BrokenOff(policy.label().clone()),
                Err(cause) => match contain(policy, cause) {
                    Some(unavailable) => return Passed::Unavailable(unavailable),
                    None => message.asked(exchange).watch.remove(place),
                },
            }
        }
        Passed::On(chunk)
    }
}

async fn one_request_body(
    policy: &Policy,
    place: usize,
    exchange: &mut ExchangeContext,
    body: &Bytes,
    limit: usize,
) -> Result<(Outcome, Option<Bytes>), crate::decision::Cause> {
    if let Some(plugin) = policy.plugin() {
        let whole = filters::whole(policy, plugin, exchange, Message::Request, body.clone());
        let (response, another) = Box::pin(whole).await?;
        let decided = Decided::of_filter(response, Wish::None);
        return Ok((apply(policy, exchange, decided), another));
    }
    let seen = body.to_vec();
    let read = |((decision, another),)| {
        Ok((
            convert::decision(decision)?,
            convert::replacement(another, limit)?,
        ))
    };
    let called = policy.call(exchange, |hooks| &hooks.request_body, (seen,), read);
    let (decided, another) = called.await?;
    if decided.done {
        exchange.done.mark(place);
    }
    Ok((apply(policy, exchange, decided), another))
}

fn checked(action: ChunkAction, limit: usize) -> Result<ChunkAction, &'static str> {
    match &action {
        ChunkAction::Replace(another) if another.len() > limit => {
            Err("a piece in place of another must be within the policy's max_body_bytes")
        }
        _ => Ok(action),
    }
}
