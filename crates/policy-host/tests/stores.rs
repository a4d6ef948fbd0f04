//! Key-value stores and metrics through guests: exact across threads, kept over a swap, shared only where the operator said so,
//! bounded whatever a guest does.

mod common;

use common::{Bench, CONFIGURE, ON_REQUEST, component, exchange, granted, now};
use policy_host::{Chain, OnFault, Outcome, PrimitiveCaps, Primitives};

/// Opens the store `s` and counts requests in it; answers 200 and the count.
fn counter() -> Vec<u8> {
    let imports = r#"
      (import "veilgate:policy/kv@0.2.1" "[static]store.open" (func $open (param i32 i32 i32)))
      (import "veilgate:policy/kv@0.2.1" "[method]store.incr" (func $incr (param i32 i32 i32 i64 i32 i64 i32)))"#;
    let body = format!(
        r#"(global $store (mut i32) (i32.const 0)) (data (i32.const 16) "s") (data (i32.const 24) "hits")
        (func (export "{CONFIGURE}") (param i32 i32) (result i32)
          (call $open (i32.const 16) (i32.const 1) (i32.const 1024))
          (if (i32.load8_u (i32.const 1024)) (then (unreachable)))
          (global.set $store (i32.load (i32.const 1028)))
          (i32.const 4096))
        (func (export "{ON_REQUEST}") (result i32)
          (call $incr (global.get $store) (i32.const 24) (i32.const 4) (i64.const 1) (i32.const 1) (i64.const 60000) (i32.const 1024))
          (if (i32.load8_u (i32.const 1024)) (then (unreachable)))
          (i32.store8 (i32.const 2048) (i32.const 1))
          (i32.store16 (i32.const 2052) (i32.add (i32.const 200) (i32.wrap_i64 (i64.load (i32.const 1032)))))
          (i32.const 2048))"#
    );
    component("storing", imports, &body)
}

fn count(chain: &Chain) -> u16 {
    match now(chain.on_request(&mut exchange(&[]))) {
        Outcome::Respond(response) => response.status.as_u16() - 200,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_store_is_exact_across_threads_and_kept_over_a_swap() {
    let bench = Bench::with_workers(3);
    let chain = bench.chain(counter(), OnFault::Deny);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..30 {
                    count(&chain);
                }
            });
        }
    });
    let swapped = bench.chain(counter(), OnFault::Deny);
    assert_eq!((count(&swapped), count(&chain)), (181, 182));
    // It expires by the host's clock, counted from the first increment.
    bench.clock.advance_ms(60_000);
    assert_eq!(count(&swapped), 1);
    let sizes = bench.primitives.store_sizes();
    let found: Vec<_> = sizes
        .iter()
        .map(|store| (store.scope.as_deref(), &*store.name, store.entries))
        .collect();
    assert_eq!(found, [(Some("p"), "s", 1)]);
}

#[test]
fn a_store_is_shared_by_those_who_list_it_and_nobody_else() {
    let bench = Bench::with_workers(1);
    let load = |name: &str, shared: &[&str]| {
        let mut spec = granted(name, counter(), OnFault::Deny);
        spec.kv_shared = shared.iter().map(|name| (*name).to_owned()).collect();
        Chain::new(vec![bench.load(spec).unwrap()])
    };
    let (a, b) = (load("a", &["s"]), load("b", &["x", "s"]));
    let (alone, other) = (load("c", &["x"]), load("d", &[]));
    assert_eq!((count(&a), count(&b), count(&a)), (1, 2, 3));
    assert_eq!((count(&alone), count(&other)), (1, 1));
}

/// Sets ten thousand entries of 1 KiB, each under another key, in one call; refusals are traps.
fn flood() -> Vec<u8> {
    let imports = r#"
      (import "veilgate:policy/kv@0.2.1" "[static]store.open" (func $open (param i32 i32 i32)))
      (import "veilgate:policy/kv@0.2.1" "[method]store.set" (func $set (param i32 i32 i32 i32 i32 i32 i64 i32)))"#;
    let body = format!(
        r#"(global $store (mut i32) (i32.const 0)) (global $n (mut i32) (i32.const 0)) (data (i32.const 16) "s")
        (func (export "{CONFIGURE}") (param i32 i32) (result i32)
          (call $open (i32.const 16) (i32.const 1) (i32.const 1024))
          (global.set $store (i32.load (i32.const 1028)))
          (i32.const 4096))
        (func (export "{ON_REQUEST}") (result i32)
          (global.set $n (i32.const 0))
          (loop $more
            ;; The counter's low bits as the letters of the key.
            (i32.store (i32.const 32) (i32.add (i32.const 0x41414141)
              (i32.or (i32.and (global.get $n) (i32.const 15))
                (i32.or (i32.shl (i32.and (global.get $n) (i32.const 0xf0)) (i32.const 4))
                  (i32.shl (i32.and (global.get $n) (i32.const 0x3f00)) (i32.const 8))))))
            (call $set (global.get $store) (i32.const 32) (i32.const 4) (i32.const 5000) (i32.const 1024)
              (i32.const 0) (i64.const 0) (i32.const 1024))
            (if (i32.load8_u (i32.const 1024)) (then (unreachable)))
            (global.set $n (i32.add (global.get $n) (i32.const 1)))
            (br_if $more (i32.lt_u (global.get $n) (i32.const 10000))))
          (i32.const 4096))"#
    );
    component("storing", imports, &body)
}

