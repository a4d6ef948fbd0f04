//! proxy-wasm modules that behave, at the edges of the ABI, and modules that do not.

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::filter::{FUNCTIONS, MALLOC, Texts, bare, filter, on_request, on_response};
use common::lines::Lines;
use common::{Bench, exchange, granted, now, respond};
use http::HeaderMap;
use policy_host::{
    Cause, Chain, Completed, ExchangeContext, FaultKind, InstanceChoice, LoadError, OnFault,
    Outcome, Passed, Policy, PolicySpec,
};

fn faults(policy: &Policy) -> Vec<(FaultKind, u64)> {
    let all = policy.stats().faults;
    all.into_iter().filter(|(_, count)| *count > 0).collect()
}

fn load(bench: &Bench, wasm: Vec<u8>) -> Arc<Policy> {
    bench.load(granted("p", wasm, OnFault::Deny)).unwrap()
}

/// A request on a module whose `$expect`s all hold.
fn check(wasm: Vec<u8>) -> ExchangeContext {
    let bench = Bench::with_workers(1);
    let policy = load(&bench, wasm);
    let chain = Chain::new(vec![policy.clone()]);
    let mut exchange = exchange(&[("x-one", "1"), ("x-two", "2")]);
    let outcome = now(chain.on_request(&mut exchange));
    assert!(matches!(outcome, Outcome::Continue), "{outcome:?}");
    assert_eq!(faults(&policy), []);
    exchange
}

#[test]
fn a_core_module_without_the_marker_is_told_both_ways_out() {
    let bench = Bench::new();
    let wasm = wat::parse_str("(module (memory (export \"memory\") 1))").unwrap();
    let error = bench.load(PolicySpec::new("p", wasm)).err().unwrap();
    let text = error.to_string();
    assert!(matches!(error, LoadError::NotComponent { .. }), "{text}");
    assert!(text.contains("component") && text.contains("proxy_abi_version_0_2_1"));

    let later = wat::parse_str(
        "(module (memory (export \"memory\") 1) (func (export \"proxy_abi_version_0_3_0\")))",
    );
    let error = bench.load(PolicySpec::new("p", later.unwrap())).err();
    let text = error.unwrap().to_string();
    assert!(!text.contains("neither"), "{text}");
}

#[test]
fn an_import_that_the_abi_has_not_is_named() {
    let bench = Bench::new();
    for (module, name) in [
        ("env", "proxy_redis_init"),
        ("wasi_snapshot_preview1", "x"),
        ("a", "b"),
    ] {
        let text = format!(
            r#"(module (import "{module}" "{name}" (func)) (memory (export "memory") 1)
               (func (export "proxy_abi_version_0_2_0")) {})"#,
            on_request("")
        );
        let wasm = wat::parse_str(text).unwrap();
        let error = bench.load(PolicySpec::new("p", wasm)).err().unwrap();
        let LoadError::UnknownImport { import, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(*import, format!("{module}.{name}"));
    }
}

#[test]
fn a_vm_for_each_request_is_refused() {
    let mut spec = granted("p", filter(&on_request("")), OnFault::Deny);
    spec.instance = InstanceChoice::PerRequest;
    let error = Bench::new().load(spec).err().unwrap();
    assert!(matches!(error, LoadError::Spec { .. }), "{error}");
    assert!(error.to_string().contains("per-request"), "{error}");
}

