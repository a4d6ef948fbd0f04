//! Filters of others, unchanged, on this host: the examples that the proxy-wasm Rust SDK ships with, built for three versions of the
//! ABI's markers, and one of another SDK. `cargo xtask filters` fetches their sources from the package registry and builds them.

mod common;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use common::lines::Lines;
use common::{Bench, exchange, respond};
use http::{HeaderMap, StatusCode};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, SharedString, Unit};
use policy_host::{
    Chain, Completed, ExchangeContext, Later, OnFault, OutboundCall, OutboundCalls, OutboundReply,
    Outcome, Passed, Policy, PolicySpec, ServiceError,
};

/// Where `cargo xtask filters` put them.
fn filters() -> PathBuf {
    std::env::var_os("VEILGATE_FILTERS_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/filters")),
        PathBuf::from,
    )
}

fn load(bench: &Bench, filter: &str, config: &str) -> Arc<Policy> {
    let path = filters().join(format!("{filter}.wasm"));
    let wasm = std::fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; run `cargo xtask filters` first",
            path.display()
        )
    });
    let mut spec = PolicySpec::new("filter", wasm);
    spec.config_json = config.to_owned();
    spec.on_fault = OnFault::Deny;
    bench.load(spec).unwrap()
}

fn at(path: &str) -> ExchangeContext {
    let mut exchange = exchange(&[("x-one", "1")]);
    exchange.request.path_and_query = path.to_owned();
    exchange
}

/// Every version of the ABI that Rust filters in the wild were built for.
const RUST: [&str; 3] = ["proxy-wasm-0.1.2", "proxy-wasm-0.2.0", "proxy-wasm-0.2.5"];

#[tokio::test]
async fn http_headers_answers_what_it_is_asked_and_lets_the_rest_pass() {
    for sdk in RUST {
        let bench = Bench::new();
        let policy = load(&bench, &format!("{sdk}/http_headers"), "{}");
        let chain = Chain::new(vec![policy.clone()]);
        let lines = Lines::capture();
        let mut hello = at("/hello");
        let Outcome::Respond(response) = chain.on_request(&mut hello).await else {
            panic!("{sdk}: it answers /hello");
        };
        assert_eq!(response.status, 200);
        assert_eq!(response.headers["hello"], "World");
        assert_eq!(response.headers["powered-by"], "proxy-wasm");
        assert_eq!(&*response.body, b"Hello, World!\n");

        let mut other = at("/other");
        assert!(matches!(
            chain.on_request(&mut other).await,
            Outcome::Continue
        ));
        respond(&mut other);
        assert!(matches!(
            chain.on_response(&mut other).await,
            Outcome::Continue
        ));
        chain.on_complete(&mut other, &Completed::default()).await;
        let text = lines.text();
        for line in [
            "-> x-one: 1",
            "-> :path: /other",
            "<- :status: 200",
            "completed.",
        ] {
            assert!(text.contains(line), "{sdk}: {line} in {text}");
        }
        assert!(policy.stats().faults.iter().all(|(_, count)| *count == 0));
    }
}

