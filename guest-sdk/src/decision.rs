//! What a hook decides, and the response that a policy gives by itself.

use crate::bindings::veilgate::policy::types;

pub use types::{BodyNeed, LocalResponse, RouteChoice};

/// A hook's decision. Empty ([`Decision::next`]): go on.
#[derive(Debug, Clone, Default, PartialEq)]
#[must_use = "a decision does nothing until the hook returns it"]
pub struct Decision {
    respond: Option<LocalResponse>,
    route: Option<RouteChoice>,
    defer: bool,
    reason: Option<&'static str>,
}

impl Decision {
    pub fn next() -> Self {
        Self::default()
    }

    pub fn respond(response: LocalResponse) -> Self {
        Self {
            respond: Some(response),
            ..Self::default()
        }
    }

    pub fn route(choice: RouteChoice) -> Self {
        Self {
            route: Some(choice),
            ..Self::default()
        }
    }

    /// Accept the request now and replay it later, if the route allows it.
    pub fn defer() -> Self {
        Self {
            defer: true,
            ..Self::default()
        }
    }

    /// Why, for the access log and the metrics label. Constant by type: a label must not grow with what clients send.
    pub fn reason(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    pub fn response(&self) -> Option<&LocalResponse> {
        self.respond.as_ref()
    }
}

impl From<Decision> for types::Decision {
    fn from(decision: Decision) -> Self {
        Self {
            respond: decision.respond,
            route: decision.route,
            // no hook takes bodies in this version of the contract
            body: BodyNeed::None,
            defer: decision.defer,
            reason: decision.reason.map(str::to_owned),
        }
    }
}

impl LocalResponse {
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Adds a field; `name` in lower case.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let field = self.headers.iter().find(|(known, _)| known == name);
        field.map(|(_, value)| value.as_str())
    }
}

impl RouteChoice {
    /// The gateway's balancer picks the endpoint.
    pub fn to(upstream: impl Into<String>) -> Self {
        Self {
            upstream: upstream.into(),
            endpoint: None,
            hash_key: None,
            timeout: None,
        }
    }
}
