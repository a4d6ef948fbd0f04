//! What is told of a module, whatever its bytes are; nothing of it is run.

mod common;

use policy_host::{HostConfig, Inspection, ModuleKind, PolicyHost};

fn host() -> PolicyHost {
    let config = HostConfig {
        workers: 1,
        max_policies: 1,
        ..HostConfig::default()
    };
    PolicyHost::new(config).unwrap()
}

fn inspect(wasm: &[u8]) -> Inspection {
    host().inspect(wasm)
}

#[test]
fn a_component_tells_its_hooks_imports_and_memory() {
    let found = inspect(&common::bare("(i32.const 4096)"));
    assert_eq!(
        found.kind,
        ModuleKind::Component {
            contract: "0.2.1".into()
        }
    );
    assert_eq!(found.hooks, ["request-hook"]);
    assert!(found.grants.is_empty() && !found.waits && !found.wasi);
    assert_eq!(found.memories, [2 * 65_536]);
    assert_eq!(found.direct, Some(Ok(())));
    let compiled = found.compiled.unwrap().unwrap();
    assert!(compiled.bytes > 0 && !compiled.took.is_zero());
}

#[test]
fn what_is_none_is_told_apart_and_why() {
    for (wat, words) in [
        ("(module)", "no proxy-wasm filter"),
        ("(component)", "neither imports nor exports"),
        (
            "(component (import \"veilgate:policy/kv@0.1.0\" (instance)))",
            "version 0.1.0",
        ),
        (
            "(component (import \"veilgate:policy/kv@0.2.1\" (instance)))",
            "no hook",
        ),
        (
            "(component (import \"veilgate:policy/kv@0.2.1\" (instance)) (import \"veilgate:policy/log@0.3.0\" (instance)))",
            "several versions",
        ),
    ] {
        let ModuleKind::Neither { why } = inspect(&wat::parse_str(wat).unwrap()).kind else {
            panic!("{wat} is a policy");
        };
        assert!(why.contains(words), "{words}: {why}");
    }
    assert!(matches!(inspect(b"").kind, ModuleKind::Neither { .. }));
}

#[test]
fn wasi_and_calls_make_a_policy_that_waits() {
    let text = "(component (import \"wasi:io/poll@0.2.3\" (instance)) (import \"veilgate:policy/http-call@0.2.1\" (instance)))";
    let found = inspect(&wat::parse_str(text).unwrap());
    assert!(found.waits && found.wasi);
    assert_eq!(found.grants, ["http-call"]);
    let filter = "(module (import \"wasi_snapshot_preview1\" \"fd_write\" (func)) (func (export \"proxy_abi_version_0_2_1\"))
        (func (export \"proxy_on_request_headers\")))";
    let found = inspect(&wat::parse_str(filter).unwrap());
    assert_eq!(
        found.kind,
        ModuleKind::ProxyWasm {
            abi: "0.2.1".into()
        }
    );
    assert_eq!(found.hooks, ["proxy_on_request_headers"]);
    assert_eq!(found.imports, ["wasi_snapshot_preview1.fd_write"]);
    assert!(found.wasi);
}

#[test]
fn broken_bytes_are_told_as_such_and_harm_nothing() {
    let host = host();
    let whole = common::bare("(i32.const 4096)");
    for at in (0..whole.len()).step_by(5) {
        host.inspect(&whole[..at]);
        for bits in [0xff, 0x01, 0x80] {
            let mut flipped = whole.clone();
            flipped[at] ^= bits;
            let found = host.inspect(&flipped);
            assert_eq!(found.bytes, whole.len());
        }
    }
}
