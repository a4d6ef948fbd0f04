//! The first stage: a request that can be read in one way only, with the fields of one hop taken off and those of a gateway put on.
//!
//! What is ambiguous is refused, never guessed: two readings of one request, here and at the origin, are how requests are smuggled.

use http::header::{
    CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Method, Request, Uri, Version};

use super::Gateway;
use super::record::Account;
use crate::body::Body;
use crate::error::{Kind, ProxyError, RequestFault, Side};
use crate::exchange::{Client, Protocol};
use crate::upstream::headers::strip_request;

/// Our own name may stand in `Via` so often before the request counts as going in circles: chains of gateways that kept the
/// default name are real, but short.
const MAX_SELF_VIA: usize = 5;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The head of a request that passed.
pub(super) struct Head {
    pub method: Method,
    pub target: PathAndQuery,
    /// Lower case, with the port if one was given.
    pub authority: String,
    pub headers: HeaderMap,
}

impl Head {
    /// The authority without its port.
    pub(super) fn host(&self) -> &str {
        host_of(&self.authority)
    }
}

pub(super) fn host_of(authority: &str) -> &str {
    match authority.rfind(':') {
        // The colons of an IPv6 address stand in brackets.
        Some(at) if !authority[at..].contains(']') => &authority[..at],
        _ => authority,
    }
}

pub(super) fn request(
    gateway: &Gateway,
    client: &Client,
    account: &mut Account,
    request: Request<Body>,
) -> Result<(Head, Body), ProxyError> {
    let (mut parts, body) = request.into_parts();
    let protocol = Protocol::of(parts.version);
    check_method(&parts.method, &parts.headers)?;
    check_framing(&parts.headers)?;
    let authority = authority(&parts.uri, &parts.headers, parts.version)?;
    account.addressed(&authority, parts.uri.path());
    let target = target(&parts.uri, gateway.limits.max_target_bytes)?;
    if parts.headers.len() > gateway.limits.max_headers {
        let detail = format!("{} header fields", parts.headers.len());
        return Err(ProxyError::request(RequestFault::HeadersTooLarge, detail));
    }
    check_loop(&parts.headers, &gateway.name)?;
    strip_request(&mut parts.headers);
    // hyper (or QUIC) asks for the body with 100 as soon as it is read; the expectation is met on this hop.
    parts.headers.remove(EXPECT);
    parts.headers.remove(HOST);
    introduce(
        &mut parts.headers,
        gateway,
        client,
        protocol,
        &authority,
        account.id_header(),
    );
    Ok((
        Head {
            method: parts.method,
            target,
            authority,
            headers: parts.headers,
        },
        body,
    ))
}

fn check_method(method: &Method, headers: &HeaderMap) -> Result<(), ProxyError> {
    if matches!(*method, Method::CONNECT | Method::TRACE) {
        return Err(ProxyError::request(
            RequestFault::Unsupported,
            format!("method {method}"),
        ));
    }
    let asks = |line: &HeaderValue| {
        line.to_str()
            .is_ok_and(|line| line.to_ascii_lowercase().contains("websocket"))
    };
    if headers.get_all(UPGRADE).iter().any(asks) {
        return Err(ProxyError::request(
            RequestFault::Unsupported,
            "upgrade to websocket",
        ));
    }
    Ok(())
}

//= https://www.rfc-editor.org/rfc/rfc9112#section-6.1
//# A server MAY reject a request that contains both Content-Length and Transfer-Encoding
fn check_framing(headers: &HeaderMap) -> Result<(), ProxyError> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        let chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
        if !chunked || codings.next().is_some() || headers.contains_key(CONTENT_LENGTH) {
            return Err(ambiguous(
                "transfer-encoding other than one `chunked` alone",
            ));
        }
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next() {
        let digits = !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit);
        if !digits || lengths.next().is_some() {
            return Err(ambiguous("content-length that is not one number"));
        }
    }
    Ok(())
}

fn ambiguous(detail: &'static str) -> ProxyError {
    ProxyError::request(RequestFault::Ambiguous, detail)
}

