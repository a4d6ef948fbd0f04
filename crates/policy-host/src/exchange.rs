//! One exchange, as policies see and change it. The gateway builds it, lends it to the chain, and takes it back.
//!
//! Invariants: nothing here is copied into a guest unless the guest asks for it; everything a guest can add to is bounded; permits
//! and gates are settled when the exchange is dropped, whatever happened to the guests.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::{Deref, DerefMut, RangeInclusive};
use std::sync::Arc;

use edge_types::Digest;
use http::{HeaderMap, Method, StatusCode};

use crate::attrs::Attrs;
use crate::bodies::Bodies;
use crate::decision::{Reason, RouteChoice};
use crate::llm;
use crate::permits::Permits;
use crate::proxy_wasm::Pinned;
use crate::set_fields::SetFields;
use crate::upstream::UpstreamView;

/// Cache key parts, over all policies of one exchange: enough for tenant, language, device class and the like.
pub const MAX_KEY_PARTS: usize = 16;
/// One cache key part: a long header value.
pub const MAX_KEY_PART_BYTES: usize = 1024;
/// Cache tags, over all policies of one exchange.
pub const MAX_TAGS: usize = 16;
/// One cache tag.
pub const MAX_TAG_BYTES: usize = 128;
/// Reasons, over all policies and attempts of one exchange; later ones are dropped.
pub const MAX_REASONS: usize = 32;
/// One reason: a short, constant text.
pub const MAX_REASON_BYTES: usize = 64;

/// Who is calling, as far as the gateway established it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub tenant: Option<String>,
    pub subject: Option<String>,
    /// How it was established: `mtls`, `token`, …, or `none`.
    pub method: Cow<'static, str>,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            tenant: None,
            subject: None,
            method: Cow::Borrowed("none"),
        }
    }
}

/// The parts of the request that a policy may change.
#[derive(Debug, Clone)]
pub struct RequestParts {
    pub method: Method,
    pub path_and_query: String,
    pub authority: String,
    pub headers: HeaderMap,
}

/// What is fixed once the request arrived.
#[derive(Debug, Clone)]
pub struct RequestInfo {
    pub id: String,
    pub client: SocketAddr,
    /// `h1`, `h2` or `h3`.
    pub protocol: &'static str,
    pub tls: bool,
    pub sni: Option<String>,
    pub route: Arc<str>,
    pub received_ms: u64,
    pub identity: Identity,
}

/// Where a response came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Upstream,
    Cache,
    StaleCache,
    Fhe,
    Local,
}

/// The parts of the response that a policy may change.
#[derive(Debug, Clone)]
pub struct ResponseParts {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub source: Source,
}

/// What policies said about caching this exchange.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheDirectives {
    pub key_parts: Vec<String>,
    /// None: a request with a body is not cached.
    pub body_key: Option<BodyKey>,
    pub bypass: bool,
    pub store: Option<StoreDirective>,
    pub no_store: bool,
    /// Only responses with one of these statuses are stored; empty: any.
    pub store_only: Vec<RangeInclusive<u16>>,
    /// How long after it went stale a response may still be served when the upstream fails or a policy gives up.
    pub stale_if_error_ms: Option<u64>,
    /// By which what is stored can be purged.
    pub tags: Vec<String>,
}

impl CacheDirectives {
    /// Whether a policy keeps a response with this status out of the store.
    pub fn refuses(&self, status: StatusCode) -> bool {
        let listed = |range: &RangeInclusive<u16>| range.contains(&status.as_u16());
        self.no_store || !(self.store_only.is_empty() || self.store_only.iter().any(listed))
    }
}

/// What of the request's body is part of the cache key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKey {
    /// The body as it is sent on.
    Body,
    /// A normal form that a policy made of it, by its digest.
    Text(Digest),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreDirective {
    pub ttl_ms: u64,
    pub stale_while_revalidate_ms: u64,
    pub stale_if_error_ms: u64,
}

/// Which hook may change what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No exchange: the policy is being configured.
    Configure,
    Request,
    /// The request's body is here whole; the head can still be changed.
    RequestBody,
    /// The request is on its way.
    RequestStream,
    Before {
        attempt: u32,
    },
    After {
        attempt: u32,
    },
    Response,
    /// The response's body is here whole; the head can still be changed.
    ResponseBody,
    /// The response is on its way.
    ResponseStream,
    Complete,
}

/// Which policies of a chain are through with an exchange. Those past the 64th are always called.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Done(u64);

impl Done {
    pub(crate) fn mark(&mut self, place: usize) {
        self.0 |= 1_u64.checked_shl(place as u32).unwrap_or(0);
    }

