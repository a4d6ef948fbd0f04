//! A request's head as the policies' pure part reads it, straight from the exchange.

use std::cell::OnceCell;
use std::str;

use guest_sdk::{Identity, RequestInfo, RequestView};
use policy_host::Exchange;

pub struct Head<'e> {
    exchange: &'e Exchange,
    info: OnceCell<RequestInfo>,
    client_ip: OnceCell<String>,
    identity: OnceCell<Identity>,
}

impl<'e> Head<'e> {
    pub fn of(exchange: &'e Exchange) -> Self {
        Self {
            exchange,
            info: OnceCell::new(),
            client_ip: OnceCell::new(),
            identity: OnceCell::new(),
        }
    }

    fn read_identity(&self) -> Identity {
        let identity = &self.exchange.info.identity;
        Identity {
            tenant: identity.tenant.clone(),
            subject: identity.subject.clone(),
            method: identity.method.clone().into_owned(),
        }
    }

    fn read_info(&self) -> RequestInfo {
        let info = &self.exchange.info;
        RequestInfo {
            id: info.id.clone(),
            client_ip: info.client.ip().to_string(),
            client_port: info.client.port(),
            protocol: info.protocol.to_owned(),
            tls: info.tls,
            sni: info.sni.clone(),
            route: info.route.to_string(),
            received_ms: info.received_ms,
            identity: self.read_identity(),
        }
    }
}

impl RequestView for Head<'_> {
    fn method(&self) -> &str {
        self.exchange.request.method.as_str()
    }

    fn path(&self) -> &str {
        let target = &self.exchange.request.path_and_query;
        target.split_once('?').map_or(target, |(path, _)| path)
    }

    fn authority(&self) -> &str {
        &self.exchange.request.authority
    }

    fn info(&self) -> &RequestInfo {
        self.info.get_or_init(|| self.read_info())
    }

    fn client_ip(&self) -> &str {
        let address = self.exchange.info.client.ip();
        self.client_ip.get_or_init(|| address.to_string())
    }

    fn identity(&self) -> &Identity {
        self.identity.get_or_init(|| self.read_identity())
    }

    fn header(&self, name: &str) -> Option<String> {
        let value = self.exchange.request.headers.get(name)?;
        str::from_utf8(value.as_bytes()).ok().map(str::to_owned)
    }

    fn header_all(&self, name: &str) -> Vec<String> {
        let values = self.exchange.request.headers.get_all(name).iter();
        let texts = values.filter_map(|value| str::from_utf8(value.as_bytes()).ok());
        texts.map(str::to_owned).collect()
    }

    fn has_header(&self, name: &str) -> bool {
        self.exchange.request.headers.contains_key(name)
    }

    fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.exchange.request.path_and_query.split_once('?')?;
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let (_, value) = pairs.find(|(key, _)| key == name)?;
        Some(value.into_owned())
    }

    fn attr(&self, key: &str) -> Option<String> {
        self.exchange.attrs.read(key).map(str::to_owned)
    }
}
