//! The one place where errors become responses: a status, and words for the client that differ from the log's.
//!
//! Bodies are problem+json (RFC 9457). The log names the error as RFC 9209 does, with its cause.

use http::header::{
    ALT_SVC, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, RETRY_AFTER,
};
use http::{HeaderValue, Method, Response, StatusCode};

use super::normalize::X_REQUEST_ID;
use super::record::Account;
use super::{Answer, Gateway};
use crate::body::Body;
use crate::error::{Kind, ProxyError, RecordFault, RequestFault, Side};
use crate::exchange::{Client, Protocol, Source};
use crate::upstream::headers::strip_hop_by_hop;

/// When to come back after an error that passes: short, since breakers and balancers act within seconds.
const RETRY_SOON: HeaderValue = HeaderValue::from_static("1");
/// A full disk or quota takes longer to mend.
const RETRY_LATER: HeaderValue = HeaderValue::from_static("10");

/// Status, the last part of the problem's type (for programs; docs/config.md lists them), title, and what a client may know.
struct Words {
    status: StatusCode,
    name: &'static str,
    title: &'static str,
    detail: &'static str,
}

const fn words(
    status: StatusCode,
    name: &'static str,
    title: &'static str,
    detail: &'static str,
) -> Words {
    Words {
        status,
        name,
        title,
        detail,
    }
}

/// The answer to an exchange that failed; the account gets the error, the log its cause.
pub(super) fn with_error(account: &mut Account, error: ProxyError) -> Answer {
    let words = client_words(error.kind);
    log(account, &error, words.status);
    account.summary.error = Some(error.kind);
    let problem = serde_json::json!({
        "type": format!("urn:veilgate:gateway:{}", words.name),
        "title": words.title,
        "status": words.status.as_u16(),
        "detail": words.detail,
        "request_id": account.summary.id.to_string(),
    });
    let mut response = Response::new(Body::full(problem.to_string()));
    *response.status_mut() = words.status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match error.kind {
        Kind::RecordNotDurable(_) | Kind::NotDeferred => headers.insert(RETRY_AFTER, RETRY_LATER),
        _ if words.status == StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(RETRY_AFTER, RETRY_SOON)
        }
        _ => None,
    };
    if closes(error.kind) && account.summary.protocol == Protocol::H1 {
        // The rest of this request's body is not read: the connection cannot go on.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Answer::new(response, Source::Local)
}

