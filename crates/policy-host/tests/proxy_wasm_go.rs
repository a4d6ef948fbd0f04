//! Filters in Go, by Go's own compiler: Coraza's web application firewall, and a small one on the Go SDK. `cargo xtask filters` builds
//! both, from `filters/` beside this file. A machine without Go has neither; in CI none may be missing.

mod common;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use common::exchange;
use http::{HeaderMap, Method, StatusCode};
use policy_host::{
    ArtifactDir, Chain, Completed, ExchangeContext, HostConfig, Later, LoadError, ManualClock,
    OnFault, OutboundCall, OutboundCalls, OutboundReply, Outcome, Passed, Policy, PolicyHost,
    PolicySpec, PrimitiveCaps, Primitives, ResponseParts, ServiceError, Services, Source,
};
use serde_json::json;

/// Where `cargo xtask filters` put them.
fn filters() -> PathBuf {
    std::env::var_os("VEILGATE_FILTERS_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/filters")),
        PathBuf::from,
    )
}

/// None, and a word of it, where there is no Go.
fn built(filter: &str) -> Option<Vec<u8>> {
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true" || value == "1");
    let path = filters().join("go").join(format!("{filter}.wasm"));
    match std::fs::read(&path) {
        Ok(wasm) => Some(wasm),
        Err(error) => {
            assert!(
                !in_ci,
                "{}: {error}; run `cargo xtask filters`",
                path.display()
            );
            eprintln!(
                "not tried: {} (`cargo xtask filters` builds it where there is Go)",
                path.display()
            );
            None
        }
    }
}

struct Bench {
    host: PolicyHost,
    primitives: Arc<Primitives>,
    clock: Arc<ManualClock>,
}

impl Bench {
    fn new(services: Services) -> Self {
        let clock = Arc::new(ManualClock::starting_at_ms(1_000_000));
        let config = HostConfig {
            workers: 1,
            max_policies: 1,
            max_memory_bytes: 128 << 20,
            // Half a minute of compiling, for a host that was itself built for tests.
            artifacts: Some(ArtifactDir {
                path: filters().join("compiled"),
                max_bytes: 512 << 20,
            }),
            clock: clock.clone(),
            services,
            ..HostConfig::default()
        };
        Self {
            host: PolicyHost::new(config).unwrap(),
            primitives: Primitives::new(PrimitiveCaps::default()),
            clock,
        }
    }

    fn load(&self, wasm: Vec<u8>, plugin: serde_json::Value) -> Result<Arc<Policy>, LoadError> {
        let mut spec = PolicySpec::new("filter", wasm);
        spec.config_json = json!({ "plugin": plugin }).to_string();
        spec.on_fault = OnFault::Deny;
        spec.grants = vec!["http-call".parse().unwrap()];
        spec.calls = vec!["judge".to_owned()];
        // What docs/proxy-wasm.md says that Coraza needs with the Core Rule Set.
        spec.limits.memory_bytes = 128 << 20;
        spec.limits.fuel = 200_000_000;
        spec.limits.deadline = Duration::from_secs(5);
        // Who comes second finds the module compiled.
        static COMPILING: Mutex<()> = Mutex::new(());
        let _compiling = COMPILING.lock().unwrap_or_else(PoisonError::into_inner);
        self.host.load(spec, &self.primitives)
    }
}

fn no_faults(policy: &Policy) {
    let faults = policy.stats().faults;
    assert!(faults.iter().all(|(_, count)| *count == 0), "{faults:?}");
}

fn respond(exchange: &mut ExchangeContext) {
    let text = [(http::header::CONTENT_TYPE, "text/plain".parse().unwrap())];
    exchange.response = Some(ResponseParts {
        status: StatusCode::OK,
        headers: HeaderMap::from_iter(text),
        source: Source::Upstream,
    });
}

fn coraza(rules: &[&str]) -> serde_json::Value {
    json!({ "default_directives": "all", "directives_map": { "all": rules } })
}

