//! What a hook decides, and the response that a policy gives by itself.

use crate::bindings::veilgate::policy::types;

pub use types::{BodyNeed, ChunkAction, LocalResponse, RouteChoice};

/// What a request body hook decides.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BodyDecision {
    pub decision: Decision,
    /// Sent on instead of the body.
    pub replace: Option<Vec<u8>>,
}

/// A hook's decision. Empty ([`Decision::next`]): go on.
///
/// It is the contract's record all the time: nothing is moved about when the hook returns it.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a decision does nothing until the hook returns it"]
pub struct Decision(types::Decision);

impl Default for Decision {
    fn default() -> Self {
        Self(types::Decision {
            respond: None,
            route: None,
            body: BodyNeed::None,
            defer: false,
            done: false,
            reason: None,
            response_headers: Vec::new(),
        })
    }
}

impl Decision {
    pub fn next() -> Self {
        Self::default()
    }

    pub fn respond(response: LocalResponse) -> Self {
        let mut decision = Self::default();
        decision.0.respond = Some(response);
        decision
    }

    pub fn route(choice: RouteChoice) -> Self {
        let mut decision = Self::default();
        decision.0.route = Some(choice);
        decision
    }

    /// Accept the request now and replay it later, if the route allows it.
    pub fn defer() -> Self {
        let mut decision = Self::default();
        decision.0.defer = true;
        decision
    }

    /// The message's body, whole or as it passes, for the body hooks of this policy.
    pub fn body(mut self, need: BodyNeed) -> Self {
        self.0.body = need;
        self
    }

    /// No later hook of this exchange is needed (attempt, outcome, response, complete): the host saves the calls. Body hooks that
    /// were asked for still come.
    pub fn done(mut self) -> Self {
        self.0.done = true;
        self
    }

    /// Why, for the access log and the metrics label. Constant by type: a label must not grow with what clients send.
    pub fn reason(mut self, reason: &'static str) -> Self {
        self.0.reason = Some(reason.to_owned());
        self
    }

    /// Sets a field on whatever response the client will get; `name` in lower case. No response hook is needed for it.
    pub fn response_header(mut self, name: &str, value: impl Into<String>) -> Self {
        let field = (name.to_owned(), value.into());
        self.0.response_headers.push(field);
        self
    }

    pub fn response_headers(&self) -> &[(String, String)] {
        &self.0.response_headers
    }

    pub fn response(&self) -> Option<&LocalResponse> {
        self.0.respond.as_ref()
    }
}

impl From<Decision> for BodyDecision {
    fn from(decision: Decision) -> Self {
        Self {
            decision,
            replace: None,
        }
    }
}

impl From<Decision> for types::Decision {
    fn from(decision: Decision) -> Self {
        decision.0
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
