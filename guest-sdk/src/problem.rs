//! Errors to clients as problem+json (RFC 9457).

use serde_json::{Map, Value};

use crate::LocalResponse;

/// A problem document in the making.
#[derive(Debug, Clone)]
#[must_use]
pub struct Problem {
    status: u16,
    members: Map<String, Value>,
}

impl Problem {
    /// `title` is the same for every occurrence of this kind of problem.
    pub fn new(status: u16, title: &str) -> Self {
        Self {
            status,
            members: Map::new(),
        }
        .member("title", title)
        .member("status", status)
    }

    /// A URI that names the kind; `about:blank` if left out.
    pub fn kind(self, uri: &str) -> Self {
        self.member("type", uri)
    }

    /// What happened this time, and what the client can do.
    pub fn detail(self, text: &str) -> Self {
        self.member("detail", text)
    }

    pub fn member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    pub fn into_response(self) -> LocalResponse {
        LocalResponse::new(self.status)
            .with("content-type", "application/problem+json")
            .with("cache-control", "no-store")
            .body(Value::Object(self.members).to_string())
    }
}