//= https://www.rfc-editor.org/rfc/rfc9112#section-3.2
//# A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that lacks a Host header field
//# and to any request message that contains more than one Host header field line or a Host header field with an invalid field
//# value.
fn authority(uri: &Uri, headers: &HeaderMap, version: Version) -> Result<String, ProxyError> {
    let mut lines = headers.get_all(HOST).iter();
    let host = lines.next();
    if lines.next().is_some() {
        return Err(ambiguous("two Host fields"));
    }
    let host = host
        .map(|host| {
            host.to_str()
                .map_err(|_| malformed("a Host field that is not text"))
        })
        .transpose()?;
    let named = match (uri.authority().map(Authority::as_str), host) {
        (Some(in_target), Some(host)) if !in_target.eq_ignore_ascii_case(host) => {
            return Err(ambiguous(
                "a Host field that differs from the request's target",
            ));
        }
        (Some(authority), _) | (None, Some(authority)) => authority,
        // HTTP/1.0 knows no Host; there is one site then.
        (None, None) if version == Version::HTTP_10 => "",
        (None, None) => return Err(malformed("no Host field and no :authority")),
    };
    if named.is_empty() {
        return if version == Version::HTTP_10 {
            Ok(String::new())
        } else {
            Err(malformed("an empty host"))
        };
    }
    let parsed: Authority = named
        .parse()
        .map_err(|_| malformed("a host that cannot be read"))?;
    if named.contains('@') || parsed.host().is_empty() || named.ends_with(':') {
        return Err(malformed(
            "a host with user information, or without a name or port",
        ));
    }
    Ok(named.to_ascii_lowercase())
}

fn malformed(detail: &'static str) -> ProxyError {
    ProxyError::request(RequestFault::Malformed, detail)
}

/// A path as policies, routes and the origin will all read it.
fn target(uri: &Uri, max_bytes: usize) -> Result<PathAndQuery, ProxyError> {
    let target = uri
        .path_and_query()
        .cloned()
        .unwrap_or_else(|| PathAndQuery::from_static("/"));
    if target.as_str().len() > max_bytes {
        return Err(ProxyError::request(
            RequestFault::TargetTooLong,
            format!("target of {} bytes", target.as_str().len()),
        ));
    }
    let path = target.path();
    if !path.starts_with('/') {
        return Err(malformed("a target that is not a path"));
    }
    // `Uri` lets some bytes through that others read as something else.
    let odd = |byte: u8| byte <= b' ' || byte >= 0x7f || matches!(byte, b'\\' | b'#');
    if target.as_str().bytes().any(odd) {
        return Err(malformed(
            "a target with spaces, controls, `\\`, `#` or bytes beyond ASCII",
        ));
    }
    if path.contains('%') && has_odd_escape(path) {
        return Err(malformed(
            "a path with an escape that is broken, or hides a control character",
        ));
    }
    if path.split('/').any(is_dots) {
        return Err(ambiguous("a path with `.` or `..` segments"));
    }
    Ok(target)
}

fn has_odd_escape(path: &str) -> bool {
    path.split('%').skip(1).any(|after| {
        let code = after
            .get(..2)
            .filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        // Escaped controls end strings early in some origins.
        code.and_then(|hex| u8::from_str_radix(hex, 16).ok())
            .is_none_or(|byte| byte < 0x20 || byte == 0x7f)
    })
}

/// `.` and `..`, written plainly or escaped: an origin would resolve them, and reach what another route guards.
fn is_dots(segment: &str) -> bool {
    match segment.len() {
        1 | 2 => matches!(segment, "." | ".."),
        3 | 4 | 6 => matches!(
            segment.to_ascii_lowercase().replace("%2e", ".").as_str(),
            "." | ".."
        ),
        _ => false,
    }
}

fn check_loop(headers: &HeaderMap, name: &str) -> Result<(), ProxyError> {
    let ours = |member: &&str| member.trim().split_ascii_whitespace().nth(1) == Some(name);
    let times: usize = headers
        .get_all(VIA)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .map(|line| line.split(',').filter(ours).count())
        .sum();
    if times >= MAX_SELF_VIA {
        let detail = format!("`{name}` stands in Via {times} times");
        return Err(ProxyError::new(
            Kind::ProxyLoopDetected,
            Side::Gateway,
            detail,
        ));
    }
    Ok(())
}

/// Who asked and how, for the origin. What a client claims of this itself is replaced: this gateway is the edge.
fn introduce(
    headers: &mut HeaderMap,
    gateway: &Gateway,
    client: &Client,
    protocol: Protocol,
    authority: &str,
    id: HeaderValue,
) {
    let scheme = if client.tls { "https" } else { "http" };
    headers.append(VIA, gateway.via(protocol));
    headers.insert(X_FORWARDED_FOR, client.forwarded_for.clone());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
    headers.insert(X_REQUEST_ID, id);
    match HeaderValue::try_from(authority) {
        Ok(host) if !authority.is_empty() => headers.insert(X_FORWARDED_HOST, host),
        _ => headers.remove(X_FORWARDED_HOST),
    };
    let ip = client.addr.ip();
    let node = if ip.is_ipv6() {
        format!("\"[{ip}]\"")
    } else {
        ip.to_string()
    };
    match HeaderValue::try_from(format!("for={node};host=\"{authority}\";proto={scheme}")) {
        Ok(forwarded) => headers.insert(FORWARDED, forwarded),
        Err(_) => headers.remove(FORWARDED),
    };
}

#[cfg(test)]
mod tests;
