//! The exchange that every policy is measured on, and the hooks of it.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use policy_host::{
    Attempt, AttemptChoice, AttemptOutcome, Chain, EndpointView, ExchangeContext, Identity,
    Outcome, RequestInfo, RequestParts, ResponseParts, Source, UpstreamError, UpstreamStats,
    UpstreamView, Verdict, at_once,
};

pub const UPSTREAM: &str = "origin";

/// What is called at the hooks: a chain of policies as the gateway calls it, or their logic compiled natively.
pub trait Subject {
    fn on_request(&self, _exchange: &mut ExchangeContext) -> Outcome {
        Outcome::Continue
    }

    fn before_attempt(&self, _exchange: &mut ExchangeContext, _attempt: &Attempt) -> AttemptChoice {
        AttemptChoice::Default
    }

    fn after_attempt(
        &self,
        _exchange: &mut ExchangeContext,
        _attempt: &Attempt,
        _outcome: &AttemptOutcome,
    ) -> Verdict {
        Verdict::Accept
    }

    fn on_response(&self, _exchange: &mut ExchangeContext) -> Outcome {
        Outcome::Continue
    }
}

/// Policies that may wait are not loaded here.
fn now<T>(hook: impl Future<Output = T>) -> T {
    at_once(hook).expect("a policy that never waits is through at the first look")
}

impl Subject for Chain {
    fn on_request(&self, exchange: &mut ExchangeContext) -> Outcome {
        now(Chain::on_request(self, exchange))
    }

    fn before_attempt(&self, exchange: &mut ExchangeContext, attempt: &Attempt) -> AttemptChoice {
        now(Chain::before_attempt(self, exchange, attempt))
    }

    fn after_attempt(
        &self,
        exchange: &mut ExchangeContext,
        attempt: &Attempt,
        outcome: &AttemptOutcome,
    ) -> Verdict {
        now(Chain::after_attempt(self, exchange, attempt, outcome))
    }

    fn on_response(&self, exchange: &mut ExchangeContext) -> Outcome {
        now(Chain::on_response(self, exchange))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    Request,
    Before,
    After,
    Response,
}

impl Hook {
    /// In the order of the exchange.
    pub const ALL: [Self; 4] = [Self::Request, Self::Before, Self::After, Self::Response];

    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Before => "before an attempt",
            Self::After => "after an attempt",
            Self::Response => "response",
        }
    }
}

/// What all exchanges share.
pub struct Trip {
    upstreams: Arc<dyn UpstreamView>,
    attempt: Attempt,
    outcome: AttemptOutcome,
}

impl Trip {
    pub fn new() -> Self {
        Self {
            upstreams: Arc::new(OneUpstream),
            attempt: Attempt {
                number: 1,
                upstream: UPSTREAM.to_owned(),
                endpoint: None,
            },
            outcome: AttemptOutcome {
                status: Some(200),
                error: None,
                latency_us: 900,
            },
        }
    }

    pub fn begin(&self) -> ExchangeContext {
        ExchangeContext::new(request(), info(), Some(Arc::clone(&self.upstreams)))
    }

    /// What must be there before this hook is called.
    pub fn prepare(&self, hook: Hook, exchange: &mut ExchangeContext) {
        if hook == Hook::Response {
            exchange.response = Some(response());
        }
    }

    /// What it decides is not looked at, but made.
    pub fn call(&self, hook: Hook, subject: &dyn Subject, exchange: &mut ExchangeContext) {
        let (attempt, outcome) = (&self.attempt, &self.outcome);
        match hook {
            Hook::Request => drop(black_box(subject.on_request(exchange))),
            Hook::Before => drop(black_box(subject.before_attempt(exchange, attempt))),
            Hook::After => drop(black_box(subject.after_attempt(exchange, attempt, outcome))),
            Hook::Response => drop(black_box(subject.on_response(exchange))),
        }
    }

    /// What it decides, in words.
    pub fn decided(
        &self,
        hook: Hook,
        subject: &dyn Subject,
        exchange: &mut ExchangeContext,
    ) -> String {
        let (attempt, outcome) = (&self.attempt, &self.outcome);
        match hook {
            Hook::Request => format!("{:?}", subject.on_request(exchange)),
            Hook::Before => format!("{:?}", subject.before_attempt(exchange, attempt)),
            Hook::After => format!("{:?}", subject.after_attempt(exchange, attempt, outcome)),
            Hook::Response => format!("{:?}", subject.on_response(exchange)),
        }
    }

    /// One exchange from its beginning to its end.
    pub fn whole(&self, subject: &dyn Subject) {
        let mut exchange = self.begin();
        for hook in Hook::ALL {
            self.prepare(hook, &mut exchange);
            self.call(hook, subject, &mut exchange);
        }
    }
}

/// Eleven header fields: ten as a browser sends them, and a tenant.
fn request() -> RequestParts {
    let mut headers = HeaderMap::with_capacity(11);
    for (name, value) in [
        ("accept", "application/json"),
        ("accept-encoding", "gzip, br"),
        ("accept-language", "en"),
        ("cache-control", "max-age=0"),
        ("cookie", "theme=dark"),
        ("origin", "https://example.test"),
        ("referer", "https://example.test/catalogue"),
        ("user-agent", "bench"),
        ("x-api-key", "bench"),
        ("x-forwarded-proto", "https"),
        ("x-tenant", "blue"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    RequestParts {
        method: Method::GET,
        path_and_query: "/bytes/1024".to_owned(),
        authority: "localhost".to_owned(),
        headers,
    }
}

fn info() -> RequestInfo {
    RequestInfo {
        id: "00000000000000000000000000".to_owned(),
        client: SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000)),
        protocol: "h2",
        tls: true,
        sni: None,
        route: Arc::from("all"),
        received_ms: 0,
        identity: Identity::default(),
    }
}

fn response() -> ResponseParts {
    ResponseParts {
        status: StatusCode::OK,
        headers: HeaderMap::from_iter([(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        )]),
        source: Source::Upstream,
    }
}

/// An upstream with one endpoint that is always well.
pub struct OneUpstream;

impl UpstreamView for OneUpstream {
    fn names(&self) -> Vec<String> {
        vec![UPSTREAM.to_owned()]
    }

    fn endpoints(&self, _upstream: &str) -> Result<Vec<EndpointView>, UpstreamError> {
        let address = "127.0.0.1:9080".to_owned();
        Ok(vec![EndpointView {
            id: 0,
            address,
            healthy: true,
            weight: 1,
            in_flight: 0,
            ewma_us: 900,
            zone: String::new(),
        }])
    }

    fn stats_of(&self, _upstream: &str) -> Result<UpstreamStats, UpstreamError> {
        Ok(UpstreamStats {
            healthy: 1,
            total: 1,
            in_flight: 0,
            rate: 1.0,
            error_rate: 0.0,
            p50_us: 900,
            p99_us: 2000,
        })
    }

    fn eject(&self, _upstream: &str, _endpoint: u32, _for_ms: u64) -> Result<(), UpstreamError> {
        Ok(())
    }
}
