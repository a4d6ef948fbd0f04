//! Guests that misbehave: each is stopped, counted by kind, answered as the operator said, and nothing else breaks.

mod common;

use std::time::Duration;

use common::lines::Lines;
use common::{Bench, CONFIGURE, ON_REQUEST, bare, component, configured, exchange, granted, now};
use policy_host::{Cause, Chain, FaultKind, LoadError, OnFault, Outcome, PolicySpec};

/// One hook, both rules, both kinds of instances.
fn check(wasm: Vec<u8>, kind: FaultKind, change: impl Fn(&mut PolicySpec)) {
    check_on(false, &wasm, kind, &change);
    check_on(true, &wasm, kind, &change);
}

/// `deny` names the kind, `skip` goes on, and the exchange comes back whole.
fn check_on(may_wait: bool, wasm: &[u8], kind: FaultKind, change: impl Fn(&mut PolicySpec)) {
    let bench = Bench::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    for on_fault in [OnFault::Deny, OnFault::Skip] {
        let mut spec = granted("p", wasm.to_vec(), on_fault);
        spec.may_wait = may_wait;
        change(&mut spec);
        let policy = bench.load(spec).unwrap();
        let chain = Chain::new(vec![policy.clone()]);
        let mut exchange = exchange(&[("x-kept", "1")]);
        match (on_fault, runtime.block_on(chain.on_request(&mut exchange))) {
            (OnFault::Deny, Outcome::Unavailable(unavailable)) => {
                assert_eq!(unavailable.cause, Cause::Fault(kind), "{unavailable}");
                assert_eq!(&*unavailable.policy, "p");
            }
            (OnFault::Skip, Outcome::Continue) => {}
            (_, other) => panic!("{on_fault:?}: {other:?}"),
        }
        assert_eq!(exchange.request.headers["x-kept"], "1");
        let counted = policy
            .stats()
            .faults
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .collect::<Vec<_>>();
        assert_eq!(counted, [(kind, 1)]);
    }
}

#[test]
fn a_loop_without_end_runs_out_of_fuel() {
    check(
        bare("(loop $on (br $on)) (unreachable)"),
        FaultKind::Fuel,
        |_| {},
    );
}

#[test]
fn a_call_past_its_deadline_ends_though_it_has_fuel() {
    let endless = bare("(loop $on (br $on)) (unreachable)");
    let change = |spec: &mut PolicySpec| {
        spec.limits.fuel = 10_000_000_000;
        spec.limits.deadline = Duration::from_millis(5);
        spec.limits.max_wait = Duration::from_millis(50);
    };
    check_on(false, &endless, FaultKind::Deadline, change);
    check_on(true, &endless, FaultKind::Wait, change);
}