#[test]
fn a_start_that_never_ends_or_traps_or_says_no_refuses_the_policy() {
    let bench = Bench::new();
    let endless = "(loop $on (br $on))";
    let refused = |body: &str| {
        let wasm = filter(&format!("{} {body}", on_request("")));
        let mut spec = PolicySpec::new("p", wasm);
        spec.limits.fuel = 100_000;
        bench.load(spec).err().unwrap()
    };
    for start in [
        format!("(func $s {endless}) (start $s)"),
        format!("(func (export \"_initialize\") {endless})"),
        format!("(func (export \"_start\") {endless})"),
        format!(
            "(func (export \"proxy_on_vm_start\") (param i32 i32) (result i32) {endless} (i32.const 1))"
        ),
        format!("(func (export \"proxy_on_context_create\") (param i32 i32) {endless})"),
    ] {
        let error = refused(&start);
        let LoadError::Start { fault, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(fault.kind, FaultKind::Fuel, "{start}");
    }
    let error = refused("(func (export \"_initialize\") unreachable)");
    assert!(matches!(error, LoadError::Start { .. }), "{error}");
    for callback in ["proxy_on_vm_start", "proxy_on_configure"] {
        let error = refused(&format!(
            "(func (export \"{callback}\") (param i32 i32) (result i32) (i32.const 0))"
        ));
        assert!(matches!(error, LoadError::Configure { .. }), "{error}");
        assert!(error.to_string().contains(callback), "{error}");
    }
    // A callback of another type.
    let error = refused("(func (export \"proxy_on_log\") (param i64))");
    assert!(matches!(error, LoadError::Start { .. }), "{error}");
}

#[test]
fn no_pointer_and_no_size_breaks_a_host_function() {
    let bench = Bench::with_workers(1);
    for (name, parameters) in FUNCTIONS {
        for value in [
            0,
            1,
            4,
            65_535,
            131_071,
            0x7fff_ffff,
            0xffff_fff0_u32,
            u32::MAX,
        ] {
            let arguments = format!("(i32.const {})", value.cast_signed()).repeat(parameters);
            let wide = if name.ends_with("record_metric") || name.ends_with("increment_metric") {
                "(i64.const -1)"
            } else {
                ""
            };
            let short = name.strip_prefix("proxy_").unwrap();
            let call = format!("(drop (call ${short} {arguments} {wide}))");
            let policy = load(&bench, filter(&on_request(&call)));
            let chain = Chain::new(vec![policy.clone()]);
            let outcome = now(chain.on_request(&mut exchange(&[("x", "1")])));
            match outcome {
                Outcome::Continue | Outcome::Respond(_) => assert_eq!(faults(&policy), []),
                Outcome::Unavailable(unavailable) => {
                    let expected = [FaultKind::HostLimit, FaultKind::Fuel].map(Cause::Fault);
                    assert!(
                        expected.contains(&unavailable.cause),
                        "{name} {value}: {unavailable}"
                    );
                }
                Outcome::Defer => panic!("{name}"),
            }
        }
    }
}

#[test]
fn headers_are_read_and_changed_and_framing_is_left_to_the_gateway() {
    let mut texts = Texts::default();
    let mut calls = String::new();
    let mut set = |texts: &mut Texts, name: &str, value: &str, status: u32| {
        let (name, value) = (texts.put(name), texts.put(value));
        calls += &format!(
            "(call $expect (call $replace_header_map_value (i32.const 0) {name} {value}) (i32.const {status}))"
        );
    };
    set(&mut texts, "x-one", "new", 0);
    set(&mut texts, ":path", "/other?x=1", 0);
    set(&mut texts, "Host", "other.test", 0);
    set(&mut texts, ":method", "GET", 0);
    // Done, to no effect: an SDK stops on anything else.
    set(&mut texts, "content-length", "7", 0);
    set(&mut texts, "connection", "x", 0);
    for (name, value) in [
        (":method", "POST"),
        (":path", "no"),
        (":nothing", "x"),
        ("a b", "x"),
        ("x", "a\nb"),
    ] {
        set(&mut texts, name, value, 2);
    }
    let (gone, absent) = (texts.put("x-two"), texts.put("x-three"));
    for name in [&gone, &absent] {
        calls += &format!(
            "(call $expect (call $remove_header_map_value (i32.const 0) {name}) (i32.const 0))"
        );
    }
    // There is no response yet, and no such map.
    calls += &format!(
        "(call $expect (call $get_header_map_value (i32.const 2) {gone} (i32.const 8) (i32.const 12)) (i32.const 1))"
    );
    calls += &format!(
        "(call $expect (call $get_header_map_value (i32.const 9) {gone} (i32.const 8) (i32.const 12)) (i32.const 2))"
    );
    let exchange = check(filter(&format!("{} {}", texts.data(), on_request(&calls))));
    let request = &exchange.request;
    assert_eq!(request.headers["x-one"], "new");
    assert_eq!(request.headers.len(), 1);
    assert_eq!(request.path_and_query, "/other?x=1");
    assert_eq!(request.authority, "other.test");
}

/// A response made up of `headers`; the status that the guest is told.
fn local_response(headers: &[u8], status: u32, expected: u32) -> Outcome {
    let mut texts = Texts::default();
    let (headers, body) = (texts.put(headers), texts.put("body"));
    let call = format!(
        "(call $expect (call $send_local_response (i32.const {status}) (i32.const 0) (i32.const 0) {body} {headers} (i32.const -1))
          (i32.const {expected}))"
    );
    let bench = Bench::with_workers(1);
    let policy = load(
        &bench,
        filter(&format!("{} {}", texts.data(), on_request(&call))),
    );
    let outcome = now(Chain::new(vec![policy.clone()]).on_request(&mut exchange(&[])));
    assert_eq!(faults(&policy), []);
    outcome
}

