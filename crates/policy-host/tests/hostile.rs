//! Guests that mean harm, beyond those of `faults.rs`: what they bring, what they hand to the host, and what they leave behind. Floods
//! of log lines are in `hooks.rs`, of entries in `stores.rs`; bodies are in `bodies.rs`.

mod common;

use std::time::{Duration, Instant};

use common::{
    AFTER, BEFORE, Bench, CONFIGURE, ON_REQUEST, ON_RESPONSE, bare, component, configured,
    exchange, granted, now,
};
use http::{HeaderMap, StatusCode};
use policy_host::{
    Attempt, AttemptChoice, AttemptOutcome, Cause, Chain, ExchangeContext, FaultKind, LoadError,
    OnFault, Outcome, PolicySpec, ResponseParts, Source, Verdict,
};

fn request(chain: &Chain, exchange: &mut ExchangeContext) -> Outcome {
    now(chain.on_request(exchange))
}

fn response(chain: &Chain) -> Outcome {
    let mut exchange = exchange(&[]);
    exchange.response = Some(ResponseParts {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        source: Source::Upstream,
    });
    now(chain.on_response(&mut exchange))
}

fn attempt() -> Attempt {
    Attempt {
        number: 1,
        upstream: "u".into(),
        endpoint: None,
    }
}

fn before(chain: &Chain) -> AttemptChoice {
    now(chain.before_attempt(&mut exchange(&[]), &attempt()))
}

fn after(chain: &Chain) -> Verdict {
    let outcome = AttemptOutcome::default();
    now(chain.after_attempt(&mut exchange(&[]), &attempt(), &outcome))
}

/// What one request hook comes to, with and without a fault of this kind.
fn check(wasm: Vec<u8>, expected: Option<FaultKind>) {
    let chain = Bench::new().chain(wasm, OnFault::Deny);
    match (request(&chain, &mut exchange(&[])), expected) {
        (Outcome::Continue, None) => {}
        (Outcome::Unavailable(why), Some(kind)) => assert_eq!(why.cause, Cause::Fault(kind)),
        (other, expected) => panic!("{expected:?}: {other:?}"),
    }
}

fn refused(wasm: Vec<u8>) -> LoadError {
    let mut spec = PolicySpec::new("p", wasm);
    spec.limits.fuel = 100_000;
    match Bench::with_workers(1).load(spec) {
        Ok(_) => panic!("it was loaded"),
        Err(error) => error,
    }
}

// What it hands to the host.

#[test]
fn text_that_is_not_utf8_ends_the_call() {
    let reason = "(i32.store8 (i32.const 1108) (i32.const 1)) (i32.store (i32.const 1112) (i32.const 16))
        (i32.store (i32.const 1116) (i32.const 2)) (i32.store16 (i32.const 16) (i32.const 0xfffe)) (i32.const 1024)";
    check(bare(reason), Some(FaultKind::Trap));
    let logging = |name: &str, params: &str, call: &str| {
        component(
            "basic",
            &format!("(import \"veilgate:policy/{name}\" (func $f (param {params})))"),
            &format!(
                "{} (data (i32.const 16) \"\\c3\\28\\ff\") (func (export \"{ON_REQUEST}\") (result i32) {call} (i32.const 4096))",
                configured()
            ),
        )
    };
    let log = "(call $f (i32.const 2) (i32.const 16) (i32.const 3))";
    check(
        logging("log@0.2.1\" \"write", "i32 i32 i32", log),
        Some(FaultKind::Trap),
    );
    let header = "(call $f (i32.const 16) (i32.const 3) (i32.const 1024))";
    check(
        logging("request@0.2.1\" \"header", "i32 i32 i32", header),
        Some(FaultKind::Trap),
    );
}

#[test]
fn huge_texts_are_cut_or_refused_and_never_copied_without_bound() {
    let logging = |bytes: u32| {
        component(
            "basic",
            r#"(import "veilgate:policy/log@0.2.1" "write" (func $f (param i32 i32 i32)))"#,
            &format!(
                "{} (func (export \"{ON_REQUEST}\") (result i32) (drop (memory.grow (i32.const 300)))
                 (call $f (i32.const 2) (i32.const 65536) (i32.const {bytes})) (i32.const 4096))",
                configured()
            ),
        )
    };
    check(logging(1 << 20), None);
    check(logging(16 << 20), Some(FaultKind::Trap));
    // Longer than its memory.
    check(logging(u32::MAX), Some(FaultKind::Trap));
}