#[test]
fn a_trap_and_a_recursion_without_end_are_traps() {
    check(bare("(unreachable)"), FaultKind::Trap, |_| {});
    let deep = format!(
        "(func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))
         (func (export \"{ON_REQUEST}\") (result i32) (call $deep (i32.const 0)))"
    );
    check(component("bare", "", &deep), FaultKind::Trap, |_| {});
}

#[test]
fn allocating_without_end_is_a_fault_of_memory() {
    let greedy =
        "(loop $on (br_if $on (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)";
    check(bare(greedy), FaultKind::Memory, |_| {});
    // A memory that is too large from the start is refused when the policy is loaded.
    let bench = Bench::new();
    let body = format!(
        "(data (i32.const 0) \"\\00\") (func (export \"{ON_REQUEST}\") (result i32) (i32.const 4096))"
    );
    let wasm = component("bare", "", &body);
    let mut spec = PolicySpec::new("p", wasm);
    spec.limits.memory_bytes = 128 * 1024;
    assert!(bench.load(spec.clone()).is_ok());
    spec.limits.memory_bytes = 64 * 1024;
    assert!(matches!(bench.load(spec), Err(LoadError::Spec { .. })));
}

#[test]
fn a_decision_that_breaks_the_contract_is_refused_whole() {
    // respond = some({ status: 99 })
    let bad_status = "(i32.store8 (i32.const 1024) (i32.const 1)) (i32.store16 (i32.const 1028) (i32.const 99)) (i32.const 1024)";
    check(bare(bad_status), FaultKind::Decision, |_| {});
    // An address outside of its memory.
    check(bare("(i32.const -8)"), FaultKind::Trap, |_| {});
}

#[test]
fn a_host_function_refuses_what_is_over_its_limit() {
    let imports =
        r#"(import "veilgate:policy/random@0.2.1" "bytes" (func $bytes (param i32 i32)))"#;
    let body = format!(
        "{} (func (export \"{ON_REQUEST}\") (result i32) (call $bytes (i32.const 5000) (i32.const 2048)) (i32.const 4096))",
        configured()
    );
    check(
        component("basic", imports, &body),
        FaultKind::HostLimit,
        |_| {},
    );
}

#[test]
fn overlapping_arguments_cannot_make_the_host_allocate_without_end() {
    // 4000 shares whose keys are all the same 60 KiB of memory: 240 MB, if each were copied.
    let imports = r#"
      (import "veilgate:policy/limits@0.2.1" "[static]limiter.define" (func $define (param i32 i32 i32 i64 i64 i64 i32)))
      (import "veilgate:policy/limits@0.2.1" "take-all" (func $take_all (param i32 i32 i32)))"#;
    let body = format!(
        r#"{} (data (i32.const 16) "l")
        (func (export "{ON_REQUEST}") (result i32) (local $at i32)
          (call $reset)
          (call $define (i32.const 16) (i32.const 1) (i32.const 0) (i64.const 5) (i64.const 1000) (i64.const 0) (i32.const 1024))
          (drop (memory.grow (i32.const 2)))
          (local.set $at (i32.const 131072))
          (loop $more
            (i32.store (local.get $at) (i32.load (i32.const 1028)))
            (i32.store offset=4 (local.get $at) (i32.const 65536))
            (i32.store offset=8 (local.get $at) (i32.const 61440))
            (i64.store offset=16 (local.get $at) (i64.const 1))
            (br_if $more (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 24))) (i32.const 227072))))
          (call $take_all (i32.const 131072) (i32.const 4000) (i32.const 2048))
          (i32.const 4096))"#,
        configured()
    );
    let wasm = component("limiting", imports, &body);
    let chain = Bench::new().chain(wasm.clone(), OnFault::Skip);
    let lines = Lines::of(|| drop(now(chain.on_request(&mut exchange(&[])))));
    assert!(
        lines[0].contains("too much data is being copied"),
        "{lines:?}"
    );
    check(wasm, FaultKind::Trap, |_| {});
}

#[test]
fn a_policy_works_again_on_a_new_instance_after_a_trap() {
    let imports =
        r#"(import "veilgate:policy/request@0.2.1" "header" (func $header (param i32 i32 i32)))"#;
    let body = format!(
        r#"{} (data (i32.const 16) "x-boom")
        (func (export "{ON_REQUEST}") (result i32)
          (call $reset)
          (call $header (i32.const 16) (i32.const 6) (i32.const 1024))
          (if (i32.load8_u (i32.const 1024)) (then (unreachable)))
          (i32.const 4096))"#,
        configured()
    );
    let bench = Bench::with_workers(1);
    let chain = bench.chain(component("basic", imports, &body), OnFault::Deny);
    for _ in 0..3 {
        assert!(matches!(
            now(chain.on_request(&mut exchange(&[]))),
            Outcome::Continue
        ));
        assert!(matches!(
            now(chain.on_request(&mut exchange(&[("x-boom", "1")]))),
            Outcome::Unavailable(_)
        ));
    }
    assert!(matches!(
        now(chain.on_request(&mut exchange(&[]))),
        Outcome::Continue
    ));
    let stats = chain.policies()[0].stats();
    assert_eq!((stats.calls, stats.set_aside), (7, false));
}

#[test]
fn after_repeated_faults_it_is_set_aside_and_tried_again_after_a_growing_pause() {
    let bench = Bench::new();
    let chain = bench.chain(bare("(unreachable)"), OnFault::Deny);
    let cause = || match now(chain.on_request(&mut exchange(&[]))) {
        Outcome::Unavailable(unavailable) => unavailable.cause,
        other => panic!("{other:?}"),
    };
    let trap = Cause::Fault(FaultKind::Trap);
    for _ in 0..5 {
        assert_eq!(cause(), trap);
    }
    for pause_ms in [1000, 2000, 4000] {
        bench.clock.advance_ms(pause_ms - 1);
        assert_eq!(cause(), Cause::SetAside);
        assert!(chain.policies()[0].stats().set_aside);
        bench.clock.advance_ms(1);
        assert_eq!(cause(), trap, "one trial after {pause_ms} ms");
    }
    // Set aside, it is not called: five calls and three trials.
    assert_eq!(chain.policies()[0].stats().calls, 8);
}

