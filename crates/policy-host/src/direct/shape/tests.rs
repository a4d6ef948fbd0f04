use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::{core_module, interface_of};
use crate::direct::contract::speaks;

const CONTRACT: &str = include_str!("../../../../../guest-sdk/wit/policy.wit");

/// A guest that uses all ways in which an import reaches a module: at once (`now-ms`), by way of a trampoline (`header`, which needs
/// the memory), as a method, and as the end of a resource.
const GUEST: &str = r#"(module
  (import "veilgate:policy/clock@0.2.1" "now-ms" (func (result i64)))
  (import "veilgate:policy/request@0.2.1" "header" (func (param i32 i32 i32)))
  (import "veilgate:policy/limits@0.2.1" "[method]limiter.take" (func (param i32 i32 i32 i64 i32)))
  (import "veilgate:policy/limits@0.2.1" "[resource-drop]limiter" (func (param i32)))
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))
  (func (export "veilgate:policy/lifecycle@0.2.1#configure") (param i32 i32) (result i32) (i32.const 0))
  (func (export "cabi_post_veilgate:policy/lifecycle@0.2.1#configure") (param i32))
  (func (export "veilgate:policy/request-hook@0.2.1#on-request") (result i32) (i32.const 0))
  (; more ;))"#;

fn encoder(text: &str, encoding: StringEncoding) -> ComponentEncoder {
    let mut module = wat::parse_str(text).unwrap();
    let mut resolve = Resolve::default();
    let package = resolve.push_str("policy.wit", CONTRACT).unwrap();
    let world = resolve
        .select_world(&[package], Some("request-policy"))
        .unwrap();
    embed_component_metadata(&mut module, &resolve, world, encoding, false).unwrap();
    let mut encoder = ComponentEncoder::default();
    encoder.module(&module).unwrap();
    encoder.validate(true);
    encoder
}

fn component(text: &str) -> Vec<u8> {
    encoder(text, StringEncoding::UTF8).encode().unwrap()
}

fn with(more: &str) -> String {
    changed(GUEST, "(; more ;)", more)
}

fn changed(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "nothing to change: {from}");
    text.replacen(from, to, 1)
}

fn refusal(wasm: &[u8]) -> String {
    match core_module(wasm) {
        Ok(_) => panic!("it should be of another shape"),
        Err(unlike) => unlike.to_string(),
    }
}

#[test]
fn what_is_made_of_one_module_gives_it_back() {
    for debug_names in [true, false] {
        let mut encoder = encoder(GUEST, StringEncoding::UTF8);
        let wasm = encoder.debug_names(debug_names).encode().unwrap();
        let range = core_module(&wasm).unwrap();
        let module = &wasm[range];
        assert!(module.starts_with(b"\0asm\x01\0\0\0"));
        wasmparser::validate(module).unwrap();
        speaks(&wasm).unwrap();
    }
}

#[test]
fn a_guest_without_imports_or_with_an_initializer_gives_its_module_back() {
    let lines: Vec<&str> = GUEST
        .lines()
        .filter(|line| !line.contains("(import"))
        .collect();
    core_module(&component(&lines.join("\n"))).unwrap();
    let wasm = component(&with("(func (export \"_initialize\"))"));
    core_module(&wasm).unwrap();
    let wasm = changed(
        &lines.join("\n"),
        "(; more ;)",
        "(func (export \"_initialize\"))",
    );
    core_module(&component(&wasm)).unwrap();
}

#[test]
fn what_the_encoder_can_make_beyond_that_is_refused() {
    let utf16 = encoder(GUEST, StringEncoding::UTF16).encode().unwrap();
    assert_eq!(refusal(&utf16), "its strings are not UTF-8");
    let latin = encoder(GUEST, StringEncoding::CompactUTF16)
        .encode()
        .unwrap();
    assert_eq!(refusal(&latin), "its strings are not UTF-8");

    let calls = "(import \"old\" \"f\" (func))\n  (memory";
    let mut adapted = encoder(&changed(GUEST, "(memory", calls), StringEncoding::UTF8);
    let adapter = wat::parse_str("(module (func (export \"f\")))").unwrap();
    let wasm = adapted.adapter("old", &adapter).unwrap().encode().unwrap();
    let said = refusal(&wasm);
    assert!(said.contains("besides the main one"), "{said}");

    let mut referring = encoder(GUEST, StringEncoding::UTF8);
    let wasm = referring.shim_return_call_ref(true).encode().unwrap();
    let said = refusal(&wasm);
    assert!(said.contains("besides the main one"), "{said}");
}