#[test]
fn a_local_response_is_checked_as_a_component_s_is() {
    let good = b"\x01\0\0\0\x01\0\0\0\x01\0\0\0x\0y\0";
    let Outcome::Respond(response) = local_response(good, 418, 0) else {
        panic!("it responds");
    };
    assert_eq!(
        (response.status.as_u16(), &*response.body),
        (418, &b"body"[..])
    );
    assert_eq!(response.headers["x"], "y");
    for status in [0, 99, 101, 600, 65_736, u32::MAX] {
        let status = status.cast_signed().cast_unsigned();
        assert!(matches!(local_response(good, status, 2), Outcome::Continue));
    }
    for malformed in [
        &b"\xff\xff\xff\xff"[..],
        b"\x01\0\0\0",
        b"\x01\0\0\0\xff\xff\xff\xff\x01\0\0\0x\0y\0",
        b"\x01\0\0\0\x01\0\0\0\x01\0\0\0xyyy",
        b"\x01\0\0\0\x01\0\0\0\x01\0\0\0\n\0y\0",
    ] {
        assert!(matches!(
            local_response(malformed, 200, 2),
            Outcome::Continue
        ));
    }
}

#[test]
fn an_allocator_that_answers_nonsense_ends_the_call() {
    let call = "(drop (call $get_header_map_pairs (i32.const 0) (i32.const 8) (i32.const 12)))";
    let allocators = [
        ("(i32.const 0)", FaultKind::HostLimit),
        ("(i32.const -1)", FaultKind::HostLimit),
        ("(i32.const 131070)", FaultKind::HostLimit),
        ("(unreachable)", FaultKind::Trap),
        ("(loop $on (br $on)) (i32.const 8)", FaultKind::Fuel),
        // It asks for more while it is asked for some.
        (
            "(drop (call $get_header_map_pairs (i32.const 0) (i32.const 8) (i32.const 12))) (i32.const 8)",
            FaultKind::HostLimit,
        ),
    ];
    let check = |wasm: Vec<u8>, kind: FaultKind| {
        let bench = Bench::with_workers(1);
        let policy = load(&bench, wasm);
        let chain = Chain::new(vec![policy.clone()]);
        let Outcome::Unavailable(unavailable) = now(chain.on_request(&mut exchange(&[("x", "1")])))
        else {
            panic!("it fails");
        };
        assert_eq!(unavailable.cause, Cause::Fault(kind));
    };
    for (answer, kind) in allocators {
        let malloc = format!("(func (export \"malloc\") (param i32) (result i32) {answer})");
        check(bare(&format!("{malloc} {}", on_request(call))), kind);
    }
    check(bare(&on_request(call)), FaultKind::HostLimit);
}

