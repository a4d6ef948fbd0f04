use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Function, Resolve, TypeDefKind};

use super::*;

const CONTRACT: &str = include_str!("../../../../guest-sdk/wit/policy.wit");
/// What waits is never called directly.
const WAITING: [&str; 2] = ["http-call", "outbox"];

fn core(types: &[WasmType]) -> String {
    let one = |ty: &WasmType| match ty {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
    };
    types.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn signature(resolve: &Resolve, variant: AbiVariant, function: &Function) -> String {
    let signature = resolve.wasm_signature(variant, function);
    let (params, results) = (core(&signature.params), core(&signature.results));
    format!("(param {params}) (result {results})")
}

/// A module that imports every function that can be called directly, and exports every hook, as the contract has them.
fn whole_contract() -> String {
    let mut resolve = Resolve::default();
    resolve
        .push_str("policy.wit", CONTRACT)
        .expect("the contract");
    let (mut imports, mut exports) = (String::new(), String::new());
    for (_, interface) in &resolve.interfaces {
        let name = interface.name.as_deref().expect("a name");
        let full = format!("veilgate:policy/{name}@0.2.1");
        let is_hook = name.ends_with("-hook") || name == "lifecycle";
        for function in interface.functions.values() {
            let named = &function.name;
            if is_hook {
                let signature = signature(&resolve, AbiVariant::GuestExport, function);
                exports += &format!("(func (export \"{full}#{named}\") {signature} unreachable)\n");
            } else if !WAITING.contains(&name) {
                let signature = signature(&resolve, AbiVariant::GuestImport, function);
                imports += &format!("(import \"{full}\" \"{named}\" (func {signature}))\n");
            }
        }
        for (named, id) in &interface.types {
            let resource = matches!(resolve.types[*id].kind, TypeDefKind::Resource);
            if resource && !WAITING.contains(&name) {
                imports +=
                    &format!("(import \"{full}\" \"[resource-drop]{named}\" (func (param i32)))\n");
            }
        }
    }
    format!("(module {imports} {exports})")
}

#[test]
fn every_function_of_the_contract_is_linked_and_every_hook_is_found() {
    let engine = Engine::default();
    let module = wat::parse_str(whole_contract()).expect("a module");
    let module = Module::new(&engine, module).expect("a module");
    let host = Host::new(&engine).expect("a linker");
    let linked = host.link(&module).expect("everything that it imports");
    assert!(Hook::ALL.into_iter().all(|hook| linked.has(hook)));
}