#[test]
fn a_flood_of_entries_takes_no_more_than_the_operator_said() {
    let mut bench = Bench::with_workers(1);
    bench.primitives = Primitives::new(PrimitiveCaps {
        kv_max_bytes: 1 << 20,
        ..PrimitiveCaps::default()
    });
    let mut spec = granted("p", flood(), OnFault::Deny);
    spec.limits.deadline = std::time::Duration::from_secs(10);
    let chain = Chain::new(vec![bench.load(spec).unwrap()]);
    let outcome = now(chain.on_request(&mut exchange(&[])));
    assert!(matches!(outcome, Outcome::Continue), "{outcome:?}");
    let size = bench.primitives.store_sizes().remove(0);
    assert!(
        size.bytes <= 1 << 20 && (500..1000).contains(&size.entries),
        "{size:?}"
    );
    assert!(size.evicted > 9000, "{size:?}");
}

#[test]
fn the_number_of_stores_is_bounded_but_not_that_of_shared_ones() {
    let imports = r#"
      (import "veilgate:policy/kv@0.2.1" "[static]store.open" (func $open (param i32 i32 i32)))"#;
    // Answers 200 and how many of sixteen names could be opened.
    let body = format!(
        r#"(global $n (mut i32) (i32.const 0)) (global $opened (mut i32) (i32.const 0))
        (func (export "{CONFIGURE}") (param i32 i32) (result i32) (i32.const 4096))
        (func (export "{ON_REQUEST}") (result i32)
          (loop $more
            (i32.store8 (i32.const 16) (i32.add (i32.const 97) (global.get $n)))
            (call $open (i32.const 16) (i32.const 1) (i32.const 1024))
            (if (i32.eqz (i32.load8_u (i32.const 1024)))
              (then (global.set $opened (i32.add (global.get $opened) (i32.const 1))))
              (else (if (i32.ne (i32.load8_u (i32.const 1028)) (i32.const 2)) (then (unreachable)))))
            (global.set $n (i32.add (global.get $n) (i32.const 1)))
            (br_if $more (i32.lt_u (global.get $n) (i32.const 16))))
          (i32.store8 (i32.const 2048) (i32.const 1))
          (i32.store16 (i32.const 2052) (i32.add (i32.const 200) (global.get $opened)))
          (i32.const 2048))"#
    );
    let bench = Bench::with_workers(1);
    let wasm = component("storing", imports, &body);
    let mut spec = granted("p", wasm, OnFault::Deny);
    spec.kv_shared = ["a", "b", "c"].map(str::to_owned).to_vec();
    let chain = Chain::new(vec![bench.load(spec).unwrap()]);
    assert_eq!(count(&chain), 8 + 3);
}

/// Defines `m` of this kind with one label, twice, and expects the same number; then `use_it`, with the label `x` at 1100.
fn metering(kind: u32, use_it: &str) -> Vec<u8> {
    let imports = r#"
      (import "veilgate:policy/metrics@0.2.1" "define" (func $define (param i32 i32 i32 i32 i32 i32 i32 i32)))
      (import "veilgate:policy/metrics@0.2.1" "add" (func $add (param i32 i64 i32 i32)))
      (import "veilgate:policy/metrics@0.2.1" "set" (func $set (param i32 f64 i32 i32)))
      (import "veilgate:policy/metrics@0.2.1" "observe" (func $observe (param i32 f64 i32 i32)))"#;
    let body = format!(
        r#"(data (i32.const 16) "m") (data (i32.const 24) "what")
        (data (i32.const 1100) "\18\00\00\00\04\00\00\00\18\00\00\00\04\00\00\00")
        (func $m (call $define (i32.const {kind}) (i32.const 16) (i32.const 1) (i32.const 24) (i32.const 4) (i32.const 1100) (i32.const 1) (i32.const 1024))
          (if (i32.load (i32.const 1024)) (then (unreachable)))
          (if (i32.load (i32.const 1028)) (then (unreachable))))
        (func (export "{CONFIGURE}") (param i32 i32) (result i32) (call $m) (call $m) (i32.const 4096))
        (func (export "{ON_REQUEST}") (result i32) {use_it} (i32.const 4096))"#
    );
    component("metering", imports, &body)
}

#[test]
fn a_metric_is_used_as_it_was_defined_or_the_call_fails() {
    let add = |metric: u32, labels: u32| {
        format!(
            "(call $add (i32.const {metric}) (i64.const 1) (i32.const 1100) (i32.const {labels}))"
        )
    };
    let set = "(call $set (i32.const 0) (f64.const nan) (i32.const 1100) (i32.const 1))";
    let observe = "(call $observe (i32.const 0) (f64.const inf) (i32.const 1100) (i32.const 1))";
    for (kind, use_it, works) in [
        (0, add(0, 1), true),
        (1, set.to_owned(), true),
        (2, observe.to_owned(), true),
        (0, add(1, 1), false),
        (0, add(0, 2), false),
        (1, add(0, 1), false),
        (0, observe.to_owned(), false),
    ] {
        let chain = Bench::with_workers(1).chain(metering(kind, &use_it), OnFault::Deny);
        let outcome = now(chain.on_request(&mut exchange(&[])));
        assert_eq!(
            matches!(outcome, Outcome::Continue),
            works,
            "{use_it}: {outcome:?}"
        );
    }
}