#[test]
fn a_decision_with_thousands_of_fields_is_refused() {
    let fields = |count: u32, text: u32| {
        bare(&format!(
            "(local $at i32) (drop (memory.grow (i32.const 16))) (local.set $at (i32.const 131072))
             (loop $more
               (i32.store (local.get $at) (i32.const 65536)) (i32.store offset=4 (local.get $at) (i32.const {text}))
               (i32.store offset=8 (local.get $at) (i32.const 65536)) (i32.store offset=12 (local.get $at) (i32.const {text}))
               (br_if $more (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 16)))
                 (i32.add (i32.const 131072) (i32.mul (i32.const {count}) (i32.const 16))))))
             (i32.store (i32.const 1120) (i32.const 131072)) (i32.store (i32.const 1124) (i32.const {count}))
             (memory.fill (i32.const 65536) (i32.const 97) (i32.const 60000))
             (i32.const 1024)"
        ))
    };
    check(fields(128, 3), None);
    check(fields(5000, 3), Some(FaultKind::Decision));
    // 600 MB, were each copied; and a list that does not fit into its memory.
    check(fields(5000, 60_000), Some(FaultKind::Trap));
    check(
        bare(
            "(i32.store (i32.const 1120) (i32.const 8)) (i32.store (i32.const 1124) (i32.const 0x7fffffff)) (i32.const 1024)",
        ),
        Some(FaultKind::Trap),
    );
}

#[test]
fn a_trap_is_contained_in_every_hook_on_heads_and_attempts() {
    let attempts = [
        (CONFIGURE, "(param i32 i32) (result i32)"),
        (BEFORE, "(param i32 i32 i32 i32 i32) (result i32)"),
    ];
    for on_fault in [OnFault::Deny, OnFault::Skip] {
        let deny = on_fault == OnFault::Deny;
        let bench = Bench::new();
        let guest = component(
            "responder",
            "",
            &format!("(func (export \"{ON_RESPONSE}\") (result i32) (unreachable))"),
        );
        let outcome = response(&bench.chain(guest, on_fault));
        assert_eq!(matches!(outcome, Outcome::Unavailable(_)), deny);
        let after_signature = "(param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64) (result i32)";
        let both = |traps: &str| {
            let zero = format!("(func (export \"{AFTER}\") {after_signature} ");
            let rest = if traps == AFTER {
                "(unreachable))"
            } else {
                "(i32.const 0))"
            };
            let mut body = String::new();
            for (name, signature) in attempts {
                let answer = if name == traps {
                    "(unreachable)"
                } else {
                    "(i32.const 4096)"
                };
                body += &format!("(func (export \"{name}\") {signature} {answer})");
            }
            component("breaking", "", &format!("{body}{zero}{rest}"))
        };
        let choice = before(&bench.chain(both(BEFORE), on_fault));
        assert_eq!(matches!(choice, AttemptChoice::Unavailable(_)), deny);
        let verdict = after(&bench.chain(both(AFTER), on_fault));
        assert_eq!(matches!(verdict, Verdict::Unavailable(_)), deny);
    }
}

// What it brings.

/// A component of nothing but core modules, which need not be policies to be refused.
fn of_parts(parts: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {parts})")).unwrap()
}

