//! `[[upstream]]`: endpoints, time-outs, health.

use std::time::Duration;

use toml::Spanned;

use super::fields::{Fields, span};
use crate::config::raw::{RawEndpoint, RawHealth, RawUpstream};
use crate::config::report::Problem;
use crate::config::{Balance, EndpointConfig, HealthConfig, UpstreamConfig, UpstreamTls};

/// Endpoints of one upstream: each has a pool and a health task.
const MAX_ENDPOINTS: usize = 256;
/// Attempts after the first: more would multiply the load on a service in trouble.
const MAX_RETRIES: u64 = 10;

pub(super) fn check(
    upstream: &Spanned<RawUpstream>,
    fields: &mut Fields<'_>,
) -> Option<UpstreamConfig> {
    let raw = upstream.get_ref();
    let endpoints = endpoints(raw, fields);
    let balances = [
        ("round-robin", Balance::RoundRobin),
        ("least-loaded", Balance::LeastLoaded),
        ("hash", Balance::Hash),
    ];
    Some(UpstreamConfig {
        name: raw.name.get_ref().clone(),
        endpoints,
        balance: fields.word(raw.balance.as_ref(), &balances, Balance::default()),
        connect_timeout: span(raw.connect_timeout, Duration::from_secs(3)),
        first_byte_timeout: span(raw.first_byte_timeout, Duration::from_secs(30)),
        between_bytes_timeout: span(raw.between_bytes_timeout, Duration::from_secs(30)),
        idle_timeout: span(raw.idle_timeout, Duration::from_secs(60)),
        max_connections: fields.count(raw.max_connections.as_ref(), 1024, 1..=1_000_000) as usize,
        retries: fields.count(raw.retries.as_ref(), 1, 0..=MAX_RETRIES) as u32,
        tls: UpstreamTls {
            ca: raw.tls.ca.as_deref().map(|path| fields.path(path)),
            server_name: raw.tls.server_name.clone(),
        },
        health: raw.health.as_ref().and_then(|raw| health(raw, fields)),
    })
}

fn endpoints(raw: &RawUpstream, fields: &mut Fields<'_>) -> Vec<EndpointConfig> {
    let plain = raw
        .endpoints
        .iter()
        .filter_map(|url| endpoint(url, 1, "", fields))
        .collect::<Vec<_>>();
    let mut endpoints = plain;
    for RawEndpoint { url, weight, zone } in &raw.endpoint {
        let weight = fields.count(weight.as_ref(), 1, 1..=1000) as u32;
        endpoints.extend(endpoint(
            url,
            weight,
            zone.as_deref().unwrap_or_default(),
            fields,
        ));
    }
    let written = raw.endpoints.len() + raw.endpoint.len();
    if written == 0 {
        fields.problem(
            Problem::new(raw.name.span(), "this upstream has no endpoint")
                .help("add endpoints = [\"http://127.0.0.1:9000\"]"),
        );
    }
    if written > MAX_ENDPOINTS {
        fields.problem(Problem::new(
            raw.name.span(),
            format!("this upstream has more than {MAX_ENDPOINTS} endpoints"),
        ));
    }
    endpoints
}

fn endpoint(
    url: &Spanned<String>,
    weight: u32,
    zone: &str,
    fields: &mut Fields<'_>,
) -> Option<EndpointConfig> {
    let Some((tls, host, port)) = split_url(url.get_ref()) else {
        fields.problem(
            Problem::new(
                url.span(),
                format!("{:?} is not the address of an endpoint", url.get_ref()),
            )
            .help("write \"http://host:port\" or \"https://host:port\", without a path"),
        );
        return None;
    };
    Some(EndpointConfig {
        tls,
        host,
        port,
        weight,
        zone: zone.to_owned(),
    })
}

fn split_url(text: &str) -> Option<(bool, String, u16)> {
    let uri: http::Uri = text.parse().ok()?;
    let tls = match uri.scheme_str()? {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let path_is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
    let authority = uri.authority()?;
    if !path_is_bare || authority.as_str().contains('@') {
        return None;
    }
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    // A port that does not fit in 16 bits is no port for `Authority::port_u16`: tell it apart from none.
    let port = match authority.as_str().strip_prefix(authority.host())? {
        "" => {
            if tls {
                443
            } else {
                80
            }
        }
        written => written.strip_prefix(':')?.parse().ok()?,
    };
    (!host.is_empty() && port != 0).then(|| (tls, host.to_owned(), port))
}

fn health(raw: &RawHealth, fields: &mut Fields<'_>) -> Option<HealthConfig> {
    if !raw.path.get_ref().starts_with('/')
        || raw
            .path
            .get_ref()
            .parse::<http::uri::PathAndQuery>()
            .is_err()
    {
        fields.problem(
            Problem::new(raw.path.span(), "a health path begins with `/`")
                .help("for example path = \"/healthz\""),
        );
        return None;
    }
    Some(HealthConfig {
        path: raw.path.get_ref().clone(),
        interval: span(raw.interval, Duration::from_secs(5)).max(Duration::from_millis(100)),
        timeout: span(raw.timeout, Duration::from_secs(2)),
        healthy_after: fields.count(raw.healthy_after.as_ref(), 2, 1..=100) as u32,
        unhealthy_after: fields.count(raw.unhealthy_after.as_ref(), 3, 1..=100) as u32,
    })
}
