//! What is light, and that each measure has its effect.

use super::*;

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

fn function(locals: usize, body: &str) -> Vec<u8> {
    wasm(&format!(
        "(module (func (param i32) (local {}) {body}))",
        "i32 ".repeat(locals)
    ))
}

#[test]
fn the_shipped_size_is_light_and_what_is_no_wasm_too() {
    let body = "(if (local.get 0) (then (local.set 1 (i32.const 7))))";
    assert!(is_light(&function(20, &body.repeat(2000))));
    assert!(is_light(b"no wasm"));
    assert!(is_light(b"\0asm\x0d\0\x01\0\x01\xff"));
}

#[test]
fn a_large_function_is_not_light_and_much_code_is_not() {
    let body = |bytes: u64| "(nop)".repeat(usize::try_from(bytes).unwrap());
    assert!(is_light(&function(0, &body(MAX_LIGHT_FUNCTION_BYTES - 8))));
    assert!(!is_light(&function(0, &body(MAX_LIGHT_FUNCTION_BYTES + 1))));
    let one = format!("(func {})", body(MAX_LIGHT_FUNCTION_BYTES - 16));
    let functions = |count| wasm(&format!("(module {})", one.repeat(count)));
    assert!(is_light(&functions(16)));
    assert!(!is_light(&functions(17)));
}

#[test]
fn variables_that_live_across_many_branches_are_not_light() {
    // 1500 branches, 1500 variables: 14 KiB.
    let branch = "(if (local.get 0) (then (nop)))".repeat(1500);
    let uses: String = (1..=1500)
        .map(|at| format!("(drop (local.get {at}))"))
        .collect();
    assert!(!is_light(&function(1500, &format!("{branch}{uses}"))));
    assert!(is_light(&function(1500, &uses)), "no branch");
    assert!(is_light(&function(1500, &branch)), "none is touched");
    // The same, in parts.
    let few = |count: usize| {
        let branch = "(if (local.get 0) (then (local.set 500 (i32.const 1))))".repeat(500);
        let one = format!("(func (param i32) (local {}) {branch})", "i32 ".repeat(500));
        wasm(&format!("(module {})", one.repeat(count)))
    };
    assert!(is_light(&few(3)));
    assert!(!is_light(&few(4)));
}

#[test]
fn types_that_make_many_values_of_one_instruction_are_not_light() {
    let of = |params: usize, results: usize| {
        wasm(&format!(
            "(module (type (func (param {}) (result {}))))",
            "i32 ".repeat(params),
            "i32 ".repeat(results)
        ))
    };
    assert!(is_light(&of(MAX_LIGHT_PARAMS, MAX_LIGHT_RESULTS)));
    assert!(!is_light(&of(MAX_LIGHT_PARAMS + 1, 0)));
    assert!(!is_light(&of(0, MAX_LIGHT_RESULTS + 1)));
    let block = "(block (param i32) (result i32))";
    assert!(!is_light(&function(
        0,
        &format!("(drop (local.get 0) {block})")
    )));
}

#[test]
fn components_within_components_that_compute_are_not_light() {
    let inner = r#"(core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func (export "f") (canon lift (core func $i "f")))"#;
    assert!(is_light(&wasm(&format!("(component {inner})"))));
    assert!(!is_light(&wasm(&format!(
        "(component (component {inner}))"
    ))));
    assert!(is_light(&wasm("(component (component))")));
}
