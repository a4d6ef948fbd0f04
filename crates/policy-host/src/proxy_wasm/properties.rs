//! Properties: what a filter may know by a path. A bounded list of Envoy's names, and those that the filter set itself.

use std::borrow::Cow;

use bytes::Bytes;

use super::host::scheme;
use super::state::VmState;
use crate::clock::NANOS_PER_MS;
use crate::query;

/// Properties that one exchange's filter may set.
const MAX_SET: usize = 16;
/// The path of one.
const MAX_PATH_BYTES: usize = 256;
/// The value of one.
const MAX_VALUE_BYTES: usize = 4096;
/// Traffic that comes in.
const INBOUND: i64 = 1;

/// What the filter set, by path as it was written.
#[derive(Default)]
pub(super) struct Set {
    pairs: Vec<(Bytes, Bytes)>,
}

impl Set {
    fn find(&self, path: &[u8]) -> Option<&[u8]> {
        self.pairs
            .iter()
            .find(|(known, _)| *known == path)
            .map(|(_, value)| &value[..])
    }

    /// False: over a limit.
    pub(super) fn put(&mut self, path: &[u8], value: &[u8]) -> bool {
        if path.is_empty() || path.len() > MAX_PATH_BYTES || value.len() > MAX_VALUE_BYTES {
            return false;
        }
        if let Some((_, old)) = self.pairs.iter_mut().find(|(known, _)| *known == path) {
            *old = Bytes::copy_from_slice(value);
            return true;
        }
        let room = self.pairs.len() < MAX_SET;
        if room {
            let pair = (Bytes::copy_from_slice(path), Bytes::copy_from_slice(value));
            self.pairs.push(pair);
        }
        room
    }
}

type Value<'a> = Option<Cow<'a, [u8]>>;

fn words(text: &str) -> Value<'_> {
    Some(Cow::Borrowed(text.as_bytes()))
}

fn number<'a>(number: i64) -> Value<'a> {
    Some(Cow::Owned(number.to_le_bytes().to_vec()))
}

/// The value at `path`, whose segments are separated by NUL. None: there is none.
pub(super) fn find<'a>(state: &'a VmState, path: &[u8]) -> Value<'a> {
    let path = path.strip_suffix(b"\0").unwrap_or(path);
    let acting = state.stream.as_deref().filter(|_| state.is_acting());
    if let Some(set) = acting.and_then(|stream| stream.properties.find(path)) {
        return Some(Cow::Borrowed(set));
    }
    let path = std::str::from_utf8(path).ok()?;
    if let Some(found) = of_plugin(state, path) {
        return Some(found);
    }
    acting?;
    let (root, rest) = path.split_once('\0').unwrap_or((path, ""));
    match root {
        "request" => of_request(state, rest),
        "response" => of_response(state, rest),
        "source" => of_source(state, rest),
        "connection" => of_connection(state, rest),
        "route_name" => words(&state.base.exchange.info.route),
        "xds" if rest == "route_name" => words(&state.base.exchange.info.route),
        "cluster_name" => cluster(state),
        "xds" if rest == "cluster_name" => cluster(state),
        _ => None,
    }
}

fn of_plugin<'a>(state: &'a VmState, path: &str) -> Value<'a> {
    match path {
        "plugin_name" | "xds\0filter_chain_name" => words(&state.base.shared.policy),
        "plugin_root_id" => words(&state.facts.settings.root_id),
        "plugin_vm_id" => words(&state.facts.settings.vm_id),
        "node\0id" => words("veilgate"),
        "listener_direction" => number(INBOUND),
        _ => None,
    }
}

fn of_request<'a>(state: &'a VmState, name: &str) -> Value<'a> {
    let exchange = &state.base.exchange;
    let (request, info) = (&exchange.request, &exchange.info);
    let field = |name: &str| {
        let value = request.headers.get(name)?;
        Some(Cow::Borrowed(value.as_bytes()))
    };
    if let Some(name) = name.strip_prefix("headers\0") {
        return field(name);
    }
    match name {
        "path" => words(&request.path_and_query),
        "url_path" => words(query::path(&request.path_and_query)),
        "query" => {
            let query = request.path_and_query.split_once('?');
            words(query.map_or("", |(_, query)| query))
        }
        "host" => words(&request.authority),
        "scheme" => words(scheme(state)),
        "method" => words(request.method.as_str()),
        "referer" => field("referer"),
        "useragent" => field("user-agent"),
        "id" => words(&info.id),
        "protocol" => words(match info.protocol {
            "h1" => "HTTP/1.1",
            "h2" => "HTTP/2",
            "h3" => "HTTP/3",
            other => other,
        }),
        "time" => number(info.received_ms.saturating_mul(NANOS_PER_MS) as i64),
        _ => None,
    }
}

fn of_response<'a>(state: &'a VmState, name: &str) -> Value<'a> {
    let response = state.base.exchange.response.as_ref()?;
    if let Some(name) = name.strip_prefix("headers\0") {
        let value = response.headers.get(name)?;
        return Some(Cow::Borrowed(value.as_bytes()));
    }
    match name {
        "code" => number(response.status.as_u16().into()),
        "flags" => number(0),
        _ => None,
    }
}

fn of_source<'a>(state: &VmState, name: &str) -> Value<'a> {
    let client = state.base.exchange.info.client;
    match name {
        "address" => Some(Cow::Owned(client.to_string().into_bytes())),
        "port" => number(client.port().into()),
        _ => None,
    }
}

fn of_connection<'a>(state: &'a VmState, name: &str) -> Value<'a> {
    let info = &state.base.exchange.info;
    match name {
        "mtls" => Some(Cow::Owned(vec![u8::from(info.identity.method == "mtls")])),
        "requested_server_name" => words(info.sni.as_deref()?),
        _ => None,
    }
}

/// The upstream, once a policy chose one.
fn cluster(state: &VmState) -> Value<'_> {
    words(&state.base.exchange.route.as_ref()?.upstream)
}
