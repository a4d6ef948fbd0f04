//! What one exchange costs in each policy: built component, warm instance, as the gateway calls it.
//!
//! An iteration makes the exchange, calls every hook that the policy has (request; before and after one attempt; response) and
//! drops the exchange. The same iteration through an empty chain is the base, and is taken off: what is left is the policy.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::http::{HeaderMap, HeaderValue, Method, StatusCode};
use examples::client::Error;
use policy_host::{
    Attempt, AttemptOutcome, Chain, EndpointView, ExchangeContext, Grant, HostConfig, Identity,
    InstanceChoice, Policy, PolicyHost, PolicySpec, PrimitiveCaps, Primitives, RequestInfo,
    RequestParts, ResponseParts, Source, UpstreamError, UpstreamStats, UpstreamView, at_once,
};
use serde::Deserialize;

use crate::report::Row;
use crate::{Context, http};

/// Long enough for the median of batches to settle; short enough to wait for.
const LENGTH: Duration = Duration::from_millis(1200);
/// Iterations between two looks at the clock.
const BATCH: u32 = 500;

#[derive(Deserialize)]
struct Settings {
    policy: Vec<PolicySettings>,
}

/// The part of a gateway's `[[policy]]` that a policy's cost depends on.
#[derive(Clone, Deserialize)]
struct PolicySettings {
    name: String,
    module: std::path::PathBuf,
    #[serde(default)]
    grants: Vec<String>,
    config: Option<toml::Table>,
}

pub fn run(context: &Context) -> Result<Vec<Row>, Error> {
    let settings: Settings =
        toml::from_str(&http::policies(context)).map_err(|error| Error::of(&error))?;
    let host = PolicyHost::new(HostConfig::default()).map_err(|error| Error::of(&error))?;
    let primitives = Primitives::new(PrimitiveCaps::default());
    let mut rows = Vec::new();
    let empty = measure(&Chain::default());
    let mut all = Vec::new();
    let mut sum = 0.0;
    for one in settings.policy {
        context.say(&format!("policy: {}", one.name));
        let name = one.name.clone();
        let began = Instant::now();
        let policy = load(&host, &primitives, one.clone(), InstanceChoice::Warm)?;
        let compile = began.elapsed();
        let cost = measure(&Chain::new(vec![Arc::clone(&policy)])) - empty;
        let note = format!(
            "hooks: {}; compiled in {} ms",
            hooks(&policy),
            compile.as_millis()
        );
        rows.push(Row::new("policy", name.clone(), cost, "µs/exchange").note(note));
        all.push(policy);
        sum += cost;
        let fresh = load(&host, &primitives, one, InstanceChoice::PerRequest)?;
        let fresh = measure(&Chain::new(vec![fresh])) - empty;
        let what = format!("{name}, a fresh instance for each call");
        rows.push(Row::new("policy", what, fresh, "µs/exchange").against(cost, "a warm one"));
    }
    context.say("policy: all in one chain");
    let together = measure(&Chain::new(all)) - empty;
    rows.push(
        Row::new("policy", "all four in one chain", together, "µs/exchange")
            .against(sum, "their sum"),
    );
    Ok(rows)
}

fn load(
    host: &PolicyHost,
    primitives: &Arc<Primitives>,
    settings: PolicySettings,
    instance: InstanceChoice,
) -> Result<Arc<Policy>, Error> {
    let mut spec = PolicySpec::new(settings.name, std::fs::read(&settings.module)?);
    spec.instance = instance;
    spec.config_json = serde_json::to_string(&settings.config.unwrap_or_default())
        .map_err(|error| Error::of(&error))?;
    for grant in settings.grants {
        spec.grants
            .push(grant.parse::<Grant>().map_err(|error| Error::of(&error))?);
    }
    host.load(spec, primitives)
        .map_err(|error| Error::of(&error))
}

fn hooks(policy: &Policy) -> String {
    let present = [
        ("request", policy.has_request_hook()),
        ("attempt", policy.has_attempt_hook()),
        ("response", policy.has_response_hook()),
    ];
    present
        .iter()
        .filter(|(_, has)| *has)
        .map(|(name, _)| *name)
        .collect::<Vec<_>>()
        .join(", ")
}

/// The median over batches, in µs an iteration.
fn measure(chain: &Chain) -> f64 {
    let upstreams: Arc<dyn UpstreamView> = Arc::new(OneUpstream);
    let mut batches = Vec::new();
    let began = Instant::now();
    while began.elapsed() < LENGTH {
        let batch = Instant::now();
        for _ in 0..BATCH {
            exchange(chain, &upstreams);
        }
        batches.push(batch.elapsed().as_secs_f64() * 1e6 / f64::from(BATCH));
    }
    batches.sort_by(f64::total_cmp);
    batches[batches.len() / 2]
}

fn exchange(chain: &Chain, upstreams: &Arc<dyn UpstreamView>) {
    let mut context = ExchangeContext::new(request(), info(), Some(Arc::clone(upstreams)));
    let attempt = Attempt {
        number: 1,
        upstream: "origin".to_owned(),
        endpoint: None,
    };
    let outcome = AttemptOutcome {
        status: Some(200),
        error: None,
        latency_us: 900,
    };
    let _ = black_box(at_once(chain.on_request(&mut context)));
    let _ = black_box(at_once(chain.before_attempt(&mut context, &attempt)));
    let _ = black_box(at_once(chain.after_attempt(
        &mut context,
        &attempt,
        &outcome,
    )));
    let headers = HeaderMap::from_iter([(
        ::http::header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    )]);
    context.response = Some(ResponseParts {
        status: StatusCode::OK,
        headers,
        source: Source::Upstream,
    });
    let _ = black_box(at_once(chain.on_response(&mut context)));
}

/// Ten header fields, as a browser sends.
fn request() -> RequestParts {
    let mut headers = HeaderMap::with_capacity(10);
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

/// An upstream with one endpoint that is always well.
struct OneUpstream;

impl UpstreamView for OneUpstream {
    fn names(&self) -> Vec<String> {
        vec!["origin".to_owned()]
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
