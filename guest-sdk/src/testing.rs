//! A request made by hand, and a store in memory, for native tests of pure decisions. A guest that does not use them does not contain
//! them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use crate::kv::{Entry, Error, KeyValue};
use crate::{Identity, Period, RequestInfo, RequestView};

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

    /// As a client with a certificate for this name has it.
    #[must_use]
    pub fn certificate(mut self, subject: &str) -> Self {
        self.info.identity.subject = Some(subject.to_owned());
        self.info.identity.method = "mtls".to_owned();
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

    fn client_ip(&self) -> &str {
        &self.info.client_ip
    }

    fn identity(&self) -> &Identity {
        &self.info.identity
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

/// A key-value store whose time the test moves. It has the host's limits for keys and values, but always room.
#[derive(Debug, Default)]
pub struct FakeStore {
    entries: RefCell<HashMap<String, Held>>,
    last_version: Cell<u64>,
    now_ms: Cell<u64>,
}

#[derive(Debug, Clone)]
struct Held {
    value: Vec<u8>,
    version: u64,
    until_ms: Option<u64>,
}

impl FakeStore {
    const KEY_BYTES: usize = 256;
    const VALUE_BYTES: usize = 64 * 1024;

    pub fn pass(&self, time: Period) {
        self.now_ms.set(self.now_ms.get() + time.millis());
    }

    fn held(&self, key: &str) -> Option<Held> {
        let now = self.now_ms.get();
        let mut entries = self.entries.borrow_mut();
        entries.retain(|_, held| held.until_ms.is_none_or(|until| until > now));
        entries.get(key).cloned()
    }

    fn put(&self, key: &str, value: &[u8], until_ms: Option<u64>) -> Result<u64, Error> {
        if key.len() > Self::KEY_BYTES || value.len() > Self::VALUE_BYTES {
            return Err(Error::Limit);
        }
        let version = self.last_version.get() + 1;
        self.last_version.set(version);
        let held = Held {
            value: value.to_vec(),
            version,
            until_ms,
        };
        self.entries.borrow_mut().insert(key.to_owned(), held);
        Ok(version)
    }

    fn until(&self, ttl: Option<Period>) -> Result<Option<u64>, Error> {
        match ttl.map(Period::millis) {
            Some(0) => Err(Error::Invalid),
            ttl => Ok(ttl.map(|ttl| self.now_ms.get().saturating_add(ttl))),
        }
    }
}

impl KeyValue for FakeStore {
    fn get(&self, key: &str) -> Option<Entry> {
        let held = self.held(key)?;
        Some(Entry {
            value: held.value,
            version: held.version,
            expires: held.until_ms.map(|until| until - self.now_ms.get()),
        })
    }

    fn set(&self, key: &str, value: &[u8], ttl: Option<Period>) -> Result<u64, Error> {
        self.put(key, value, self.until(ttl)?)
    }

    fn cas(
        &self,
        key: &str,
        version: u64,
        value: &[u8],
        ttl: Option<Period>,
    ) -> Result<u64, Error> {
        let until = self.until(ttl)?;
        if self.held(key).map_or(0, |held| held.version) != version {
            return Err(Error::Conflict);
        }
        self.put(key, value, until)
    }

    fn delete(&self, key: &str) -> bool {
        let there = self.held(key).is_some();
        self.entries.borrow_mut().remove(key);
        there
    }

    fn incr(&self, key: &str, delta: i64, ttl: Option<Period>) -> Result<i64, Error> {
        let begins = self.until(ttl)?;
        let (before, until) = match self.held(key) {
            Some(held) => {
                let text = String::from_utf8(held.value).map_err(|_| Error::Invalid)?;
                (text.parse().map_err(|_| Error::Invalid)?, held.until_ms)
            }
            None => (0_i64, begins),
        };
        let after = before.checked_add(delta).ok_or(Error::Limit)?;
        self.put(key, after.to_string().as_bytes(), until)?;
        Ok(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fake_store_keeps_time_and_versions_like_the_real_one() {
        let store = FakeStore::default();
        let minute = Period::from_millis(60_000);
        assert_eq!(store.incr("n", 2, Some(minute)), Ok(2));
        store.pass(Period::from_millis(59_999));
        assert_eq!(store.incr("n", 1, Some(minute)), Ok(3));
        store.pass(Period::from_millis(1));
        assert_eq!(store.get("n"), None);

        let first = store.cas("k", 0, b"a", None).unwrap();
        assert_eq!(store.cas("k", 0, b"b", None), Err(Error::Conflict));
        assert!(store.delete("k") && !store.delete("k"));
        let second = store.set("k", b"a", None).unwrap();
        assert_ne!(first, second);
        assert_eq!(store.incr("k", 1, None), Err(Error::Invalid));
        assert_eq!(store.set("k", &[0; 65_537], None), Err(Error::Limit));
    }
}