#[tokio::test]
async fn http_config_reads_its_configuration() {
    for sdk in &RUST[1..] {
        let bench = Bench::new();
        let filter = format!("{sdk}/http_config");
        let chain = Chain::new(vec![load(&bench, &filter, r#"{"plugin":"hello ✓"}"#)]);
        let mut exchange = at("/");
        assert!(matches!(
            chain.on_request(&mut exchange).await,
            Outcome::Continue
        ));
        respond(&mut exchange);
        assert!(matches!(
            chain.on_response(&mut exchange).await,
            Outcome::Continue
        ));
        let response = exchange.response.as_ref().unwrap();
        assert_eq!(response.headers["custom-header"], "hello ✓".as_bytes());
    }
}

/// It holds the body back until all of it is there, and then writes another.
#[tokio::test]
async fn http_body_redacts_a_body_that_comes_in_pieces() {
    for sdk in RUST {
        let bench = Bench::new();
        let chain = Chain::new(vec![load(&bench, &format!("{sdk}/http_body"), "{}")]);
        for (pieces, want) in [
            (
                ["a sec", "ret", ""],
                "Original message body (8 bytes) redacted.",
            ),
            (["nothing", " to", " hide"], "nothing to hide"),
        ] {
            let mut exchange = at("/");
            let _ = chain.on_request(&mut exchange).await;
            respond(&mut exchange);
            assert!(matches!(
                chain.on_response(&mut exchange).await,
                Outcome::Continue
            ));
            if sdk == "proxy-wasm-0.1.2" {
                // It holds the head back as well.
                assert!(chain.response_need(&exchange).whole.is_some());
                let body = bytes::Bytes::from(pieces.concat());
                let replaced = chain.on_response_body(&mut exchange, body.clone()).await;
                let sent = replaced.unwrap().unwrap_or(body);
                assert_eq!(sent, want.as_bytes(), "{sdk}");
                continue;
            }
            assert!(chain.response_need(&exchange).watch, "{sdk}");
            let mut sent = Vec::new();
            for (at, piece) in pieces.iter().enumerate() {
                let end = at == pieces.len() - 1;
                let piece = bytes::Bytes::from_static(piece.as_bytes());
                let Passed::On(left) = chain.on_response_chunk(&mut exchange, piece, end).await
                else {
                    panic!("{sdk}: it goes on");
                };
                assert!(end || left.is_empty(), "{sdk}: it is held back");
                sent.extend_from_slice(&left);
            }
            assert_eq!(String::from_utf8(sent).unwrap(), want, "{sdk}");
        }
        // The same, given whole.
        let whole = r#"{"plugin":"","response_body":"whole"}"#;
        let chain = Chain::new(vec![load(&bench, &format!("{sdk}/http_body"), whole)]);
        let mut exchange = at("/");
        let _ = chain.on_request(&mut exchange).await;
        respond(&mut exchange);
        let _ = chain.on_response(&mut exchange).await;
        assert!(chain.response_need(&exchange).whole.is_some());
        let body = bytes::Bytes::from_static(b"a secret");
        let replaced = chain.on_response_body(&mut exchange, body).await.unwrap();
        assert_eq!(
            replaced.as_deref(),
            Some(&b"Original message body (8 bytes) redacted."[..])
        );
    }
}

#[tokio::test]
async fn hello_world_ticks_by_the_clock() {
    for sdk in RUST {
        let bench = Bench::with_workers(1);
        let lines = Lines::capture();
        let policy = load(&bench, &format!("{sdk}/hello_world"), "{}");
        assert!(lines.text().contains("Hello, World!"), "{sdk}");
        assert_eq!(policy.tick_period().map(|period| period.as_secs()), Some(5));
        policy.on_tick().await;
        policy.on_tick().await;
        bench.clock.advance_ms(5000);
        policy.on_tick().await;
        policy.on_tick().await;
        let text = lines.text();
        assert_eq!(text.matches("It's ").count(), 1, "{sdk}: {text}");
        assert!(
            text.contains("It's 1970-01-01 00:16:45 UTC"),
            "{sdk}: {text}"
        );
    }
}

/// Another SDK: it starts by `_start`, and counts a word in bodies by a metric.
#[tokio::test]
async fn mini_proxy_counts_a_word_in_the_bodies_that_pass() {
    let counts = Counts::default();
    let in_force = metrics::set_default_local_recorder(&counts);
    let bench = Bench::with_workers(1);
    let policy = load(&bench, "proxy-sdk-1.1.0/mini_proxy", "{}");
    let chain = Chain::new(vec![policy.clone()]);
    let mut exchange = exchange(&[("content-length", "21")]);
    let Outcome::Continue = chain.on_request(&mut exchange).await else {
        panic!("it goes on");
    };
    for (piece, end) in [("hello, hello ", false), ("and hello", true)] {
        let piece = bytes::Bytes::from_static(piece.as_bytes());
        let passed = chain
            .on_request_chunk(&mut exchange, piece.clone(), end)
            .await;
        assert!(matches!(passed, Passed::On(left) if left == piece));
    }
    chain
        .on_complete(&mut exchange, &Completed::default())
        .await;
    drop(in_force);
    assert!(policy.stats().faults.iter().all(|(_, count)| *count == 0));
    assert_eq!(counts.of("policy_filter_proxy_found_hello_keyword"), 3);
}

/// Keeps counters by name.
#[derive(Default)]
struct Counts(Mutex<HashMap<String, Arc<AtomicU64>>>);

impl Counts {
    fn of(&self, name: &str) -> u64 {
        let all = self.0.lock().unwrap();
        all.get(name)
            .map_or(0, |count| count.load(Ordering::SeqCst))
    }
}

impl metrics::Recorder for Counts {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &metrics::Metadata<'_>) -> Counter {
        let mut all = self.0.lock().unwrap();
        Counter::from_arc(all.entry(key.name().to_owned()).or_default().clone())
    }

    fn register_gauge(&self, _: &Key, _: &metrics::Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &metrics::Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// Answers calls with this body. None: they fail.
struct Service(Option<&'static [u8]>);

impl OutboundCalls for Service {
    fn send(&self, call: OutboundCall) -> Later<OutboundReply> {
        assert_eq!(call.upstream, "httpbin");
        assert_eq!(call.path_and_query, "/bytes/1");
        let body = self.0;
        Box::pin(async move {
            tokio::task::yield_now().await;
            let body = body.ok_or(ServiceError::Unavailable)?;
            Ok(OutboundReply {
                status: StatusCode::OK,
                headers: HeaderMap::new(),
                body: bytes::Bytes::from_static(body),
            })
        })
    }
}

/// It holds the request back while it asks another service.
#[tokio::test]
async fn http_auth_random_goes_by_what_another_service_answers() {
    for sdk in RUST {
        for (answer, granted) in [
            (Some(&b"\x02"[..]), true),
            (Some(b"\x01"), false),
            (None, false),
        ] {
            let config = policy_host::HostConfig {
                services: policy_host::Services {
                    calls: Some(Arc::new(Service(answer))),
                    ..Default::default()
                },
                workers: 1,
                ..Default::default()
            };
            let host = policy_host::PolicyHost::new(config).unwrap();
            let path = filters().join(format!("{sdk}/http_auth_random.wasm"));
            let mut spec = PolicySpec::new("auth", std::fs::read(path).unwrap());
            spec.grants = vec!["http-call".parse().unwrap()];
            spec.calls = vec!["httpbin".to_owned()];
            let primitives = policy_host::Primitives::new(policy_host::PrimitiveCaps::default());
            let policy = host.load(spec, &primitives).unwrap();
            let chain = Chain::new(vec![policy.clone()]);
            let mut exchange = at("/");
            match chain.on_request(&mut exchange).await {
                Outcome::Continue => assert!(granted, "{sdk}: {answer:?}"),
                Outcome::Respond(response) => {
                    assert!(!granted, "{sdk}: {answer:?}");
                    assert_eq!(response.status, 403);
                    assert_eq!(&*response.body, b"Access forbidden.\n");
                }
                other => panic!("{sdk}: {other:?}"),
            }
            assert!(policy.stats().faults.iter().all(|(_, count)| *count == 0));
        }
    }
}
