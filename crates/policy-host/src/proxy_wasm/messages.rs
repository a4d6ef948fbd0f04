//! The messages of an exchange as a filter's callbacks see them: heads, bodies whole or piece by piece, the end.

use bytes::Bytes;
use http::HeaderMap;
use wasmtime::Store;

use super::abi::{Action, Half};
use super::facts::BodyMode;
use super::heads::{request_fields, request_has_body, response_fields, response_has_body};
use super::plugin::{Plugin, Trouble};
use super::state::VmState;
use super::stream::Pinned;
use super::vm::end_context;
use crate::decision::LocalResponse;
use crate::exchange::ExchangeContext;

/// What became of the head of a message.
pub(crate) enum Head {
    /// It goes on, and no body callback is to come.
    Alone,
    /// It goes on, and its body is to be told in the policy's way.
    BodyFollows,
    /// It goes on with its body, once the filter saw that.
    WithBody,
    Answered(LocalResponse),
}

/// What became of a piece of a body.
pub(crate) enum Piece {
    /// As it was.
    Kept,
    /// This goes on instead; nothing, if it is empty.
    Passed(Bytes),
    /// The filter answers; the message is on its way already.
    Answered(LocalResponse),
    /// More is held back than the policy may.
    TooLong,
    /// What was held back is here, the piece included.
    Trouble(Trouble, Bytes),
}

impl Plugin {
    /// The heads of both messages. Held back: it waits until the filter resumes or answers.
    pub(crate) async fn on_headers(
        &self,
        exchange: &mut ExchangeContext,
        half: Half,
    ) -> Result<Head, Trouble> {
        let mut pinned = self.pinned(exchange)?;
        let outcome = self.headers(&mut pinned, exchange, half).await;
        self.keep(exchange, pinned, &outcome);
        outcome
    }

    fn keep<R>(
        &self,
        exchange: &mut ExchangeContext,
        pinned: Pinned,
        outcome: &Result<R, Trouble>,
    ) {
        if outcome.is_ok() {
            exchange.pinned.push(pinned);
        }
    }

    async fn headers(
        &self,
        pinned: &mut Pinned,
        exchange: &mut ExchangeContext,
        half: Half,
    ) -> Result<Head, Trouble> {
        let (count, end) = match half {
            Half::Request => (request_fields(exchange), !request_has_body(exchange)),
            Half::Response => (response_fields(exchange), !response_has_body(exchange)),
        };
        let body_follows = !end && self.body_mode(half) != BodyMode::None;
        self.deliver_waiting(pinned, exchange)?;
        self.enter(pinned, exchange, |callbacks, store| {
            let headers = match half {
                Half::Request => &callbacks.request_headers,
                Half::Response => &callbacks.response_headers,
            };
            let Some(headers) = headers else {
                return Ok(());
            };
            let context = store.data().effective;
            hold(store, half, Action::Pause);
            let action = headers.call(store, context, count, end)?;
            settle_action(store, half, action);
            Ok(())
        })?;
        if body_follows && self.waits_for_body(pinned, half) {
            return Ok(Head::WithBody);
        }
        Ok(match self.until_resumed(pinned, exchange, half).await? {
            Some(response) => Head::Answered(response),
            None if body_follows => Head::BodyFollows,
            None => Head::Alone,
        })
    }

    /// A head that is held back while nothing is under way that could resume it waits for what the body callback says.
    fn waits_for_body(&self, pinned: &mut Pinned, half: Half) -> bool {
        if self.ticks(pinned) {
            return false;
        }
        let Some(stream) = &mut pinned.stream else {
            return false;
        };
        let waits = stream.local.is_none()
            && !stream.closed
            && stream.flow(half).paused
            && !stream.mailbox.awaits_calls();
        if waits {
            stream.resumed(half);
        }
        waits
    }

    /// The whole body of a message. The second value is what takes its place.
    pub(crate) async fn on_whole_body(
        &self,
        exchange: &mut ExchangeContext,
        half: Half,
        body: Bytes,
    ) -> Result<(Option<LocalResponse>, Option<Bytes>), Trouble> {
        let mut pinned = self.pinned(exchange)?;
        let outcome = async {
            self.body(&mut pinned, exchange, half, &body, true).await?;
            let response = self.until_resumed(&mut pinned, exchange, half).await?;
            Ok((
                response,
                taken(&mut pinned, half).filter(|(_, changed)| *changed),
            ))
        }
        .await;
        self.keep(exchange, pinned, &outcome);
        outcome.map(|(response, body)| (response, body.map(|(body, _)| body)))
    }

