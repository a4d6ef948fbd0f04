//! What belongs to one connection only, and is not passed on: RFC 9110, section 7.6.1.

use http::header::{
    CONNECTION, HOST, HeaderName, HeaderValue, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Request, Uri, Version};

use crate::body::Body;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Removes the hop-by-hop fields of a message, and those that its `Connection` names.
//= https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
//# Intermediaries MUST parse a received Connection header field before a message is forwarded and, for each
//# connection-option in this field, remove any header or trailer field(s) from the message with the same name as the
//# connection-option, and then remove the Connection header field itself
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // Most messages have none, and a removal of what is not there costs a hash each.
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .filter_map(|name| HeaderName::try_from(name.trim()).ok())
            // What frames or addresses the message is not for a peer to remove.
            .filter(|name| *name != HOST && *name != http::header::CONTENT_LENGTH)
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
}

/// The fields of a request that are for this gateway alone, besides those of the connection.
pub fn strip_request(headers: &mut HeaderMap) {
    // gRPC needs `TE: trailers`; any other member is for one hop.
    let trailers = headers.get_all(TE).iter().any(|line| {
        line.to_str().is_ok_and(|line| {
            line.split(',')
                .any(|member| member.trim().eq_ignore_ascii_case("trailers"))
        })
    });
    strip_hop_by_hop(headers);
    headers.remove(TE);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    headers.remove(PROXY_AUTHORIZATION);
}

/// How a request is addressed on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Path in the request line, authority in `Host`.
    H1,
    /// Both in pseudo-header fields.
    H2 { tls: bool },
}

/// Puts a request into the form of its connection. The authority is that of its URI, else its `Host`, else the endpoint's.
pub fn address(request: &mut Request<Body>, form: Form, endpoint: &HeaderValue) {
    let authority = authority_of(request, endpoint);
    let path = request.uri().path_and_query().cloned();
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(path.unwrap_or_else(|| http::uri::PathAndQuery::from_static("/")));
    match form {
        Form::H1 => {
            request.headers_mut().insert(HOST, authority);
            *request.version_mut() = Version::HTTP_11;
        }
        Form::H2 { tls } => {
            let scheme = if tls {
                http::uri::Scheme::HTTPS
            } else {
                http::uri::Scheme::HTTP
            };
            parts.scheme = Some(scheme);
            let parse =
                |value: &HeaderValue| value.to_str().ok().and_then(|text| text.parse().ok());
            parts.authority = parse(&authority).or_else(|| parse(endpoint));
            request.headers_mut().remove(HOST);
            *request.version_mut() = Version::HTTP_2;
        }
    }
    // A path alone, or a path with scheme and authority, always make a URI.
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

fn authority_of(request: &Request<Body>, endpoint: &HeaderValue) -> HeaderValue {
    if let Some(authority) = request.uri().authority()
        && let Ok(value) = HeaderValue::from_str(authority.as_str())
    {
        return value;
    }
    match request.headers().get(HOST) {
        Some(host) if !host.is_empty() => host.clone(),
        _ => endpoint.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn hop_by_hop_fields_stay_on_their_hop() {
        let mut headers = map(&[
            ("connection", "close, X-Hop, host, content-length"),
            ("x-hop", "1"),
            ("keep-alive", "5"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip, Trailers"),
            ("upgrade", "websocket"),
            ("proxy-authorization", "secret"),
            ("host", "a.test"),
            ("content-length", "3"),
            ("x-kept", "1"),
        ]);
        strip_request(&mut headers);
        let expected = map(&[
            ("host", "a.test"),
            ("content-length", "3"),
            ("x-kept", "1"),
            ("te", "trailers"),
        ]);
        assert_eq!(headers, expected);
    }

    #[test]
    fn a_request_takes_the_form_of_its_connection() {
        let endpoint = HeaderValue::from_static("127.0.0.1:80");
        let check = |uri: &str,
                     host: Option<&'static str>,
                     form,
                     expected_uri: &str,
                     expected_host: Option<&str>| {
            let mut request = Request::new(Body::empty());
            *request.uri_mut() = uri.parse().expect("a URI");
            if let Some(host) = host {
                request
                    .headers_mut()
                    .insert(HOST, HeaderValue::from_static(host));
            }
            address(&mut request, form, &endpoint);
            assert_eq!(request.uri().to_string(), expected_uri);
            let host = request
                .headers()
                .get(HOST)
                .map(|host| host.to_str().expect("text"));
            assert_eq!(host, expected_host);
        };
        check("http://a.test/p?q", None, Form::H1, "/p?q", Some("a.test"));
        check("/p", Some("b.test"), Form::H1, "/p", Some("b.test"));
        check("/p", None, Form::H1, "/p", Some("127.0.0.1:80"));
        check(
            "http://a.test/p",
            Some("b.test"),
            Form::H1,
            "/p",
            Some("a.test"),
        );
        check(
            "/p",
            Some("b.test:8"),
            Form::H2 { tls: true },
            "https://b.test:8/p",
            None,
        );
        check(
            "/p",
            None,
            Form::H2 { tls: false },
            "http://127.0.0.1:80/p",
            None,
        );
    }
}