#[tokio::test]
async fn a_trap_in_any_callback_is_counted_and_the_next_exchange_finds_a_new_vm() {
    let all = |trapping: &str| {
        let trap = |name: &str| if name == trapping { "unreachable" } else { "" };
        let mut body = String::new();
        for name in [
            "proxy_on_request_headers",
            "proxy_on_response_headers",
            "proxy_on_response_body",
            "proxy_on_request_body",
        ] {
            body += &format!(
                "(func (export \"{name}\") (param i32 i32 i32) (result i32) {} (i32.const 0))",
                trap(name)
            );
        }
        for name in ["proxy_on_request_trailers", "proxy_on_response_trailers"] {
            body += &format!(
                "(func (export \"{name}\") (param i32 i32) (result i32) {} (i32.const 0))",
                trap(name)
            );
        }
        // The root context is created as well, and must not trap.
        body += &format!(
            "(func (export \"proxy_on_context_create\") (param i32 i32) (if (local.get 1) (then {})))",
            trap("proxy_on_context_create")
        );
        body += &format!(
            "(func (export \"proxy_on_done\") (param i32) (result i32) {} (i32.const 1))",
            trap("proxy_on_done")
        );
        for name in ["proxy_on_log", "proxy_on_delete"] {
            body += &format!("(func (export \"{name}\") (param i32) {})", trap(name));
        }
        filter(&body)
    };
    let trip = async |chain: &Chain| {
        let mut exchange = exchange(&[("content-length", "2")]);
        let _ = chain.on_request(&mut exchange).await;
        let _ = chain
            .on_request_chunk(&mut exchange, Bytes::from_static(b"ab"), true)
            .await;
        let trailers = || HeaderMap::from_iter([(http::header::ETAG, "1".parse().unwrap())]);
        let passed = chain.on_request_trailers(&mut exchange, trailers()).await;
        assert!(matches!(passed, Passed::On(left) if left == trailers()));
        respond(&mut exchange);
        let _ = chain.on_response(&mut exchange).await;
        let _ = chain
            .on_response_chunk(&mut exchange, Bytes::from_static(b"cd"), true)
            .await;
        let passed = chain.on_response_trailers(&mut exchange, trailers()).await;
        assert!(matches!(passed, Passed::On(left) if left == trailers()));
        chain
            .on_complete(&mut exchange, &Completed::default())
            .await;
    };
    for callback in [
        "proxy_on_context_create",
        "proxy_on_request_headers",
        "proxy_on_request_body",
        "proxy_on_response_headers",
        "proxy_on_response_body",
        "proxy_on_request_trailers",
        "proxy_on_response_trailers",
        "proxy_on_done",
        "proxy_on_log",
        "proxy_on_delete",
    ] {
        let bench = Bench::with_workers(1);
        let mut spec = granted("p", all(callback), OnFault::Skip);
        spec.limits.fuel = 100_000;
        let policy = bench.load(spec).unwrap();
        let chain = Chain::new(vec![policy.clone()]);
        trip(&chain).await;
        let after_one = faults(&policy);
        assert!(
            matches!(after_one[..], [(FaultKind::Trap, count)] if count > 0),
            "{callback}: {after_one:?}"
        );
        let calls = policy.stats().calls;
        trip(&chain).await;
        assert!(
            policy.stats().calls > calls,
            "{callback}: it is called again"
        );
    }
    let bench = Bench::with_workers(1);
    let policy = load(&bench, all("none"));
    trip(&Chain::new(vec![policy.clone()])).await;
    assert_eq!(faults(&policy), []);
}

#[test]
fn the_streams_of_a_vm_that_trapped_are_answered_as_the_operator_said() {
    // It traps for whoever sends `x-trap`.
    let mut texts = Texts::default();
    let name = texts.put("x-trap");
    let body = format!(
        "{} {} {}",
        texts.data(),
        on_request(&format!(
            "(if (i32.eqz (call $get_header_map_value (i32.const 0) {name} (i32.const 8) (i32.const 12))) (then unreachable))"
        )),
        on_response("")
    );
    for (on_fault, lost) in [(OnFault::Deny, true), (OnFault::Skip, false)] {
        let bench = Bench::with_workers(1);
        let policy = bench.load(granted("p", filter(&body), on_fault)).unwrap();
        let chain = Chain::new(vec![policy.clone()]);
        let mut bystander = exchange(&[]);
        assert!(matches!(
            now(chain.on_request(&mut bystander)),
            Outcome::Continue
        ));
        let _ = now(chain.on_request(&mut exchange(&[("x-trap", "1")])));
        respond(&mut bystander);
        let outcome = now(chain.on_response(&mut bystander));
        assert_eq!(
            matches!(outcome, Outcome::Unavailable(_)),
            lost,
            "{outcome:?}"
        );
        // What one exchange broke is counted once.
        assert_eq!(faults(&policy), [(FaultKind::Trap, 1)]);
        assert!(matches!(
            now(chain.on_request(&mut exchange(&[]))),
            Outcome::Continue
        ));
    }
}

