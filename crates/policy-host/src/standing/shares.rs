//! Limits that the host takes by itself from every request; the policy is called only where one refuses, or where a key cannot be told.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderName;

use crate::exchange::Exchange;
use crate::primitives::{self, Few, Limiter};

/// Longer values are the policy's to make a key of.
const MAX_VALUE_BYTES: usize = 64;

/// Where a key comes from.
#[derive(Debug)]
pub(crate) enum KeySource {
    Text(String),
    /// A prefix, and the value of a field.
    Header(String, HeaderName),
    /// A prefix, and the client's IPv4 address.
    ClientIp(String),
}

pub(crate) struct StandingShare {
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) key: KeySource,
    pub(crate) cost: u64,
}

/// Taken all at once, or not at all.
#[derive(Default)]
pub(crate) struct Shares(pub(crate) Vec<StandingShare>);

impl Shares {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// False: nothing was taken, and the policy is to see to it.
    pub(crate) fn take(&self, exchange: &Exchange, now_ns: u64) -> bool {
        let keys: Option<Few<Cow<'_, str>>> =
            self.0.iter().map(|share| share.key.of(exchange)).collect();
        let Some(keys) = keys else {
            return false;
        };
        let shares: Few<primitives::Share<'_>> = self
            .0
            .iter()
            .zip(&keys)
            .map(|(share, key)| primitives::Share {
                limiter: &share.limiter,
                key,
                cost: share.cost,
            })
            .collect();
        primitives::take_all(&shares, now_ns).is_some_and(|verdict| verdict.allowed)
    }
}

impl KeySource {
    /// None: it cannot be told.
    fn of(&self, exchange: &Exchange) -> Option<Cow<'_, str>> {
        match self {
            KeySource::Text(text) => Some(Cow::Borrowed(text)),
            KeySource::Header(prefix, name) => {
                let value = exchange.request.headers.get(name)?.as_bytes();
                let plain = |byte: &u8| byte.is_ascii_graphic() && !b"|%#".contains(byte);
                let fits = (1..=MAX_VALUE_BYTES).contains(&value.len()) && value.iter().all(plain);
                let value = std::str::from_utf8(value).ok().filter(|_| fits)?;
                Some(Cow::Owned([prefix, value].concat()))
            }
            KeySource::ClientIp(prefix) => match exchange.info.client.ip() {
                IpAddr::V4(address) => Some(Cow::Owned(format!("{prefix}{address}"))),
                IpAddr::V6(_) => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::exchange::ExchangeContext;

    fn key(value: &[u8]) -> Option<String> {
        let mut exchange = ExchangeContext::vacant();
        let name = HeaderName::from_static("x-key");
        let value = HeaderValue::from_bytes(value).expect("a value");
        exchange.request.headers.insert(name.clone(), value);
        let source = KeySource::Header("h".to_owned(), name);
        source.of(&exchange).map(Cow::into_owned)
    }

    #[test]
    fn a_value_is_a_key_if_nothing_of_it_has_to_be_written_otherwise() {
        assert_eq!(key(b"abc-1.2:~"), Some("habc-1.2:~".to_owned()));
        assert_eq!(
            key("a".repeat(64).as_bytes()).map(|key| key.len()),
            Some(65)
        );
        for value in ["", "a b", "a|b", "a%b", "a#b", "\t", "\u{e9}"] {
            assert_eq!(key(value.as_bytes()), None, "{value:?}");
        }
        assert_eq!(key("a".repeat(65).as_bytes()), None);
        assert_eq!(key(b"\xff"), None);
    }

    #[test]
    fn a_field_that_is_not_there_and_an_ipv6_address_are_the_policys() {
        let mut exchange = ExchangeContext::vacant();
        let header = KeySource::Header(String::new(), HeaderName::from_static("x-key"));
        assert_eq!(header.of(&exchange), None);
        let client = KeySource::ClientIp("@".to_owned());
        exchange.info.client = "192.0.2.7:80".parse().expect("an address");
        assert_eq!(client.of(&exchange).as_deref(), Some("@192.0.2.7"));
        exchange.info.client = "[2001:db8::1]:80".parse().expect("an address");
        assert_eq!(client.of(&exchange), None);
    }
}