#[test]
fn a_module_or_nothing_is_no_component() {
    assert_eq!(
        refusal(&wat::parse_str(GUEST).unwrap()),
        "it is no component"
    );
    refusal(b"");
    refusal(b"veilgate");
}

/// By hand what the encoder makes, so that every part of it can be made otherwise.
const BY_HAND: &str = r#"(component
  (import "veilgate:policy/clock@0.2.1" (instance $clock
    (export "now-ms" (func (result u64)))
    (export "monotonic-ns" (func (result u64)))))
  (import "veilgate:policy/request@0.2.1" (instance $request
    (export "path" (func (result string)))
    (export "method" (func (result string)))))
  (import "veilgate:policy/limits@0.2.1" (instance $limits
    (export "limiter" (type (sub resource)))
    (export "gate" (type (sub resource)))))
  (core module $main
    (import "veilgate:policy/clock@0.2.1" "now-ms" (func (result i64)))
    (import "veilgate:policy/request@0.2.1" "path" (func (param i32)))
    (import "veilgate:policy/request@0.2.1" "method" (func (param i32)))
    (import "veilgate:policy/limits@0.2.1" "[resource-drop]limiter" (func (param i32)))
    (memory (export "memory") 1)
    (memory (export "second") 1)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
    (func (export "other_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
    (func (export "_initialize"))
    (func (export "veilgate:policy/tick-hook@0.2.1#on-tick"))
    (func (export "cabi_post_veilgate:policy/tick-hook@0.2.1#on-tick"))
    (func (export "other")))
  (core module $trampolines
    (type (func (param i32)))
    (table (export "$imports") 2 2 funcref)
    (func (export "0") (type 0) local.get 0 i32.const 0 call_indirect (type 0))
    (func (export "1") (type 0) local.get 0 i32.const 1 call_indirect (type 0)))
  (core module $filling
    (import "actual" "0" (func $path (param i32)))
    (import "actual" "1" (func $method (param i32)))
    (import "main" "_initialize" (func $initialize))
    (import "main" "other" (func $other))
    (import "shim" "$imports" (table 2 2 funcref))
    (elem (i32.const 0) func $path $method)
    (start $initialize))
  (core instance $shim (instantiate $trampolines))
  (core func $now (canon lower (func $clock "now-ms")))
  (alias export $limits "limiter" (type $limiter))
  (alias export $limits "gate" (type $gate))
  (core func $drop (canon resource.drop $limiter))
  (core instance $clock-functions (export "now-ms" (func $now)))
  (alias core export $shim "0" (core func $path))
  (alias core export $shim "1" (core func $method))
  (core instance $request-functions
    (export "path" (func $path))
    (export "method" (func $method)))
  (core instance $limits-functions (export "[resource-drop]limiter" (func $drop)))
  (core instance $made (instantiate $main
    (with "veilgate:policy/clock@0.2.1" (instance $clock-functions))
    (with "veilgate:policy/request@0.2.1" (instance $request-functions))
    (with "veilgate:policy/limits@0.2.1" (instance $limits-functions))))
  (alias core export $made "memory" (core memory $memory))
  (alias core export $made "cabi_realloc" (core func $realloc))
  (core func $path-lowered
    (canon lower (func $request "path") (memory $memory) (realloc $realloc) string-encoding=utf8))
  (core func $method-lowered
    (canon lower (func $request "method") (memory $memory) (realloc $realloc) string-encoding=utf8))
  (core instance $actual
    (export "0" (func $path-lowered))
    (export "1" (func $method-lowered)))
  (core instance $filled (instantiate $filling
    (with "actual" (instance $actual))
    (with "main" (instance $made))
    (with "shim" (instance $shim))))
  (alias core export $made "veilgate:policy/tick-hook@0.2.1#on-tick" (core func $core-tick))
  (alias core export $made "cabi_post_veilgate:policy/tick-hook@0.2.1#on-tick" (core func $core-post))
  (func $tick (canon lift (core func $core-tick) (post-return $core-post)))
  (component $wrapping
    (import "import-func-on-tick" (func $import))
    (export "on-tick" (func $import)))
  (instance $hook (instantiate $wrapping (with "import-func-on-tick" (func $tick))))
  (export "veilgate:policy/tick-hook@0.2.1" (instance $hook))
  (; more ;))"#;

fn by_hand(from: &str, to: &str) -> Vec<u8> {
    let text = changed(BY_HAND, from, to);
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{from} -> {to}: {error}"))
}

#[test]
fn every_part_is_held_to_what_the_encoder_makes() {
    let wasm = by_hand("(; more ;)", "");
    core_module(&wasm).unwrap();
    speaks(&wasm).unwrap();

    let other = [
        // An import that is another function than its name says: at once, by way of a trampoline, at the end of a resource.
        ("(func $clock \"now-ms\")", "(func $clock \"monotonic-ns\")"),
        ("(func $request \"path\")", "(func $request \"method\")"),
        (
            "(elem (i32.const 0) func $path $method)",
            "(elem (i32.const 0) func $method $path)",
        ),
        (
            "(elem (i32.const 0) func $path $method)",
            "(elem (i32.const 1) func $path)",
        ),
        (
            "(elem (i32.const 0) func $path $method)",
            "(elem (i32.const 0) func $path)",
        ),
        (
            "(elem (i32.const 0) func $path $method)",
            "(elem (i32.const 0) func $path $method) (elem (i32.const 0) func $method)",
        ),
        (
            "(export \"0\" (func $path-lowered))\n    (export \"1\" (func $method-lowered))",
            "(export \"1\" (func $path-lowered))\n    (export \"0\" (func $method-lowered))",
        ),
        (
            "(export \"path\" (func $path))",
            "(export \"path\" (func $method))",
        ),
        ("resource.drop $limiter", "resource.drop $gate"),
        (
            "(import \"veilgate:policy/limits@0.2.1\" \"[resource-drop]limiter\"",
            "(import \"veilgate:policy/limits@0.2.1\" \"[resource-drop]gate\"",
        ),
        // Trampolines that do something else.
        (
            "local.get 0 i32.const 0 call_indirect",
            "local.get 0 i32.const 1 call_indirect",
        ),
        (
            "local.get 0 i32.const 0 call_indirect",
            "local.get 0 nop i32.const 0 call_indirect",
        ),
        ("local.get 0 i32.const 0 call_indirect (type 0)", "nop"),
        (
            "(type 0) local.get 0 i32.const 0",
            "(type 0) (local i32) local.get 0 i32.const 0",
        ),
        ("local.get 0 i32.const 0", "i32.const 0 i32.const 0"),
        (
            "(table (export \"$imports\") 2 2 funcref)",
            "(table (export \"$imports\") 1 2 funcref)",
        ),
        (
            "(type (func (param i32)))",
            "(type (func (param i32))) (global i32 (i32.const 0))",
        ),
        // Filling that does something else.
        ("(start $initialize)", "(start $other)"),
        ("(start $initialize)", ""),
        (
            "(start $initialize)",
            "(func $both (call $initialize) (call $other)) (start $both)",
        ),
        (
            "(import \"main\" \"other\" (func $other))",
            "(import \"main\" \"memory\" (memory 1))",
        ),
        // Another memory, allocator, encoding.
        ("$made \"memory\"", "$made \"second\""),
        ("$made \"cabi_realloc\"", "$made \"other_realloc\""),
        ("string-encoding=utf8", "string-encoding=utf16"),
        ("string-encoding=utf8", "string-encoding=latin1+utf16"),
        (
            "(memory (export \"memory\") 1)",
            "(memory (export \"memory\") 1 1 shared)",
        ),
        // After the call.
        (" (post-return $core-post)", ""),
        (
            "$made \"cabi_post_veilgate:policy/tick-hook@0.2.1#on-tick\"",
            "$made \"other\"",
        ),
        // Another function under the hook's name.
        (
            "$made \"veilgate:policy/tick-hook@0.2.1#on-tick\"",
            "$made \"other\"",
        ),
        (
            "(export \"on-tick\" (func $import))",
            "(export \"on-tock\" (func $import))",
        ),
        (
            "(export \"veilgate:policy/tick-hook@0.2.1\"",
            "(export \"veilgate:policy/tick-hook@0.2.9\"",
        ),
        (
            "(export \"veilgate:policy/tick-hook@0.2.1\"",
            "(export \"wasi:cli/run@0.2.0\"",
        ),
        (
            "(export \"on-tick\" (func $import))",
            "(core module) (export \"on-tick\" (func $import))",
        ),
        (
            "(export \"on-tick\" (func $import))",
            "(component) (export \"on-tick\" (func $import))",
        ),
        // A hook that the component does not export, so that it has no type.
        (
            "(func (export \"other\"))",
            "(func (export \"other\")) (func (export \"veilgate:policy/tick-hook@0.2.9#on-tick\"))",
        ),
        (
            "(export \"veilgate:policy/tick-hook@0.2.1\" (instance $hook))",
            "",
        ),
        // Imports of other kinds, and other names.
        (
            "(import \"veilgate:policy/clock@0.2.1\" (instance",
            "(import \"veilgate:policy/clock@0.2.9\" (instance",
        ),
        (
            "(import \"veilgate:policy/clock@0.2.1\" (instance",
            "(import \"wasi:clocks/clock@0.2.0\" (instance",
        ),
        ("(component\n", "(component (import \"f\" (func))\n"),
        ("(component\n", "(component (import \"m\" (core module))\n"),
        (
            "(memory (export \"memory\") 1)",
            "(memory (export \"memory\") (import \"veilgate:policy/clock@0.2.1\" \"memory\") 1)",
        ),
        // More than there should be.
        ("(; more ;)", "(core module)"),
        ("(; more ;)", "(core instance (instantiate $trampolines))"),
        ("(; more ;)", "(export \"tick\" (func $tick))"),
        ("(; more ;)", "(start $tick)"),
        ("(; more ;)", "(core type (func))"),
        (
            "(; more ;)",
            "(type $own (resource (rep i32))) (core func (canon resource.drop $own))",
        ),
        ("(; more ;)", "(core func (canon lower (func $tick)))"),
        ("(; more ;)", "(instance (export \"a\" (func $tick)))"),
    ];
    for (from, to) in other {
        let text = changed(BY_HAND, from, to);
        let Ok(wasm) = wat::parse_str(&text) else {
            panic!("{from} -> {to}: {}", wat::parse_str(&text).unwrap_err());
        };
        if let Ok(range) = core_module(&wasm) {
            panic!("{from} -> {to}: accepted, {range:?}");
        }
    }
}

#[test]
fn a_refusal_says_what_is_imported() {
    let wasm = by_hand(
        "(import \"veilgate:policy/clock@0.2.1\" (instance",
        "(import \"wasi:clocks/clock@0.2.0\" (instance",
    );
    assert_eq!(refusal(&wasm), "it imports wasi:clocks/clock@0.2.0");
}

#[test]
fn an_interface_has_its_package_and_line() {
    assert_eq!(interface_of("veilgate:policy/log@0.2.1"), Some("log"));
    for other in [
        "veilgate:policy/log",
        "veilgate:policy/log@0.2",
        "veilgate:policy/log@0.2.",
        "veilgate:policy/log@0.2.9",
        "veilgate:policy/log@0.2.1-rc",
        "veilgate:policy/log@0.3.0",
        "veilgate:policy/@0.2.0",
        "other:policy/log@0.2.0",
        "log",
    ] {
        assert_eq!(interface_of(other), None, "{other}");
    }
}

#[test]
fn any_part_of_a_component_and_any_changed_byte_is_read_without_a_panic() {
    for wasm in [component(GUEST), by_hand("(; more ;)", "")] {
        for length in 0..wasm.len() {
            let part = &wasm[..length];
            // Whether it was whole without the names at its end is not asked here.
            let _ = (core_module(part), speaks(part));
        }
        let mut changed = wasm.clone();
        for at in 0..wasm.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff, wasm[at] ^ 1] {
                changed[at] = value;
                let _ = core_module(&changed);
            }
            changed[at] = wasm[at];
        }
    }
}

#[test]
fn more_than_a_thousand_of_a_kind_are_refused() {
    let many = "(core instance)".repeat(1001);
    let wasm = by_hand("(; more ;)", &many);
    assert_eq!(refusal(&wasm), "it has too many parts");
}