/// Counts its live contexts in a header of each request.
#[test]
fn an_exchange_that_was_dropped_leaves_no_context() {
    let body = format!(
        r#"(global $live (mut i32) (i32.const 0))
        (func (export "proxy_on_context_create") (param i32 i32)
          (if (local.get 1) (then (global.set $live (i32.add (global.get $live) (i32.const 1))))))
        (func (export "proxy_on_delete") (param i32)
          (global.set $live (i32.sub (global.get $live) (i32.const 1))))
        {}"#,
        on_request("(call $expect (global.get $live) (i32.const 1))")
    );
    let bench = Bench::with_workers(1);
    let policy = load(&bench, filter(&body));
    let chain = Chain::new(vec![policy.clone()]);
    for _ in 0..100 {
        let outcome = now(chain.on_request(&mut exchange(&[])));
        assert!(matches!(outcome, Outcome::Continue), "{outcome:?}");
    }
    assert_eq!(faults(&policy), []);
}

#[test]
fn what_was_not_granted_is_answered_as_a_failure_and_logged_once() {
    let mut texts = Texts::default();
    let (key, name) = (texts.put("k"), texts.put("veilgate.limiter.take"));
    let arguments = texts.put(r#"{"limiter":"l","key":"k"}"#);
    let calls = format!(
        "(call $expect (call $set_shared_data {key} {key} (i32.const 0)) (i32.const 10))
         (call $expect (call $get_shared_data {key} (i32.const 8) (i32.const 12) (i32.const 16)) (i32.const 10))
         (call $expect (call $register_shared_queue {key} (i32.const 8)) (i32.const 10))
         (call $expect (call $call_foreign_function {name} {arguments} (i32.const 8) (i32.const 12)) (i32.const 10))
         (call $expect (call $call_foreign_function {key} {arguments} (i32.const 8) (i32.const 12)) (i32.const 1))"
    );
    let bench = Bench::with_workers(1);
    let wasm = filter(&format!("{} {}", texts.data(), on_request(&calls)));
    let policy = bench.load(PolicySpec::new("p", wasm)).unwrap();
    let chain = Chain::new(vec![policy.clone()]);
    let lines = Lines::of(|| {
        for _ in 0..3 {
            assert!(matches!(
                now(chain.on_request(&mut exchange(&[]))),
                Outcome::Continue
            ));
        }
    });
    assert_eq!(faults(&policy), []);
    for what in ["kv", "limits"] {
        let told = lines
            .iter()
            .filter(|line| line.contains(&format!("{what:?}")));
        assert_eq!(told.count(), 1, "{what}: {lines:?}");
    }
}

/// With a number that SDKs hand to the filter: on another the Rust SDK ends it.
#[test]
fn grpc_calls_are_not_made() {
    let zeros = |count| "(i32.const 0)".repeat(count);
    let calls = format!(
        "(call $expect (call $grpc_call {}) (i32.const 10))
         (call $expect (call $grpc_stream {}) (i32.const 10))
         (call $expect (call $grpc_send {}) (i32.const 1))
         (call $expect (call $grpc_cancel (i32.const 1)) (i32.const 1))
         (call $expect (call $grpc_close (i32.const 1)) (i32.const 1))",
        zeros(12),
        zeros(9),
        zeros(4)
    );
    check(filter(&on_request(&calls)));
}

#[test]
fn shared_data_has_versions_and_queues_are_in_order() {
    let mut texts = Texts::default();
    let (key, one, two) = (texts.put("k"), texts.put("1"), texts.put("2"));
    let calls = format!(
        r#"(call $expect (call $get_shared_data {key} (i32.const 8) (i32.const 12) (i32.const 16)) (i32.const 1))
        (call $expect (call $set_shared_data {key} {one} (i32.const 7)) (i32.const 8))
        (call $expect (call $set_shared_data {key} {one} (i32.const 0)) (i32.const 0))
        (call $expect (call $get_shared_data {key} (i32.const 8) (i32.const 12) (i32.const 16)) (i32.const 0))
        (call $expect (i32.load8_u (i32.load (i32.const 8))) (i32.const 49))
        (call $expect (i32.load (i32.const 12)) (i32.const 1))
        (call $expect (call $set_shared_data {key} {two} (i32.load (i32.const 16))) (i32.const 0))
        (call $expect (call $set_shared_data {key} {two} (i32.load (i32.const 16))) (i32.const 8))
        (call $expect (call $register_shared_queue {key} (i32.const 20)) (i32.const 0))
        (call $expect (call $resolve_shared_queue {one} {one} (i32.const 24)) (i32.const 1))
        (call $expect (call $resolve_shared_queue {one} {key} (i32.const 24)) (i32.const 0))
        (call $expect (i32.load (i32.const 20)) (i32.load (i32.const 24)))
        (call $expect (call $enqueue_shared_queue (i32.load (i32.const 20)) {one}) (i32.const 0))
        (call $expect (call $dequeue_shared_queue (i32.load (i32.const 20)) (i32.const 8) (i32.const 12)) (i32.const 0))
        (call $expect (call $dequeue_shared_queue (i32.load (i32.const 20)) (i32.const 8) (i32.const 12)) (i32.const 7))
        (call $expect (call $enqueue_shared_queue (i32.const 99) {one}) (i32.const 1))"#
    );
    check(filter(&format!("{} {}", texts.data(), on_request(&calls))));
}

#[test]
fn metrics_and_properties_are_read_back() {
    let mut texts = Texts::default();
    let name = texts.put("my.count");
    let route = texts.put("route_name");
    let (mine, path, port) = (
        texts.put("mine"),
        texts.put("request\0url_path\0"),
        texts.put("source\0port"),
    );
    let unknown = texts.put("upstream\0address");
    let calls = format!(
        r#"(call $expect (call $define_metric (i32.const 0) {name} (i32.const 8)) (i32.const 0))
        (call $expect (call $define_metric (i32.const 1) {name} (i32.const 12)) (i32.const 2))
        (call $expect (call $increment_metric (i32.load (i32.const 8)) (i64.const 5)) (i32.const 0))
        (call $expect (call $increment_metric (i32.load (i32.const 8)) (i64.const -3)) (i32.const 0))
        (call $expect (call $get_metric (i32.load (i32.const 8)) (i32.const 16)) (i32.const 0))
        (call $expect (i32.load (i32.const 16)) (i32.const 5))
        (call $expect (call $get_metric (i32.const 77) (i32.const 16)) (i32.const 1))
        (call $expect (call $get_property {route} (i32.const 8) (i32.const 12)) (i32.const 0))
        (call $expect (i32.load8_u (i32.load (i32.const 8))) (i32.const 114))
        (call $expect (call $get_property {path} (i32.const 8) (i32.const 12)) (i32.const 0))
        (call $expect (i32.load (i32.const 12)) (i32.const 2))
        (call $expect (call $get_property {port} (i32.const 8) (i32.const 12)) (i32.const 0))
        (call $expect (i32.load (i32.load (i32.const 8))) (i32.const 4711))
        (call $expect (call $get_property {unknown} (i32.const 8) (i32.const 12)) (i32.const 1))
        (call $expect (call $get_property {mine} (i32.const 8) (i32.const 12)) (i32.const 1))
        (call $expect (call $set_property {mine} {route}) (i32.const 0))
        (call $expect (call $get_property {mine} (i32.const 8) (i32.const 12)) (i32.const 0))
        (call $expect (i32.load (i32.const 12)) (i32.const 10))"#
    );
    check(filter(&format!("{} {}", texts.data(), on_request(&calls))));
}

#[tokio::test]
async fn more_than_may_be_held_back_breaks_the_message_off() {
    let body = format!(
        "{} (func (export \"proxy_on_response_body\") (param i32 i32 i32) (result i32) (i32.const 1))",
        on_response("")
    );
    let bench = Bench::with_workers(1);
    let mut spec = granted("p", filter(&body), OnFault::Deny);
    spec.max_body_bytes = 10;
    let chain = Chain::new(vec![bench.load(spec).unwrap()]);
    let mut exchange = exchange(&[]);
    respond(&mut exchange);
    let _ = chain.on_response(&mut exchange).await;
    let piece = Bytes::from_static(b"123456");
    let first = chain
        .on_response_chunk(&mut exchange, piece.clone(), false)
        .await;
    assert!(matches!(first, Passed::On(left) if left.is_empty()));
    let second = chain.on_response_chunk(&mut exchange, piece, false).await;
    assert!(matches!(second, Passed::BrokenOff(_)), "{second:?}");
}

#[test]
fn a_message_that_nothing_could_resume_is_not_held_back() {
    let pause = "(func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32) (i32.const 1))";
    let bench = Bench::with_workers(1);
    let chain = Chain::new(vec![load(&bench, filter(pause))]);
    let Outcome::Unavailable(unavailable) = now(chain.on_request(&mut exchange(&[]))) else {
        panic!("it cannot decide");
    };
    assert_eq!(unavailable.cause, Cause::Fault(FaultKind::Wait));
    // It resumes what it then says it holds back.
    let resumed = "(func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)
        (call $expect (call $continue_stream (i32.const 0)) (i32.const 0)) (i32.const 1))";
    let chain = Chain::new(vec![load(&bench, filter(resumed))]);
    assert!(matches!(
        now(chain.on_request(&mut exchange(&[]))),
        Outcome::Continue
    ));
}

