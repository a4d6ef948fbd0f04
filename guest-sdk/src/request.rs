//! The request being processed: a handle to the host's, and the view of it that pure decisions take.

use std::cell::OnceCell;

use crate::bindings::veilgate::policy::request;

pub use request::{Identity, RequestInfo};

/// What a decision may read. [`Request`] asks the host; `testing::FakeRequest` stands in for it in native tests.
pub trait RequestView {
    fn method(&self) -> &str;
    /// Without the query.
    fn path(&self) -> &str;
    /// Host and port, as the client named them.
    fn authority(&self) -> &str;
    /// Everything scalar at once; for one thing alone, ask for that.
    fn info(&self) -> &RequestInfo;
    fn client_ip(&self) -> &str;
    fn identity(&self) -> &Identity;
    /// The first value of a field; `name` in lower case.
    fn header(&self, name: &str) -> Option<String>;
    fn header_all(&self, name: &str) -> Vec<String>;
    /// Whether the field is there at all, be its value UTF-8 or not.
    fn has_header(&self, name: &str) -> bool;
    fn query(&self, name: &str) -> Option<String>;
    /// A note that an earlier hook of this exchange left.
    fn attr(&self, key: &str) -> Option<String>;
}

/// The current request. Each part crosses from the host at most once per hook, and only when asked for.
#[derive(Debug, Default)]
pub struct Request {
    method: OnceCell<String>,
    path: OnceCell<String>,
    authority: OnceCell<String>,
    info: OnceCell<RequestInfo>,
    client_ip: OnceCell<String>,
    identity: OnceCell<Identity>,
}

impl Request {
    pub(crate) fn current() -> Self {
        Self::default()
    }

    pub fn headers(&self) -> Vec<(String, String)> {
        request::headers()
    }

    /// For values that are not UTF-8.
    pub fn header_bytes(&self, name: &str) -> Option<Vec<u8>> {
        request::header_bytes(name)
    }

    /// False once the request was forwarded, as for every change below.
    pub fn set_header(&mut self, name: &str, value: &str) -> bool {
        request::set_header(name, value)
    }

    pub fn append_header(&mut self, name: &str, value: &str) -> bool {
        request::append_header(name, value)
    }

    pub fn remove_header(&mut self, name: &str) -> bool {
        request::remove_header(name)
    }

    pub fn set_path(&mut self, path_and_query: &str) -> bool {
        self.path.take();
        request::set_path(path_and_query)
    }

    pub fn set_authority(&mut self, authority: &str) -> bool {
        self.authority.take();
        request::set_authority(authority)
    }

    /// Leaves a note for later hooks of this exchange, of this policy and of others: prefix the key with the policy's name.
    pub fn set_attr(&self, key: &str, value: &str) {
        request::set_attr(key, value);
    }
}

impl RequestView for Request {
    fn method(&self) -> &str {
        self.method.get_or_init(request::method)
    }

    fn path(&self) -> &str {
        self.path.get_or_init(|| {
            let mut path = request::path();
            if let Some(end) = path.find('?') {
                path.truncate(end);
            }
            path
        })
    }

    fn authority(&self) -> &str {
        self.authority.get_or_init(request::authority)
    }

    fn info(&self) -> &RequestInfo {
        self.info.get_or_init(request::info)
    }

    fn client_ip(&self) -> &str {
        self.client_ip.get_or_init(request::client_ip)
    }

    fn identity(&self) -> &Identity {
        self.identity.get_or_init(request::identity_of)
    }

    fn header(&self, name: &str) -> Option<String> {
        request::header(name)
    }

    fn header_all(&self, name: &str) -> Vec<String> {
        request::header_all(name)
    }

    fn has_header(&self, name: &str) -> bool {
        request::header_bytes(name).is_some()
    }

    fn query(&self, name: &str) -> Option<String> {
        request::query(name)
    }

    fn attr(&self, key: &str) -> Option<String> {
        request::get_attr(key)
    }
}

// The inherent forms, so that a policy need not import the trait.
impl Request {
    pub fn method(&self) -> &str {
        RequestView::method(self)
    }

    /// Without the query.
    pub fn path(&self) -> &str {
        RequestView::path(self)
    }

    pub fn authority(&self) -> &str {
        RequestView::authority(self)
    }

    pub fn info(&self) -> &RequestInfo {
        RequestView::info(self)
    }

    pub fn client_ip(&self) -> &str {
        RequestView::client_ip(self)
    }

    pub fn identity(&self) -> &Identity {
        RequestView::identity(self)
    }

    /// The first value of a field; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<String> {
        request::header(name)
    }

    pub fn header_all(&self, name: &str) -> Vec<String> {
        request::header_all(name)
    }

    pub fn query(&self, name: &str) -> Option<String> {
        request::query(name)
    }

    pub fn attr(&self, key: &str) -> Option<String> {
        request::get_attr(key)
    }
}