#[test]
fn a_policy_that_is_set_aside_and_skipped_lets_requests_through() {
    let bench = Bench::new();
    let chain = bench.chain(bare("(unreachable)"), OnFault::Skip);
    for _ in 0..20 {
        assert!(matches!(
            now(chain.on_request(&mut exchange(&[]))),
            Outcome::Continue
        ));
    }
    assert_eq!(chain.policies()[0].stats().calls, 5);
}

fn load_error(wasm: Vec<u8>, change: impl FnOnce(&mut PolicySpec)) -> LoadError {
    let mut spec = PolicySpec::new("p", wasm);
    change(&mut spec);
    match Bench::new().load(spec) {
        Ok(_) => panic!("it was loaded"),
        Err(error) => error,
    }
}

#[test]
fn what_configure_refuses_is_told_at_load() {
    // err("bad"): tag 1, then the text.
    let refusing = format!(
        r#"(data (i32.const 16) "no such unit") (data (i32.const 1024) "\01\00\00\00\10\00\00\00\0c\00\00\00")
        (func (export "{CONFIGURE}") (param i32 i32) (result i32) (i32.const 1024))
        (func (export "{ON_REQUEST}") (result i32) (i32.const 4096))"#
    );
    let error = load_error(component("basic", "", &refusing), |spec| {
        spec.config_json = r#"{"per":"fortnight"}"#.into()
    });
    assert!(
        matches!(&error, LoadError::Configure { message, .. } if message == "no such unit"),
        "{error}"
    );
    for (body, kind) in [
        ("(unreachable)", FaultKind::Trap),
        ("(loop $on (br $on)) (unreachable)", FaultKind::Fuel),
    ] {
        let failing = format!(
            r#"(func (export "{CONFIGURE}") (param i32 i32) (result i32) {body})
            (func (export "{ON_REQUEST}") (result i32) (i32.const 4096))"#
        );
        let error = load_error(component("basic", "", &failing), |spec| {
            spec.limits.fuel = 10_000
        });
        assert!(
            matches!(&error, LoadError::Start { fault, .. } if fault.kind == kind),
            "{error}"
        );
    }
}

#[test]
fn imports_that_were_not_granted_or_do_not_exist_are_named() {
    let limits = component(
        "limiting",
        r#"(import "veilgate:policy/limits@0.2.1" "take-all" (func (param i32 i32 i32)))"#,
        &format!(
            "{} (func (export \"{ON_REQUEST}\") (result i32) (i32.const 4096))",
            configured()
        ),
    );
    let error = load_error(limits, |_| {}).to_string();
    assert!(
        error.contains("veilgate:policy/limits@0.2.1") && error.contains("\"limits\""),
        "{error}"
    );
}

#[test]
fn what_is_no_policy_is_refused_with_the_reason() {
    let core = wat::parse_str("(module)").unwrap();
    assert!(matches!(
        load_error(core, |_| {}),
        LoadError::NotComponent { .. }
    ));
    for text in [Vec::new(), b"(component)".to_vec()] {
        assert!(matches!(
            load_error(text, |_| {}),
            LoadError::NotWasm { .. }
        ));
    }
    let garbage = b"\0asm\x0d\0\x01\0\xff\xff".to_vec();
    assert!(matches!(
        load_error(garbage, |_| {}),
        LoadError::Compile { .. }
    ));
    let hookless = component("hookless", "", &configured());
    assert!(matches!(
        load_error(hookless, |_| {}),
        LoadError::NoHook { .. }
    ));
    let stranger = component(
        "stranger",
        "",
        "(func (export \"test:other/thing@1.0.0#run\"))",
    );
    assert!(matches!(
        load_error(stranger, |_| {}),
        LoadError::NoHook { .. }
    ));
    let error = load_error(bare("(i32.const 4096)"), |spec| {
        spec.config_json = r#"{"a":1}"#.into()
    });
    assert!(matches!(error, LoadError::NotConfigurable { .. }));
    let large = load_error(vec![0; 33 << 20], |_| {});
    assert!(matches!(large, LoadError::TooLarge { .. }));
    let misnamed = load_error(bare("(i32.const 4096)"), |spec| {
        spec.name = "Not a name".into()
    });
    assert!(matches!(misnamed, LoadError::Spec { .. }));
}

#[test]
fn a_truncated_component_is_refused_at_every_length() {
    let whole = bare("(i32.const 4096)");
    let bench = Bench::with_workers(1);
    for length in (0..whole.len()).step_by(7) {
        assert!(
            bench
                .load(PolicySpec::new("p", whole[..length].to_vec()))
                .is_err(),
            "{length} bytes"
        );
    }
}
