//! What can be said of a message from its head: how many fields the guest is told of, and whether a body follows.

use http::{HeaderMap, StatusCode};

use super::host::{REQUEST_PSEUDO, RESPONSE_PSEUDO};
use crate::exchange::ExchangeContext;

pub(super) fn request_fields(exchange: &ExchangeContext) -> u32 {
    exchange.request.headers.len() as u32 + REQUEST_PSEUDO
}

pub(super) fn response_fields(exchange: &ExchangeContext) -> u32 {
    let fields = exchange.response.as_ref();
    fields.map_or(0, |response| {
        response.headers.len() as u32 + RESPONSE_PSEUDO
    })
}

/// A length of zero, or none at all, is no body.
fn announced(headers: &HeaderMap) -> bool {
    match headers.get(http::header::CONTENT_LENGTH) {
        Some(length) => length != "0",
        None => headers.contains_key(http::header::TRANSFER_ENCODING),
    }
}

pub(super) fn request_has_body(exchange: &ExchangeContext) -> bool {
    if let Some(known) = exchange.request_has_body {
        return known;
    }
    let request = &exchange.request;
    let framed = exchange.info.protocol == "h1";
    announced(&request.headers)
        || (!framed
            && !request.headers.contains_key(http::header::CONTENT_LENGTH)
            && !request.method.is_safe())
}

pub(super) fn response_has_body(exchange: &ExchangeContext) -> bool {
    let Some(response) = &exchange.response else {
        return false;
    };
    let none = exchange.request.method == http::Method::HEAD
        || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&response.status);
    let length = response.headers.get(http::header::CONTENT_LENGTH);
    let said = || length.is_none_or(|length| length != "0");
    !none && exchange.response_has_body.unwrap_or_else(said)
}