#[test]
fn a_start_that_never_ends_is_stopped_at_load() {
    let looping = format!(
        "(func $spin (loop $on (br $on))) (start $spin) (func (export \"{ON_REQUEST}\") (result i32) (i32.const 4096))"
    );
    let reactor = format!(
        "(func (export \"_initialize\") (loop $on (br $on))) (func (export \"{ON_REQUEST}\") (result i32) (i32.const 4096))"
    );
    for body in [looping, reactor] {
        let error = refused(component("bare", "", &body));
        assert!(
            matches!(&error, LoadError::Start { fault, .. } if fault.kind == FaultKind::Fuel),
            "{error}"
        );
    }
    // With fuel for hours, time ends it.
    let wasm = component(
        "bare",
        "",
        &format!(
            "(func $spin (loop $on (br $on))) (start $spin) (func (export \"{ON_REQUEST}\") (result i32) (i32.const 4096))"
        ),
    );
    let mut spec = PolicySpec::new("p", wasm);
    spec.limits.fuel = 10_000_000_000;
    spec.limits.deadline = Duration::from_millis(1);
    let began = Instant::now();
    let error = Bench::with_workers(1).load(spec).err().unwrap();
    assert!(
        matches!(&error, LoadError::Start { fault, .. } if fault.kind == FaultKind::Deadline),
        "{error}"
    );
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn tables_grow_to_their_limit_and_no_further() {
    let growing = format!(
        "(table $t 0 funcref)
         (func (export \"{ON_REQUEST}\") (result i32)
           (loop $on (br_if $on (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))
           (if (i32.gt_u (table.size $t) (i32.const 65536)) (then (unreachable)))
           (i32.const 4096))"
    );
    check(component("bare", "", &growing), None);
    let large = format!(
        "(table 10000000 funcref) (func (export \"{ON_REQUEST}\") (result i32) (i32.const 4096))"
    );
    refused(component("bare", "", &large));
}

#[test]
fn a_component_with_too_many_parts_is_refused() {
    let hook = |extra: &str| {
        component(
            "bare",
            "",
            &format!("{extra} (func (export \"{ON_REQUEST}\") (result i32) (i32.const 4096))"),
        )
    };
    assert!(Bench::new().load(PolicySpec::new("p", hook(""))).is_ok());
    // Memories and tables of one module, instances of one component.
    let memories = "(memory 1)".repeat(5);
    let tables = "(table 1 funcref)".repeat(9);
    for extra in [memories, tables] {
        refused(of_parts(&format!(
            "(core module $m {extra}) (core instance (instantiate $m))"
        )));
    }
    let instances = "(core instance (instantiate $m))".repeat(17);
    refused(of_parts(&format!("(core module $m) {instances}")));
    let modules = "(core module)".repeat(65);
    let error = refused(of_parts(&modules)).to_string();
    assert!(error.contains("modules and components"), "{error}");
}

#[test]
fn functions_that_would_take_long_to_compile_are_refused_unread() {
    let with_body = |text: &str, times: usize| {
        of_parts(&format!(
            "(core module (func (export \"f\") (param i32) (result i32) {} (local.get 0)))",
            text.repeat(times)
        ))
    };
    let began = Instant::now();
    for bomb in [
        with_body("(drop (i32.mul (local.get 0) (i32.const 7)))", 100_000),
        with_body("(if (local.get 0) (then (nop)))", 100_000),
    ] {
        let error = refused(bomb).to_string();
        assert!(error.contains("too long to compile"), "{error}");
    }
    let unread = began.elapsed();
    assert!(unread < Duration::from_secs(20), "{unread:?}");
    // More functions than anybody writes.
    let many = of_parts(&format!("(core module {})", "(func)".repeat(200_001)));
    let error = refused(many).to_string();
    assert!(error.contains("functions"), "{error}");
}

// What it leaves behind.

fn answering(status: u16) -> Vec<u8> {
    bare(&format!(
        "(i32.store8 (i32.const 1024) (i32.const 1)) (i32.store16 (i32.const 1028) (i32.const {status})) (i32.const 1024)"
    ))
}

fn status(chain: &Chain) -> u16 {
    match request(chain, &mut exchange(&[])) {
        Outcome::Respond(response) => response.status.as_u16(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn faults_on_many_threads_at_once_harm_no_neighbour() {
    const THREADS: usize = 8;
    const CALLS: usize = 200;
    let bench = Bench::with_workers(4);
    let mut bad = granted("bad", bare("(unreachable)"), OnFault::Skip);
    bad.limits.fuel = 100_000;
    let bad = bench.load(bad).unwrap();
    let good = bench
        .load(granted("good", answering(204), OnFault::Deny))
        .unwrap();
    let chain = Chain::new(vec![bad.clone(), good.clone()]);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..CALLS {
                    assert_eq!(status(&chain), 204);
                }
            });
        }
    });
    assert_eq!(good.stats().calls, (THREADS * CALLS) as u64);
    assert!(good.stats().faults.iter().all(|(_, count)| *count == 0));
    let stats = bad.stats();
    let traps: u64 = stats.faults.iter().map(|(_, count)| count).sum();
    assert_eq!(
        traps, stats.calls,
        "each call trapped, and each was counted"
    );
    assert!(stats.set_aside);
}
