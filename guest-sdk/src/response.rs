//! The response being processed: a handle to the host's.

use crate::bindings::veilgate::policy::response;

pub use response::Source;

/// The current response: its head is known, its body has not begun to pass.
#[derive(Debug)]
pub struct Response(());

impl Response {
    pub(crate) fn current() -> Self {
        Self(())
    }

    /// Where it came from: an upstream, the cache, the FHE core, or a policy.
    pub fn source(&self) -> Source {
        response::source_of()
    }

    pub fn status(&self) -> u16 {
        response::status()
    }

    pub fn set_status(&mut self, status: u16) -> bool {
        response::set_status(status)
    }

    /// The first value of a field; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<String> {
        response::header(name)
    }

    pub fn header_all(&self, name: &str) -> Vec<String> {
        response::header_all(name)
    }

    pub fn header_bytes(&self, name: &str) -> Option<Vec<u8>> {
        response::header_bytes(name)
    }

    pub fn headers(&self) -> Vec<(String, String)> {
        response::headers()
    }

    pub fn set_header(&mut self, name: &str, value: &str) -> bool {
        response::set_header(name, value)
    }

    pub fn append_header(&mut self, name: &str, value: &str) -> bool {
        response::append_header(name, value)
    }

    pub fn remove_header(&mut self, name: &str) -> bool {
        response::remove_header(name)
    }
}