    /// A piece of a message that passes.
    pub(crate) async fn on_piece(
        &self,
        exchange: &mut ExchangeContext,
        half: Half,
        piece: &Bytes,
        end: bool,
        max_held: usize,
    ) -> Piece {
        let mut pinned = match self.pinned(exchange) {
            Ok(pinned) => pinned,
            Err(fault) => return Piece::Trouble(fault.into(), piece.clone()),
        };
        if pinned.held_len(half) + piece.len() > max_held {
            return Piece::TooLong;
        }
        let called = async {
            self.body(&mut pinned, exchange, half, piece, end).await?;
            if end {
                self.until_resumed(&mut pinned, exchange, half).await
            } else {
                let stream = pinned.stream.as_mut();
                Ok(stream.and_then(|stream| stream.answer(half)))
            }
        }
        .await;
        match called {
            Err(trouble) => {
                let held = taken(&mut pinned, half);
                Piece::Trouble(trouble, held.map_or_else(Bytes::new, |(body, _)| body))
            }
            Ok(response) => {
                let passed = match response {
                    Some(response) => Piece::Answered(response),
                    None => pinned.passed(half, piece),
                };
                exchange.pinned.push(pinned);
                passed
            }
        }
    }

    async fn body(
        &self,
        pinned: &mut Pinned,
        exchange: &mut ExchangeContext,
        half: Half,
        piece: &[u8],
        end: bool,
    ) -> Result<(), Trouble> {
        if let Some(stream) = pinned.stream.as_mut() {
            let flow = stream.flow(half);
            flow.body.get_or_insert_default().extend_from_slice(piece);
        }
        self.deliver_waiting(pinned, exchange)?;
        self.enter(pinned, exchange, |callbacks, store| {
            let callback = match half {
                Half::Request => &callbacks.request_body,
                Half::Response => &callbacks.response_body,
            };
            let Some(callback) = callback else {
                return Ok(());
            };
            let (context, len) = (store.data().effective, body_len(store, half));
            hold(store, half, Action::Pause);
            let action = callback.call(&mut *store, (context, len, end.into()))?;
            settle_action(store, half, action);
            Ok(())
        })
    }

    /// The trailers of a message that passes: the answer in place of what would come, and the trailers as the filter leaves them.
    pub(crate) async fn on_trailers(
        &self,
        exchange: &mut ExchangeContext,
        half: Half,
        trailers: HeaderMap,
    ) -> Result<(Option<LocalResponse>, HeaderMap), Trouble> {
        let mut pinned = self.pinned(exchange)?;
        let outcome = async {
            let count = trailers.len() as u32;
            if let Some(stream) = pinned.stream.as_mut() {
                stream.flow(half).trailers = Some(trailers);
            }
            self.deliver_waiting(&mut pinned, exchange)?;
            self.enter(&mut pinned, exchange, |callbacks, store| {
                let callback = match half {
                    Half::Request => &callbacks.request_trailers,
                    Half::Response => &callbacks.response_trailers,
                };
                let Some(callback) = callback else {
                    return Ok(());
                };
                let context = store.data().effective;
                hold(store, half, Action::Pause);
                let action = callback.call(&mut *store, (context, count))?;
                settle_action(store, half, action);
                Ok(())
            })?;
            let response = self.until_resumed(&mut pinned, exchange, half).await?;
            let left = pinned.stream.as_mut();
            let left = left.and_then(|stream| stream.flow(half).trailers.take());
            Ok((response, left.unwrap_or_default()))
        }
        .await;
        self.keep(exchange, pinned, &outcome);
        outcome
    }

    /// Done, log, delete.
    pub(crate) fn on_end(&self, exchange: &mut ExchangeContext) -> Result<(), Trouble> {
        let known = exchange
            .pinned
            .iter()
            .position(|pinned| pinned.plugin == self.id);
        let Some(at) = known else {
            return Ok(());
        };
        let mut pinned = exchange.pinned.swap_remove(at);
        self.enter(&mut pinned, exchange, |callbacks, store| {
            let context = store.data().effective;
            end_context(callbacks, store, context)
        })?;
        pinned.stream = None;
        Ok(())
    }
}

/// Before a callback: it may resume what it is about to hold back.
fn hold(store: &mut Store<VmState>, half: Half, action: Action) {
    if let Some(stream) = &mut store.data_mut().stream {
        stream.flow(half).paused = action == Action::Pause;
    }
}

fn settle_action(store: &mut Store<VmState>, half: Half, answered: u32) {
    if Action::from_guest(answered) == Action::Continue {
        hold(store, half, Action::Continue);
    }
}

fn body_len(store: &Store<VmState>, half: Half) -> u32 {
    let stream = store.data().stream.as_deref();
    let body = stream.and_then(|stream| match half {
        Half::Request => stream.request.body.as_ref(),
        Half::Response => stream.response.body.as_ref(),
    });
    body.map_or(0, |body| body.len() as u32)
}

/// The body that the filter leaves, and whether it wrote to it.
fn taken(pinned: &mut Pinned, half: Half) -> Option<(Bytes, bool)> {
    let flow = pinned.stream.as_mut()?.flow(half);
    let changed = std::mem::take(&mut flow.changed);
    Some((flow.body.take()?.into(), changed))
}