/// What Coraza makes of a form that is posted in two pieces: its status, if it answers.
async fn posted(chain: &Chain, path: &str, form: [&'static str; 2]) -> Option<u16> {
    let mut exchange = exchange(&[
        ("user-agent", "test"),
        ("accept", "*/*"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-length", &form.concat().len().to_string()),
    ]);
    exchange.request.method = Method::POST;
    exchange.request.path_and_query = path.to_owned();
    let answered = async {
        match chain.on_request(&mut exchange).await {
            Outcome::Continue => {}
            Outcome::Respond(answer) => return Some(answer.status.as_u16()),
            other => panic!("{other:?}"),
        }
        let mut sent = Vec::new();
        for (piece, end) in form.into_iter().zip([false, true]) {
            let piece = Bytes::from_static(piece.as_bytes());
            match chain.on_request_chunk(&mut exchange, piece, end).await {
                Passed::On(left) => {
                    // It lets nothing pass before it has seen all.
                    assert!(end || left.is_empty());
                    sent.extend_from_slice(&left);
                }
                Passed::Answered(_, answer) => return Some(answer.status.as_u16()),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(sent, form.concat().as_bytes());
        None
    }
    .await;
    chain
        .on_complete(&mut exchange, &Completed::default())
        .await;
    answered
}

#[tokio::test]
async fn coraza_judges_heads_and_bodies_by_its_rules() {
    let Some(wasm) = built("coraza") else { return };
    let bench = Bench::new(Services::default());
    let refused = bench.load(wasm.clone(), coraza(&["SecNoSuchThing On"]));
    let Err(LoadError::Configure { message, .. }) = refused else {
        panic!("an unknown directive");
    };
    assert!(message.contains("secnosuchthing"), "{message}");

    let rules = [
        "SecRuleEngine On",
        "SecRequestBodyAccess On",
        "SecResponseBodyAccess On",
        "SecResponseBodyMimeType text/plain",
        "SecRule REQUEST_URI \"@streq /admin\" \"id:101,phase:1,t:lowercase,deny,status:401\"",
        "SecRule REQUEST_BODY \"@rx malicious.*payload\" \"id:102,phase:2,t:lowercase,deny\"",
        "SecRule RESPONSE_BODY \"@contains secret\" \"id:103,phase:4,deny\"",
    ];
    let policy = bench.load(wasm, coraza(&rules)).unwrap();
    let chain = Chain::new(vec![policy.clone()]);
    assert_eq!(posted(&chain, "/admin", ["a=", "b"]).await, Some(401));
    assert_eq!(
        posted(&chain, "/", ["a=Malicious", "Payload"]).await,
        Some(403)
    );
    assert_eq!(posted(&chain, "/", ["a=", "b"]).await, None);

    // A response's head is gone by then: what Coraza does not let pass it overwrites.
    for (pieces, want) in [
        (["a sec", "ret"], "\0".repeat(8)),
        (["all", " well"], "all well".to_owned()),
    ] {
        let mut exchange = exchange(&[("user-agent", "test")]);
        let _ = chain.on_request(&mut exchange).await;
        respond(&mut exchange);
        let outcome = chain.on_response(&mut exchange).await;
        assert!(matches!(outcome, Outcome::Continue), "{outcome:?}");
        let mut sent = Vec::new();
        for (piece, end) in pieces.into_iter().zip([false, true]) {
            let piece = Bytes::from_static(piece.as_bytes());
            let Passed::On(left) = chain.on_response_chunk(&mut exchange, piece, end).await else {
                panic!("it goes on");
            };
            sent.extend_from_slice(&left);
        }
        assert_eq!(String::from_utf8(sent).unwrap(), want);
        chain
            .on_complete(&mut exchange, &Completed::default())
            .await;
    }
    no_faults(&policy);
}

/// The OWASP Core Rule Set, which Coraza's module carries.
#[tokio::test]
async fn coraza_knows_an_injection_by_the_core_rule_set() {
    let Some(wasm) = built("coraza") else { return };
    let bench = Bench::new(Services::default());
    let rules = [
        "Include @recommended-conf",
        "Include @crs-setup-conf",
        "Include @owasp_crs/*.conf",
        "SecRuleEngine On",
    ];
    let policy = bench.load(wasm, coraza(&rules)).unwrap();
    let chain = Chain::new(vec![policy.clone()]);
    let attacks = [
        ("/?id=1%27%20or%20%271%27=%271", ["a=", "b"]),
        ("/", ["q=<script>", "alert(1)</script>"]),
        ("/", ["file=../../../../", "etc/passwd"]),
    ];
    for (path, form) in attacks {
        assert_eq!(
            posted(&chain, path, form).await,
            Some(403),
            "{path} {form:?}"
        );
    }
    assert_eq!(posted(&chain, "/books?title=wasm", ["a=", "b"]).await, None);
    no_faults(&policy);
}

/// Says what it is told to, and remembers what it was asked.
struct Judge(&'static str, Mutex<Vec<String>>);

impl OutboundCalls for Judge {
    fn send(&self, call: OutboundCall) -> Later<OutboundReply> {
        let asked = format!("{} {}", call.upstream, call.path_and_query);
        self.1.lock().unwrap().push(asked);
        let says = self.0;
        Box::pin(async move {
            tokio::task::yield_now().await;
            if says.is_empty() {
                return Err(ServiceError::Unavailable);
            }
            Ok(OutboundReply {
                status: StatusCode::OK,
                headers: HeaderMap::new(),
                body: Bytes::from_static(says.as_bytes()),
            })
        })
    }
}

#[tokio::test]
async fn a_filter_on_the_go_sdk_reads_adds_ticks_and_asks() {
    let Some(wasm) = built("caller") else { return };
    for (says, goes_on) in [("yes", true), ("never", false), ("", false)] {
        let judge = Arc::new(Judge(says, Mutex::default()));
        let bench = Bench::new(Services {
            calls: Some(judge.clone()),
            ..Services::default()
        });
        let Err(LoadError::Configure { message, .. }) = bench.load(wasm.clone(), json!("tug=a"))
        else {
            panic!("an unknown setting");
        };
        assert!(message.ends_with("unknown setting \"tug\""), "{message}");
        let policy = bench
            .load(wasm.clone(), json!("tag=a\nupstream=judge"))
            .unwrap();
        let chain = Chain::new(vec![policy.clone()]);

        let mut plain = exchange(&[]);
        assert!(matches!(
            chain.on_request(&mut plain).await,
            Outcome::Continue
        ));
        assert_eq!(plain.request.headers["x-go"], "a /a?b=c");
        policy.on_tick().await;
        for _ in 0..3 {
            bench.clock.advance_ms(100);
            policy.on_tick().await;
        }
        respond(&mut plain);
        assert!(matches!(
            chain.on_response(&mut plain).await,
            Outcome::Continue
        ));
        assert_eq!(plain.response.as_ref().unwrap().headers["x-ticks"], "3");

        let mut asking = exchange(&[("x-ask", "1")]);
        match chain.on_request(&mut asking).await {
            Outcome::Continue => assert!(goes_on),
            Outcome::Respond(answer) => {
                assert!(!goes_on);
                assert_eq!(
                    (answer.status.as_u16(), &*answer.body),
                    (403, says.as_bytes())
                );
                assert_eq!(answer.headers["x-said"], "no");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(*judge.1.lock().unwrap(), ["judge /may/a?b=c"]);
        no_faults(&policy);
    }
}