#[test]
fn a_runtime_finds_the_wasi_that_it_needs_to_start() {
    let text = format!(
        r#"(module
        (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
        (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 2) {MALLOC}
        (data (i32.const 512) "\00\04\00\00\05\00\00\00") (data (i32.const 1024) "hello")
        (func (export "proxy_abi_version_0_2_1"))
        (func $expect (param i32 i32) (if (i32.ne (local.get 0) (local.get 1)) (then unreachable)))
        (func (export "_initialize")
          (call $expect (call $prestat (i32.const 3) (i32.const 8)) (i32.const 8))
          (call $expect (call $write (i32.const 1) (i32.const 512) (i32.const 1) (i32.const 16)) (i32.const 0))
          (call $expect (i32.load (i32.const 16)) (i32.const 5))
          (call $expect (call $write (i32.const 7) (i32.const 512) (i32.const 1) (i32.const 16)) (i32.const 8))
          (call $expect (call $write (i32.const 1) (i32.const -8) (i32.const 1) (i32.const 16)) (i32.const 21))
          (call $expect (call $random (i32.const 32) (i32.const 16)) (i32.const 0))
          (call $expect (call $random (i32.const -4) (i32.const 16)) (i32.const 21))
          (call $expect (call $clock (i32.const 0) (i64.const 1) (i32.const 64)) (i32.const 0))
          (call $expect (i32.wrap_i64 (i64.div_u (i64.load (i32.const 64)) (i64.const 1000000000))) (i32.const 1000))
          (call $expect (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 0)) (i32.const 8))
          (call $expect (call $environ (i32.const 72) (i32.const 76)) (i32.const 0))
          (call $expect (call $poll (i32.const 128) (i32.const 256) (i32.const 1) (i32.const 80)) (i32.const 0))
          (call $expect (i32.load (i32.const 80)) (i32.const 1)))
        {})"#,
        on_request("(call $exit (i32.const 1))")
    );
    let bench = Bench::with_workers(1);
    let captured = Lines::capture();
    let policy = load(&bench, wat::parse_str(&text).unwrap());
    assert!(captured.text().contains("hello"), "{}", captured.text());
    let chain = Chain::new(vec![policy.clone()]);
    let outcome = now(chain.on_request(&mut exchange(&[])));
    assert!(matches!(outcome, Outcome::Unavailable(_)));
    assert_eq!(faults(&policy), [(FaultKind::Trap, 1)]);
}
