//! Errors to clients as problem+json (RFC 9457).

use crate::LocalResponse;
use crate::json::push_text;
use crate::settings::push_digits;

/// A problem document in the making.
#[derive(Debug, Clone)]
#[must_use]
pub struct Problem {
    status: u16,
    /// JSON, but for its last brace.
    json: String,
}

/// The value of a member, as JSON.
#[derive(Debug, Clone)]
pub struct MemberValue(String);

impl Problem {
    /// `title` is the same for every occurrence of this kind of problem.
    pub fn new(status: u16, title: &str) -> Self {
        let json = String::from("{\"title\":");
        let mut problem = Self { status, json };
        push_text(&mut problem.json, title);
        problem.member("status", u64::from(status))
    }

    /// A URI that names the kind; `about:blank` if left out.
    pub fn kind(self, uri: &str) -> Self {
        self.member("type", uri)
    }

    /// What happened this time, and what the client can do.
    pub fn detail(self, text: &str) -> Self {
        self.member("detail", text)
    }

    pub fn member(mut self, name: &str, value: impl Into<MemberValue>) -> Self {
        self.json.push(',');
        push_text(&mut self.json, name);
        self.json.push(':');
        self.json.push_str(&value.into().0);
        self
    }

    pub fn into_response(mut self) -> LocalResponse {
        self.json.push('}');
        LocalResponse::new(self.status)
            .with("content-type", "application/problem+json")
            .with("cache-control", "no-store")
            .body(self.json)
    }
}

impl From<&str> for MemberValue {
    fn from(text: &str) -> Self {
        let mut json = String::new();
        push_text(&mut json, text);
        Self(json)
    }
}

impl From<String> for MemberValue {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<u64> for MemberValue {
    fn from(number: u64) -> Self {
        let mut json = String::new();
        push_digits(&mut json, number);
        Self(json)
    }
}

impl From<bool> for MemberValue {
    fn from(flag: bool) -> Self {
        Self(if flag { "true" } else { "false" }.to_owned())
    }
}

impl From<&[&str]> for MemberValue {
    fn from(texts: &[&str]) -> Self {
        let mut json = String::from("[");
        for (nth, text) in texts.iter().enumerate() {
            json.push_str(if nth > 0 { "," } else { "" });
            push_text(&mut json, text);
        }
        json.push(']');
        Self(json)
    }
}

impl From<serde_json::Value> for MemberValue {
    fn from(value: serde_json::Value) -> Self {
        Self(value.to_string())
    }
}
