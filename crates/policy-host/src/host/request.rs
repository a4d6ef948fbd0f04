//! `request`: the current request. A change once it was forwarded returns false.

use http::uri::{Authority, PathAndQuery};

use super::fields;
use crate::bindings::veilgate::policy::request::{Host, Identity, RequestInfo};
use crate::bindings::veilgate::policy::types::Field;
use crate::exchange::{Phase, RequestParts};
use crate::query;
use crate::state::HostState;

/// What upstreams commonly accept as a request target.
const MAX_PATH_BYTES: usize = 8192;

impl HostState {
    /// The request, while it may still be changed.
    pub(crate) fn changeable(&mut self) -> Option<&mut RequestParts> {
        match self.exchange.phase {
            Phase::Request | Phase::RequestBody | Phase::Before { .. } => {
                Some(&mut self.exchange.request)
            }
            Phase::Configure
            | Phase::RequestStream
            | Phase::After { .. }
            | Phase::Response
            | Phase::ResponseBody
            | Phase::ResponseStream
            | Phase::Complete => None,
        }
    }

    // What is asked for most, without a copy: whoever asks takes the text to where it belongs.

    pub(crate) fn request_header(&self, name: &str) -> Option<&str> {
        fields::first(&self.exchange.request.headers, name)
    }

    pub(crate) fn request_method(&self) -> &str {
        self.exchange.request.method.as_str()
    }

    pub(crate) fn request_path(&self) -> &str {
        query::path(&self.exchange.request.path_and_query)
    }

    pub(crate) fn request_query(&self, name: &str) -> Option<String> {
        query::parameter(&self.exchange.request.path_and_query, name)
    }

    pub(crate) fn request_authority(&self) -> &str {
        &self.exchange.request.authority
    }

    pub(crate) fn request_attr(&self, key: &str) -> Option<&str> {
        self.exchange.attrs.read(key)
    }
}

impl Host for HostState {
    fn header(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.request_header(&name).map(str::to_owned))
    }

    fn header_all(&mut self, name: String) -> wasmtime::Result<Vec<String>> {
        Ok(fields::all(&self.exchange.request.headers, &name))
    }

    fn header_bytes(&mut self, name: String) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(fields::bytes(&self.exchange.request.headers, &name))
    }

    fn headers(&mut self) -> wasmtime::Result<Vec<Field>> {
        Ok(fields::list(&self.exchange.request.headers))
    }

    fn set_header(&mut self, name: String, value: String) -> wasmtime::Result<bool> {
        Ok(self
            .changeable()
            .is_some_and(|request| fields::set(&mut request.headers, &name, &value)))
    }

    fn append_header(&mut self, name: String, value: String) -> wasmtime::Result<bool> {
        Ok(self
            .changeable()
            .is_some_and(|request| fields::append(&mut request.headers, &name, &value)))
    }

    fn remove_header(&mut self, name: String) -> wasmtime::Result<bool> {
        Ok(self
            .changeable()
            .is_some_and(|request| fields::remove(&mut request.headers, &name)))
    }

    fn method(&mut self) -> wasmtime::Result<String> {
        Ok(self.request_method().to_owned())
    }

    fn path(&mut self) -> wasmtime::Result<String> {
        Ok(self.request_path().to_owned())
    }

    fn query(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.request_query(&name))
    }

    fn authority(&mut self) -> wasmtime::Result<String> {
        Ok(self.request_authority().to_owned())
    }

    fn set_path(&mut self, path_and_query: String) -> wasmtime::Result<bool> {
        let fits = path_and_query.len() <= MAX_PATH_BYTES && path_and_query.starts_with('/');
        let sound = fits
            && !path_and_query.contains('#')
            && PathAndQuery::try_from(path_and_query.as_str()).is_ok();
        let Some(request) = self.changeable().filter(|_| sound) else {
            return Ok(false);
        };
        request.path_and_query = path_and_query;
        Ok(true)
    }

    fn set_authority(&mut self, authority: String) -> wasmtime::Result<bool> {
        let sound = !authority.contains('@') && Authority::try_from(authority.as_str()).is_ok();
        let Some(request) = self.changeable().filter(|_| sound) else {
            return Ok(false);
        };
        request.authority = authority;
        Ok(true)
    }

    fn client_ip(&mut self) -> wasmtime::Result<String> {
        Ok(self.exchange.info.client.ip().to_string())
    }

    fn identity_of(&mut self) -> wasmtime::Result<Identity> {
        Ok(identity(&self.exchange.info.identity))
    }

    fn info(&mut self) -> wasmtime::Result<RequestInfo> {
        let info = &self.exchange.info;
        Ok(RequestInfo {
            id: info.id.clone(),
            client_ip: info.client.ip().to_string(),
            client_port: info.client.port(),
            protocol: info.protocol.to_owned(),
            tls: info.tls,
            sni: info.sni.clone(),
            route: info.route.to_string(),
            received_ms: info.received_ms,
            identity: identity(&info.identity),
        })
    }

    fn get_attr(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        Ok(self.request_attr(&key).map(str::to_owned))
    }

    fn set_attr(&mut self, key: String, value: String) -> wasmtime::Result<()> {
        if !self.exchange.attrs.set(key, value) {
            // The contract has no answer to give; an attribute that is not there is one that guests must expect.
            tracing::debug!(target: "policy", policy = %self.shared.policy, "an attribute over the limits was not kept");
        }
        Ok(())
    }
}

fn identity(caller: &crate::exchange::Identity) -> Identity {
    Identity {
        tenant: caller.tenant.clone(),
        subject: caller.subject.clone(),
        method: caller.method.clone().into_owned(),
    }
}
