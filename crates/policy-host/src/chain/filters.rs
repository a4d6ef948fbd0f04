//! Where a policy is a proxy-wasm module: the chain's hooks as calls of its callbacks, with the same accounts.

use bytes::Bytes;
use http::HeaderMap;

use crate::bindings::veilgate::policy::types::BodyNeed as Wish;
use crate::decision::{Cause, LocalResponse};
use crate::exchange::ExchangeContext;
use crate::host::convert::Decided;
use crate::policy::Policy;
use crate::proxy_wasm::{BodyMode, Half, Head, Piece, Plugin};

use super::bodies::Message;

/// What became of a piece of a body.
pub(super) enum PieceLeft {
    Kept,
    Replaced(Bytes),
    /// The message is broken off.
    BrokenOff,
    /// The same, and this is the answer.
    Answered(LocalResponse),
    /// What it held back is here.
    Failed(Cause, Bytes),
}

fn half(message: Message) -> Half {
    match message {
        Message::Request => Half::Request,
        Message::Response => Half::Response,
    }
}

/// The head of a message.
pub(super) async fn head(
    policy: &Policy,
    plugin: &Plugin,
    exchange: &mut ExchangeContext,
    message: Message,
) -> Result<Decided, Cause> {
    let half = half(message);
    let wanted = match plugin.body_mode(half) {
        BodyMode::None => Wish::None,
        BodyMode::Whole => Wish::Whole,
        BodyMode::Stream => Wish::Watch,
    };
    Ok(
        match policy.account(plugin.on_headers(exchange, half)).await? {
            Head::Alone => Decided::of_filter(None, Wish::None),
            Head::BodyFollows => Decided::of_filter(None, wanted),
            Head::WithBody => Decided::of_filter(None, Wish::Whole),
            Head::Answered(response) => Decided::of_filter(Some(response), Wish::None),
        },
    )
}

/// A whole body: the answer in place of the exchange's, and the body in place of this one.
pub(super) async fn whole(
    policy: &Policy,
    plugin: &Plugin,
    exchange: &mut ExchangeContext,
    message: Message,
    body: Bytes,
) -> Result<(Option<LocalResponse>, Option<Bytes>), Cause> {
    let called = plugin.on_whole_body(exchange, half(message), body);
    policy.account(called).await
}

/// Trailers on their way. An answer means that the message is broken off.
pub(super) async fn trailers(
    policy: &Policy,
    plugin: &Plugin,
    exchange: &mut ExchangeContext,
    message: Message,
    trailers: HeaderMap,
) -> Result<(Option<LocalResponse>, HeaderMap), Cause> {
    let called = plugin.on_trailers(exchange, half(message), trailers);
    policy.account(called).await
}

pub(super) fn sees_trailers(plugin: &Plugin, message: Message) -> bool {
    plugin.sees_trailers(half(message))
}

/// A piece of a body on its way.
pub(super) async fn piece(
    policy: &Policy,
    plugin: &Plugin,
    exchange: &mut ExchangeContext,
    message: Message,
    piece: &Bytes,
    end: bool,
) -> PieceLeft {
    let max_held = policy.max_body_bytes();
    let mut held = None;
    let called = async {
        match plugin
            .on_piece(exchange, half(message), piece, end, max_held)
            .await
        {
            Piece::Trouble(trouble, bytes) => {
                held = Some(bytes);
                Err(trouble)
            }
            other => Ok(other),
        }
    };
    match policy.account(called).await {
        Ok(Piece::Kept | Piece::Trouble(..)) => PieceLeft::Kept,
        Ok(Piece::Passed(another)) => PieceLeft::Replaced(another),
        Ok(Piece::Answered(response)) => PieceLeft::Answered(response),
        Ok(Piece::TooLong) => PieceLeft::BrokenOff,
        Err(cause) => PieceLeft::Failed(cause, held.unwrap_or_else(|| piece.clone())),
    }
}
