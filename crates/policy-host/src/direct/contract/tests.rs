use super::speaks;

/// A component that imports and exports what is said, and does nothing.
fn importing(name: &str, items: &str) -> Vec<u8> {
    wat::parse_str(format!(
        "(component (import \"veilgate:policy/{name}\" (instance {items})))"
    ))
    .unwrap_or_else(|error| panic!("{items}: {error}"))
}

const LIMITER: &str = r#"
  (type $error' (enum "denied" "not-found" "limit" "conflict" "timeout" "unavailable" "invalid"))
  (export "error" (type $error (eq $error')))
  (type $algorithm' (enum "gcra" "sliding-window" "fixed-window"))
  (export "algorithm" (type $algorithm (eq $algorithm')))
  (type $spec' (record (field "algorithm" $algorithm) (field "limit" u64) (field "per" u64) (field "burst" u64)))
  (export "spec" (type $spec (eq $spec')))
  (export "limiter" (type $limiter (sub resource)))
  (export "gate" (type $gate (sub resource)))
  (export "[static]limiter.define" (func
    (param "name" string) (param "spec" $spec) (result (result (own $limiter) (error $error)))))
  (export "[method]limiter.settle" (func
    (param "self" (borrow $limiter)) (param "key" string) (param "delta" s64)))
"#;

#[test]
fn the_contracts_own_types_are_the_same() {
    speaks(&importing("limits@0.2.0", LIMITER)).unwrap();
    let items = "(export \"now-ms\" (func (result u64)))";
    speaks(&importing("clock@0.2.0", items)).unwrap();
}

#[test]
fn other_types_are_refused() {
    let other = [
        ("\"denied\" \"not-found\"", "\"not-found\" \"denied\""),
        (" \"invalid\"", ""),
        (" \"invalid\"", " \"invalid\" \"more\""),
        ("(field \"limit\" u64)", "(field \"limit\" u32)"),
        ("(field \"limit\" u64)", "(field \"limits\" u64)"),
        (
            "(field \"limit\" u64) (field \"per\" u64)",
            "(field \"per\" u64) (field \"limit\" u64)",
        ),
        (" (field \"burst\" u64)", ""),
        ("(own $limiter)", "(own $gate)"),
        ("(own $limiter)", "u32"),
        ("(borrow $limiter)", "(borrow $gate)"),
        ("(borrow $limiter)", "(own $limiter)"),
        ("(error $error)", ""),
        ("(param \"name\" string)", "(param \"name\" (list u8))"),
        ("(param \"name\" string) ", ""),
        ("s64", "u64"),
        (
            "(param \"delta\" s64)",
            "(param \"delta\" s64) (result u64)",
        ),
        ("limiter.settle", "limiter.settles"),
        (
            "(export \"gate\" (type $gate (sub resource)))",
            "(export \"lock\" (type $gate (sub resource)))",
        ),
    ];
    for (from, to) in other {
        assert!(LIMITER.contains(from), "{from}");
        let wasm = importing("limits@0.2.0", &LIMITER.replacen(from, to, 1));
        assert!(speaks(&wasm).is_err(), "{from} -> {to}");
    }
}

#[test]
fn other_interfaces_and_versions_are_refused_by_name() {
    let items = "(export \"now-ms\" (func (result u64)))";
    for name in ["clock@0.3.0", "clock@0.2.9", "clocks@0.2.0", "clock"] {
        let said = speaks(&importing(name, items)).unwrap_err().to_string();
        assert!(said.contains(name), "{said}");
    }
    let none = "(export \"now\" (func (result u64)))";
    let said = speaks(&importing("clock@0.2.0", none)).unwrap_err();
    assert!(said.to_string().contains("clock@0.2.0#now"), "{said}");
}

#[test]
fn what_is_exported_is_held_to_the_contract_too() {
    let text = |ty: &str, wasm: &str| {
        format!(
            "(component
               (core module $m (memory (export \"m\") 1)
                 (func (export \"f\") {wasm} unreachable)
                 (func (export \"r\") (param i32 i32 i32 i32) (result i32) unreachable))
               (core instance $i (instantiate $m))
               (func $f {ty} (canon lift (core func $i \"f\") (memory (core memory $i \"m\")) (realloc (core func $i \"r\"))))
               (instance $hook (export \"on-response-body\" (func $f)))
               (export \"veilgate:policy/response-body-hook@0.2.1\" (instance $hook)))"
        )
    };
    let holds = |ty: &str, wasm: &str| {
        let text = text(ty, wasm);
        speaks(&wat::parse_str(&text).unwrap_or_else(|error| panic!("{text}: {error}")))
    };
    let body = "(param i32 i32) (result i32)";
    holds(
        "(param \"body\" (list u8)) (result (option (list u8)))",
        body,
    )
    .unwrap();
    holds("(param \"body\" string) (result (option (list u8)))", body).unwrap_err();
    holds("(param \"body\" (list u8)) (result (list u8))", body).unwrap_err();
    holds("(param \"body\" (list u8))", "(param i32 i32)").unwrap_err();
}

#[test]
fn any_changed_byte_is_read_without_a_panic() {
    let wasm = importing("limits@0.2.0", LIMITER);
    for at in 0..wasm.len() {
        let mut changed = wasm.clone();
        for value in [0, 1, 0x7f, 0x80, 0xff, wasm[at] ^ 1] {
            changed[at] = value;
            let _ = speaks(&changed);
        }
    }
}