    pub(crate) fn has(self, place: usize) -> bool {
        self.0 & 1_u64.checked_shl(place as u32).unwrap_or(0) != 0
    }
}

pub struct Exchange {
    pub request: RequestParts,
    pub info: RequestInfo,
    /// Set by the gateway before `Chain::on_response`.
    pub response: Option<ResponseParts>,
    /// Whether bodies follow the heads. None: nobody knows better than what the head says.
    pub request_has_body: Option<bool>,
    pub response_has_body: Option<bool>,
    pub attrs: Attrs,
    /// The upstream that a policy chose; the last one to choose wins.
    pub route: Option<RouteChoice>,
    pub cache: CacheDirectives,
    pub reasons: Vec<Reason>,
    /// Fields that policies want on whatever response the client gets; the gateway sets them last.
    pub response_headers: SetFields,
    /// By place in the chain: policies that want no later hook.
    pub(crate) done: Done,
    /// Which policies asked for the bodies.
    pub(crate) bodies: Bodies,
    pub(crate) llm: llm::Known,
    pub(crate) phase: Phase,
    pub(crate) permits: Permits,
    /// Contexts that proxy-wasm policies have for this exchange.
    pub(crate) pinned: Vec<Pinned>,
    pub(crate) upstreams: Option<Arc<dyn UpstreamView>>,
}

impl Exchange {
    /// Whether this is an exchange, and not what an idle instance holds.
    pub(crate) fn is_real(&self) -> bool {
        self.phase != Phase::Configure
    }

    /// A later policy's field of the same name replaces an earlier one's.
    pub(crate) fn set_response_headers(&mut self, fields: SetFields) {
        self.response_headers.replace_with(fields);
    }

    pub(crate) fn add_reason(&mut self, policy: &Arc<str>, text: String) {
        if self.reasons.len() < MAX_REASONS {
            self.reasons.push(Reason {
                policy: policy.clone(),
                text,
            });
        }
    }
}

/// The handle to an exchange: one pointer, so that lending it to a guest costs nothing.
pub struct ExchangeContext {
    inner: Box<Exchange>,
}

impl ExchangeContext {
    /// `upstreams` is the view in force when the request arrived; the exchange keeps it to its end.
    pub fn new(
        request: RequestParts,
        info: RequestInfo,
        upstreams: Option<Arc<dyn UpstreamView>>,
    ) -> Self {
        Self {
            inner: Box::new(Exchange {
                request,
                info,
                response: None,
                request_has_body: None,
                response_has_body: None,
                attrs: Attrs::default(),
                route: None,
                cache: CacheDirectives::default(),
                reasons: Vec::new(),
                response_headers: SetFields::default(),
                done: Done::default(),
                bodies: Bodies::default(),
                llm: llm::Known::default(),
                phase: Phase::Request,
                permits: Permits::default(),
                pinned: Vec::new(),
                upstreams,
            }),
        }
    }

    /// How many tokens the exchange took, now that it is over: for complete hooks.
    pub fn llm_is_over(&mut self, usage: Option<llm::Usage>) {
        self.inner.llm.is_over(usage);
    }

    /// The estimate of the prompt's tokens, if the request's body was gathered and is an LLM's.
    pub fn llm_prompt(&mut self) -> Option<u64> {
        self.inner.llm.prompt()
    }

    /// Attempts that were begun and never ended (the client went away, say): their permits go back uncounted.
    pub fn settle_abandoned(&mut self) {
        self.inner.permits.abandon_attempts();
    }

    /// Takes the parts apart. What policies held for this exchange is released.
    pub fn into_exchange(self) -> Exchange {
        *self.inner
    }

    /// No exchange: what stands in for one that is elsewhere.
    pub fn vacant() -> Self {
        let request = RequestParts {
            method: Method::GET,
            path_and_query: String::new(),
            authority: String::new(),
            headers: HeaderMap::new(),
        };
        let info = RequestInfo {
            id: String::new(),
            client: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
            protocol: "",
            tls: false,
            sni: None,
            route: Arc::from(""),
            received_ms: 0,
            identity: Identity::default(),
        };
        let mut context = Self::new(request, info, None);
        context.phase = Phase::Configure;
        context
    }
}

impl Deref for ExchangeContext {
    type Target = Exchange;
    fn deref(&self) -> &Exchange {
        &self.inner
    }
}

impl DerefMut for ExchangeContext {
    fn deref_mut(&mut self) -> &mut Exchange {
        &mut self.inner
    }
}
