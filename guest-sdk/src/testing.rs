//! A request made by hand, for native tests of pure decisions. A guest that does not use it does not contain it.

use std::collections::HashMap;

use crate::{Identity, RequestInfo, RequestView};

/// A request that never was.
#[derive(Debug, Clone)]
pub struct FakeRequest {
    method: String,
    path: String,
    authority: String,
    headers: Vec<(String, String)>,
    query: HashMap<String, String>,
    attrs: HashMap<String, String>,
    /// As a client on 192.0.2.1 over TLS would have it.
    pub info: RequestInfo,
}

impl FakeRequest {
    pub fn get(path: &str) -> Self {
        let identity = Identity {
            tenant: None,
            subject: None,
            method: "none".to_owned(),
        };
        let info = RequestInfo {
            id: "0".to_owned(),
            client_ip: "192.0.2.1".to_owned(),
            client_port: 50_000,
            protocol: "h3".to_owned(),
            tls: true,
            sni: None,
            route: "default".to_owned(),
            received_ms: 0,
            identity,
        };
        Self {
            method: "GET".to_owned(),
            path: path.to_owned(),
            authority: "example.com".to_owned(),
            headers: Vec::new(),
            query: HashMap::new(),
            attrs: HashMap::new(),
            info,
        }
    }

    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = method.to_owned();
        self
    }

    #[must_use]
    pub fn authority(mut self, authority: &str) -> Self {
        self.authority = authority.to_owned();
        self
    }

    /// Adds a field; `name` in lower case.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn with_query(mut self, name: &str, value: &str) -> Self {
        self.query.insert(name.to_owned(), value.to_owned());
        self
    }

    #[must_use]
    pub fn with_attr(mut self, key: &str, value: &str) -> Self {
        self.attrs.insert(key.to_owned(), value.to_owned());
        self
    }

    #[must_use]
    pub fn client_ip(mut self, address: &str) -> Self {
        self.info.client_ip = address.to_owned();
        self
    }

    #[must_use]
    pub fn tenant(mut self, tenant: &str) -> Self {
        self.info.identity.tenant = Some(tenant.to_owned());
        self
    }

    #[must_use]
    pub fn route(mut self, route: &str) -> Self {
        self.info.route = route.to_owned();
        self
    }
}

impl RequestView for FakeRequest {
    fn method(&self) -> &str {
        &self.method
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn authority(&self) -> &str {
        &self.authority
    }

    fn info(&self) -> &RequestInfo {
        &self.info
    }

    fn header(&self, name: &str) -> Option<String> {
        self.header_all(name).into_iter().next()
    }

    fn header_all(&self, name: &str) -> Vec<String> {
        let fields = self.headers.iter().filter(|(known, _)| known == name);
        fields.map(|(_, value)| value.clone()).collect()
    }

    fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(known, _)| known == name)
    }

    fn query(&self, name: &str) -> Option<String> {
        self.query.get(name).cloned()
    }

    fn attr(&self, key: &str) -> Option<String> {
        self.attrs.get(key).cloned()
    }
}
