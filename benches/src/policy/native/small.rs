//! The twins of benches/policies.

use std::str;

use ::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use policy_host::{ExchangeContext, LocalResponse, Outcome};

use super::Subject;

pub struct NoOp;

impl Subject for NoOp {}

/// Reads the field where it lies.
pub struct Header;

impl Subject for Header {
    fn on_request(&self, exchange: &mut ExchangeContext) -> Outcome {
        let field = exchange.request.headers.get("x-tenant");
        let tenant = field.and_then(|value| str::from_utf8(value.as_bytes()).ok());
        match tenant {
            Some(tenant) if !tenant.is_empty() => Outcome::Continue,
            _ => Outcome::Respond(LocalResponse {
                status: StatusCode::BAD_REQUEST,
                headers: HeaderMap::new(),
                body: Bytes::new(),
            }),
        }
    }
}