/// Puts on what every answer carries, and takes off what belongs to the upstream's hop.
pub(super) fn complete(
    gateway: &Gateway,
    client: &Client,
    account: &mut Account,
    mut answer: Answer,
) -> Answer {
    account.summary.status = answer.response.status().as_u16();
    let closing =
        answer.source == Source::Local && answer.response.headers().contains_key(CONNECTION);
    let headers = answer.response.headers_mut();
    strip_hop_by_hop(headers);
    account.decided_fields().put_on(headers);
    headers.insert(X_REQUEST_ID, account.id_header());
    if let Some(alt_svc) = &client.alt_svc
        && gateway.is_ready()
    {
        headers.insert(ALT_SVC, alt_svc.clone());
    }
    // hyper sets the date itself; over h3 nobody else does.
    if account.summary.protocol == Protocol::H3 {
        headers.entry(DATE).or_insert_with(now);
    }
    if closing {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let bodiless =
        account.summary.method == Method::HEAD || matches!(account.summary.status, 204 | 304);
    if bodiless && !answer.response.body().is_empty() {
        if account.summary.method == Method::HEAD
            && let Some(length) = answer.response.body().exact_len()
        {
            answer
                .response
                .headers_mut()
                .entry(CONTENT_LENGTH)
                .or_insert_with(|| HeaderValue::from(length));
        }
        *answer.response.body_mut() = Body::empty();
    }
    answer
}

fn now() -> HeaderValue {
    // An HTTP date is always a header value.
    HeaderValue::try_from(httpdate::fmt_http_date(std::time::SystemTime::now()))
        .unwrap_or(HeaderValue::from_static(""))
}

fn log(account: &Account, error: &ProxyError, status: StatusCode) {
    let (id, kind) = (account.summary.id, error.kind.name());
    let route = account.summary.route.as_deref().unwrap_or("-");
    match error.side {
        // What clients do wrong is in the access log; a line each here would let them fill the disk.
        Side::Client => {
            tracing::debug!(%id, kind, status = status.as_u16(), route, %error, "request refused")
        }
        Side::Upstream => {
            tracing::warn!(%id, kind, status = status.as_u16(), route, %error, "upstream failed")
        }
        Side::Gateway => {
            tracing::warn!(%id, kind, status = status.as_u16(), route, %error, "exchange failed")
        }
    }
}

/// Errors after which the position in an HTTP/1 connection is unknown, or the rest of a body unwanted.
fn closes(kind: Kind) -> bool {
    match kind {
        Kind::Request(fault) => !matches!(
            fault,
            RequestFault::NoRoute | RequestFault::MethodNotAllowed
        ),
        _ => false,
    }
}

fn client_words(kind: Kind) -> Words {
    use StatusCode as S;
    match kind {
        Kind::Request(fault) => request_words(fault),
        Kind::RecordNotDurable(RecordFault::Full) => words(
            S::INSUFFICIENT_STORAGE,
            "storage-full",
            "Not recorded",
            "This service answers only what it has recorded, and its storage is full. Whether the request had an effect is not known.",
        ),
        Kind::RecordNotDurable(RecordFault::Unavailable) => words(
            S::SERVICE_UNAVAILABLE,
            "not-recorded",
            "Not recorded",
            "This service answers only what it has recorded, and that failed. Whether the request had an effect is not known.",
        ),
        Kind::NotDeferred => words(
            S::SERVICE_UNAVAILABLE,
            "not-deferred",
            "Not available",
            "The service is to be asked later, and nothing here keeps the request until then. Send it again.",
        ),
        Kind::HttpRequestDenied => words(
            S::SERVICE_UNAVAILABLE,
            "rule-failed",
            "Not available",
            "A rule of this service could not be applied. Try again.",
        ),
        Kind::DestinationUnavailable | Kind::ConnectionLimitReached => words(
            S::SERVICE_UNAVAILABLE,
            "unavailable",
            "Not available",
            "The service is busy or down at the moment. Try again.",
        ),
        Kind::DnsTimeout
        | Kind::ConnectionTimeout
        | Kind::ConnectionReadTimeout
        | Kind::HttpResponseTimeout => words(
            S::GATEWAY_TIMEOUT,
            "timeout",
            "Gateway timeout",
            "The service did not answer in time.",
        ),
        Kind::DnsError
        | Kind::ConnectionRefused
        | Kind::ConnectionTerminated
        | Kind::TlsProtocolError
        | Kind::TlsCertificateError => words(
            S::BAD_GATEWAY,
            "unreachable",
            "Bad gateway",
            "The service cannot be reached.",
        ),
        Kind::HttpResponseIncomplete
        | Kind::HttpResponseHeaderSectionSize
        | Kind::HttpResponseBodySize
        | Kind::HttpUpgradeFailed
        | Kind::HttpProtocolError => words(
            S::BAD_GATEWAY,
            "bad-answer",
            "Bad gateway",
            "The service gave an answer that cannot be passed on.",
        ),
        Kind::ProxyLoopDetected => words(
            S::LOOP_DETECTED,
            "loop",
            "Loop detected",
            "The request came back to a gateway that sent it on.",
        ),
        Kind::DestinationNotFound | Kind::ProxyConfigurationError | Kind::ProxyInternalError => {
            words(
                S::INTERNAL_SERVER_ERROR,
                "internal",
                "Internal error",
                "The gateway made a mistake. Its operator finds it by the request id.",
            )
        }
    }
}

fn request_words(fault: RequestFault) -> Words {
    use StatusCode as S;
    match fault {
        RequestFault::Ambiguous => words(
            S::BAD_REQUEST,
            "ambiguous-request",
            "Ambiguous request",
            "The request can be read in more than one way.",
        ),
        RequestFault::Malformed => words(
            S::BAD_REQUEST,
            "malformed-request",
            "Malformed request",
            "The request cannot be read.",
        ),
        RequestFault::TargetTooLong => words(
            S::URI_TOO_LONG,
            "target-too-long",
            "Target too long",
            "The path and query are longer than allowed.",
        ),
        RequestFault::HeadersTooLarge => words(
            S::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "header-too-large",
            "Header too large",
            "There are more header fields than allowed.",
        ),
        RequestFault::BodyTooLarge => words(
            S::PAYLOAD_TOO_LARGE,
            "body-too-large",
            "Body too large",
            "The body is longer than this route allows.",
        ),
        RequestFault::BodyTimeout => words(
            S::REQUEST_TIMEOUT,
            "body-too-slow",
            "Body too slow",
            "The body did not arrive in time.",
        ),
        RequestFault::Aborted => words(
            S::BAD_REQUEST,
            "body-incomplete",
            "Body incomplete",
            "The body ended before it was complete.",
        ),
        RequestFault::Refused => words(
            S::FORBIDDEN,
            "body-refused",
            "Body refused",
            "A rule of this service does not let this body pass.",
        ),
        RequestFault::NoRoute => words(
            S::NOT_FOUND,
            "no-route",
            "Not found",
            "Nothing is served at this host and path.",
        ),
        RequestFault::MethodNotAllowed => words(
            S::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "Method not allowed",
            "This path is served, but not for this method.",
        ),
        RequestFault::Unsupported => words(
            S::NOT_IMPLEMENTED,
            "not-supported",
            "Not supported",
            "This gateway does not pass on CONNECT, TRACE and WebSocket upgrades.",
        ),
    }
}
