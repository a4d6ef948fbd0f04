//! `response`: the response once its headers are known. It can be changed in the response hook; before that there is none.

use http::{HeaderMap, StatusCode};

use super::fields;
use crate::bindings::veilgate::policy::response::{Host, Source};
use crate::bindings::veilgate::policy::types::Field;
use crate::exchange::{self, Phase, ResponseParts};
use crate::state::HostState;

impl HostState {
    fn response_headers(&self) -> Option<&HeaderMap> {
        self.exchange
            .response
            .as_ref()
            .map(|response| &response.headers)
    }

    pub(crate) fn response_header(&self, name: &str) -> Option<&str> {
        fields::first(self.response_headers()?, name)
    }

    pub(crate) fn response_mut(&mut self) -> Option<&mut ResponseParts> {
        match self.exchange.phase {
            Phase::Response | Phase::ResponseBody => self.exchange.response.as_mut(),
            Phase::Configure
            | Phase::Request
            | Phase::RequestBody
            | Phase::RequestStream
            | Phase::Before { .. }
            | Phase::After { .. }
            | Phase::ResponseStream
            | Phase::Complete => None,
        }
    }
}

impl Host for HostState {
    fn source_of(&mut self) -> wasmtime::Result<Source> {
        Ok(
            match self
                .exchange
                .response
                .as_ref()
                .map(|response| response.source)
            {
                Some(exchange::Source::Upstream) => Source::Upstream,
                Some(exchange::Source::Cache) => Source::Cache,
                Some(exchange::Source::StaleCache) => Source::StaleCache,
                Some(exchange::Source::Fhe) => Source::Fhe,
                Some(exchange::Source::Local) | None => Source::Local,
            },
        )
    }

    /// Zero while there is no response.
    fn status(&mut self) -> wasmtime::Result<u16> {
        Ok(self
            .exchange
            .response
            .as_ref()
            .map_or(0, |response| response.status.as_u16()))
    }

    fn set_status(&mut self, status: u16) -> wasmtime::Result<bool> {
        // 1xx are not final, and are the gateway's to send.
        let status = StatusCode::from_u16(status)
            .ok()
            .filter(|status| (200..600).contains(&status.as_u16()));
        let (Some(response), Some(status)) = (self.response_mut(), status) else {
            return Ok(false);
        };
        response.status = status;
        Ok(true)
    }

    fn header(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.response_header(&name).map(str::to_owned))
    }

    fn header_all(&mut self, name: String) -> wasmtime::Result<Vec<String>> {
        Ok(self
            .response_headers()
            .map_or_else(Vec::new, |headers| fields::all(headers, &name)))
    }

    fn header_bytes(&mut self, name: String) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(self
            .response_headers()
            .and_then(|headers| fields::bytes(headers, &name)))
    }

    fn headers(&mut self) -> wasmtime::Result<Vec<Field>> {
        Ok(self.response_headers().map_or_else(Vec::new, fields::list))
    }

    fn set_header(&mut self, name: String, value: String) -> wasmtime::Result<bool> {
        Ok(self
            .response_mut()
            .is_some_and(|response| fields::set(&mut response.headers, &name, &value)))
    }

    fn append_header(&mut self, name: String, value: String) -> wasmtime::Result<bool> {
        Ok(self
            .response_mut()
            .is_some_and(|response| fields::append(&mut response.headers, &name, &value)))
    }

    fn remove_header(&mut self, name: String) -> wasmtime::Result<bool> {
        Ok(self
            .response_mut()
            .is_some_and(|response| fields::remove(&mut response.headers, &name)))
    }
}
