//! A host with a clock that stands still, components from `cargo xtask policies`, and exchanges to send through them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use policy_host::{
    Attempt, AttemptOutcome, Chain, Completed, EndpointView, ExchangeContext, Grant, HostConfig,
    Identity, Limits, LoadError, LocalResponse, ManualClock, Outcome, Policy, PolicyHost,
    PolicySpec, PrimitiveCaps, Primitives, RequestInfo, RequestParts, ResponseParts, Source,
    UpstreamError, UpstreamStats, UpstreamView, at_once,
};

/// A policy of ours fits into this, configured and at work.
const MEMORY_BYTES: usize = 1 << 20;

pub struct Bench {
    host: PolicyHost,
    primitives: Arc<Primitives>,
    pub clock: Arc<ManualClock>,
}

pub fn component(name: &str) -> Vec<u8> {
    let directory = std::env::var_os("VEILGATE_POLICIES_DIR")
        .expect("VEILGATE_POLICIES_DIR is not set: run `cargo xtask test`, which builds the policies and sets it");
    let path = PathBuf::from(directory).join(format!("{name}.wasm"));
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask test`", path.display()))
}

/// What a chain of policies that never wait comes to.
pub fn now<T>(hook: impl Future<Output = T>) -> T {
    at_once(hook).expect("a policy that never waits waited")
}

impl Bench {
    pub fn new() -> Self {
        let clock = Arc::new(ManualClock::starting_at_ms(1_700_000_000_000));
        // two instances of each: what they share must be in the host
        let config = HostConfig {
            workers: 2,
            clock: clock.clone(),
            ..HostConfig::default()
        };
        Self {
            host: PolicyHost::new(config).expect("the host starts"),
            primitives: Primitives::new(PrimitiveCaps::default()),
            clock,
        }
    }

    pub fn try_load(
        &self,
        name: &str,
        config: &str,
        grants: &[Grant],
    ) -> Result<Arc<Policy>, LoadError> {
        let spec = PolicySpec {
            config_json: config.to_owned(),
            grants: grants.to_vec(),
            limits: Limits {
                memory_bytes: MEMORY_BYTES,
                ..Limits::default()
            },
            ..PolicySpec::new(name, component(name))
        };
        self.host.load(spec, &self.primitives)
    }

    pub fn load(&self, name: &str, config: &str, grants: &[Grant]) -> Arc<Policy> {
        self.try_load(name, config, grants)
            .unwrap_or_else(|error| panic!("{name} does not load: {error}"))
    }

    pub fn chain(&self, name: &str, config: &str, grants: &[Grant]) -> Chain {
        Chain::new(vec![self.load(name, config, grants)])
    }
}

pub fn request(method: &str, path_and_query: &str, fields: &[(&str, &str)]) -> ExchangeContext {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name: HeaderName = name.parse().expect("a field's name");
        headers.append(name, HeaderValue::from_str(value).expect("a field's value"));
    }
    let parts = RequestParts {
        method: method.parse::<Method>().expect("a method"),
        path_and_query: path_and_query.to_owned(),
        authority: "www.example.com:8443".to_owned(),
        headers,
    };
    let info = RequestInfo {
        id: "1".to_owned(),
        client: SocketAddr::from(([192, 0, 2, 1], 40_000)),
        protocol: "h3",
        tls: true,
        sni: None,
        route: Arc::from("main"),
        received_ms: 1_700_000_000_000,
        identity: Identity::default(),
    };
    ExchangeContext::new(parts, info, Some(Arc::new(Upstreams)))
}

/// `local` has 4 requests on their way and answers in 2 ms, `cloud` in 20 ms; `gone` is down.
struct Upstreams;

impl UpstreamView for Upstreams {
    fn names(&self) -> Vec<String> {
        ["cloud", "gone", "local"].map(str::to_owned).to_vec()
    }

    fn endpoints(&self, _upstream: &str) -> Result<Vec<EndpointView>, UpstreamError> {
        Ok(Vec::new())
    }

    fn stats_of(&self, upstream: &str) -> Result<UpstreamStats, UpstreamError> {
        let (healthy, in_flight, p50_us) = match upstream {
            "local" => (1, 4, 2_000),
            "cloud" => (3, 0, 20_000),
            "gone" => (0, 0, 0),
            _ => return Err(UpstreamError::NotFound),
        };
        Ok(UpstreamStats {
            healthy,
            total: 3,
            in_flight,
            rate: 1.0,
            error_rate: 0.0,
            p50_us,
            p99_us: p50_us,
        })
    }

    fn eject(&self, _upstream: &str, _endpoint: u32, _for_ms: u64) -> Result<(), UpstreamError> {
        Err(UpstreamError::Denied)
    }
}

pub fn get(path_and_query: &str) -> ExchangeContext {
    request("GET", path_and_query, &[])
}

/// The request hooks of a request that is to go on.
pub fn passes(chain: &Chain, exchange: &mut ExchangeContext) {
    match now(chain.on_request(exchange)) {
        Outcome::Continue => {}
        other => panic!("did not pass: {other:?}"),
    }
}

/// The request hooks of a request that is to be answered by a policy.
pub fn answered(chain: &Chain, exchange: &mut ExchangeContext) -> LocalResponse {
    match now(chain.on_request(exchange)) {
        Outcome::Respond(response) => response,
        other => panic!("was not answered: {other:?}"),
    }
}

/// The hooks on the request's body, which somebody must have asked for; the body as it is sent on.
pub fn with_body(chain: &Chain, exchange: &mut ExchangeContext, body: &str) -> (Outcome, String) {
    assert!(
        chain.request_need(exchange).whole.is_some(),
        "nobody asked for the body"
    );
    let sent = Bytes::copy_from_slice(body.as_bytes());
    let (outcome, replaced) = now(chain.on_request_body(exchange, sent));
    let body = replaced.map_or(body.to_owned(), |body| {
        String::from_utf8_lossy(&body).into_owned()
    });
    (outcome, body)
}

/// The end of an exchange that an upstream answered.
pub fn completes(chain: &Chain, exchange: &mut ExchangeContext, prompt: u64, completion: u64) {
    exchange.llm_is_over(Some(policy_host::llm::Usage {
        prompt,
        completion,
        estimated: false,
    }));
    let completed = Completed {
        status: 200,
        duration_us: 1_000,
        upstream_us: Some(900),
        upstream: Some("app".to_owned()),
        attempts: 1,
        request_bytes: 100,
        response_bytes: 100,
        cache_status: String::new(),
        client_aborted: false,
    };
    now(chain.on_complete(exchange, &completed));
}

/// The response hooks, for a response of the upstream.
pub fn responds(
    chain: &Chain,
    exchange: &mut ExchangeContext,
    status: u16,
    fields: &[(&'static str, &'static str)],
) {
    let headers = fields.iter().map(|(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    });
    exchange.response = Some(ResponseParts {
        status: StatusCode::from_u16(status).expect("a status"),
        headers: headers.collect(),
        source: Source::Upstream,
    });
    match now(chain.on_response(exchange)) {
        Outcome::Continue => {}
        other => panic!("did not pass: {other:?}"),
    }
}

pub fn attempt(number: u32, upstream: &str) -> Attempt {
    Attempt {
        number,
        upstream: upstream.to_owned(),
        endpoint: None,
    }
}

pub fn status(status: u16) -> AttemptOutcome {
    AttemptOutcome {
        status: Some(status),
        error: None,
        latency_us: 1_000,
    }
}

pub fn failed(error: &str) -> AttemptOutcome {
    AttemptOutcome {
        status: None,
        error: Some(error.to_owned()),
        latency_us: 1_000,
    }
}

pub fn field<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

pub fn reasons(exchange: &ExchangeContext) -> Vec<&str> {
    exchange
        .reasons
        .iter()
        .map(|reason| reason.text.as_str())
        .collect()
}
