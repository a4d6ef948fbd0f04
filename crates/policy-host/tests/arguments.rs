//! Every function of the contract, called with arguments that nobody means: the host answers or ends the call, and does the same
//! whether the guest is called directly or as a component.

mod common;

use common::{Bench, CONFIGURE, ON_REQUEST, component, exchange, granted, name_of};
use policy_host::{Chain, HostConfig, OnFault, Outcome, PolicyHost, at_once};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Function, Resolve};

/// What is never called directly, and what only tells types.
const LEFT_OUT: [&str; 3] = ["http-call", "outbox", "types"];
/// Argument lists of each function.
const ROUNDS: u64 = 4;
/// Edges of numbers, of the guest's two pages of memory, of handles that are there (1 to 4) and of cases. Nothing that is written
/// there touches the guest's decision.
const ODD: [u64; 20] = [
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    64,
    1024,
    4000,
    8192,
    65_532,
    65_536,
    131_064,
    131_071,
    131_072,
    0x7fff_ffff,
    0xffff_fff8,
    u64::MAX,
];

fn contract() -> Resolve {
    let mut resolve = Resolve::default();
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../guest-sdk/wit/policy.wit"
    );
    resolve.push_file(file).unwrap();
    resolve
}

/// Steele and Vigna, "Computationally easy, spectrally good multipliers": the same arguments in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
        self.0 >> 33
    }

    fn odd(&mut self) -> u64 {
        ODD[self.next() as usize % ODD.len()]
    }
}

fn constant(ty: &WasmType, numbers: &mut Numbers) -> String {
    let value = numbers.odd();
    match name_of(ty) {
        "i32" => format!("(i32.const {})", value as u32 as i32),
        "i64" => format!("(i64.const {})", value as i64),
        float => format!("({float}.const {value})"),
    }
}

/// What a guest defines when it is configured: the function's name, its import and its call.
const DEFINED: [[&str; 3]; 4] = [
    [
        "[static]limiter.define",
        r#"(import "veilgate:policy/limits@0.2.1" "[static]limiter.define" (func $limiter (param i32 i32 i32 i64 i64 i64 i32)))"#,
        "(call $limiter (i32.const 16) (i32.const 4) (i32.const 0) (i64.const 5) (i64.const 1000) (i64.const 0) (i32.const 1024))",
    ],
    [
        "[static]gate.define",
        r#"(import "veilgate:policy/limits@0.2.1" "[static]gate.define" (func $gate (param i32 i32 i32 i32)))"#,
        "(call $gate (i32.const 16) (i32.const 4) (i32.const 3) (i32.const 1024))",
    ],
    [
        "[static]breaker.define",
        r#"(import "veilgate:policy/breakers@0.2.1" "[static]breaker.define"
             (func $breaker (param i32 i32 i64 i32 f32 i64 f32 i64 i32 i32)))"#,
        "(call $breaker (i32.const 16) (i32.const 4) (i64.const 1000) (i32.const 2) (f32.const 0.5) (i64.const 0)
           (f32.const 0) (i64.const 1000) (i32.const 1) (i32.const 1024))",
    ],
    [
        "[static]store.open",
        r#"(import "veilgate:policy/kv@0.2.1" "[static]store.open" (func $store (param i32 i32 i32)))"#,
        "(call $store (i32.const 16) (i32.const 4) (i32.const 1024))",
    ],
];

/// A guest that has a limiter, a gate, a breaker and a store, in this order, and calls one function on a request. What is imported
/// twice is not called directly: of what it calls it has none.
fn guest(
    resolve: &Resolve,
    interface: &str,
    function: &Function,
    numbers: &mut Numbers,
) -> Vec<u8> {
    let signature = resolve.wasm_signature(AbiVariant::GuestImport, function);
    let params: Vec<&str> = signature.params.iter().map(name_of).collect();
    let results: Vec<&str> = signature.results.iter().map(name_of).collect();
    let arguments: Vec<String> = signature
        .params
        .iter()
        .map(|ty| constant(ty, numbers))
        .collect();
    let defined = DEFINED.iter().filter(|[name, ..]| *name != function.name);
    let (mut imports, mut definitions) = (String::new(), String::new());
    for [_, import, call] in defined {
        imports += import;
        definitions += call;
    }
    imports += &format!(
        r#"(import "veilgate:policy/{interface}@0.2.1" "{}" (func $called (param {}) (result {})))"#,
        function.name,
        params.join(" "),
        results.join(" ")
    );
    let body = format!(
        r#"(data (i32.const 16) "name")
        (func (export "{CONFIGURE}") (param i32 i32) (result i32) {definitions} (i32.const 4096))
        (func (export "{ON_REQUEST}") (result i32)
          (call $reset) (call $called {}) {} (i32.const 4096))"#,
        arguments.join(" "),
        "drop ".repeat(results.len()),
    );
    component("anything", &imports, &body)
}

/// Whether the call went well, and what is left of the request.
fn outcome(host: &PolicyHost, wasm: &[u8], direct: bool) -> (bool, String) {
    let bench = Bench::new();
    let spec = granted("p", wasm.to_vec(), OnFault::Deny);
    let policy = host.load(spec, &bench.primitives).unwrap();
    assert_eq!(policy.is_direct(), direct);
    let mut exchange = exchange(&[("name", "value")]);
    let outcome = at_once(Chain::new(vec![policy]).on_request(&mut exchange)).unwrap();
    let request = &exchange.request;
    let seen = format!(
        "{} {} {:?}",
        request.path_and_query, request.authority, request.headers
    );
    (matches!(outcome, Outcome::Continue), seen)
}

#[test]
fn whatever_a_guest_passes_the_host_answers_or_ends_the_call_alike() {
    let resolve = contract();
    let hosts = [true, false].map(|direct| {
        let config = HostConfig {
            workers: 1,
            max_policies: 1,
            direct,
            ..HostConfig::default()
        };
        (PolicyHost::new(config).unwrap(), direct)
    });
    let mut numbers = Numbers(1);
    let (mut functions, mut well) = (0, 0);
    for (_, interface) in &resolve.interfaces {
        let name = interface.name.as_deref().unwrap();
        if LEFT_OUT.contains(&name) || name.ends_with("-hook") || name == "lifecycle" {
            continue;
        }
        for function in interface.functions.values() {
            functions += 1;
            for round in 0..ROUNDS {
                let wasm = guest(&resolve, name, function, &mut numbers);
                let [direct, component] = hosts
                    .each_ref()
                    .map(|(host, direct)| outcome(host, &wasm, *direct));
                assert_eq!(direct, component, "{name}.{}, round {round}", function.name);
                well += u32::from(direct.0);
            }
        }
    }
    assert!(functions > 70, "{functions} functions");
    assert!(
        well > 100,
        "only {well} calls went well: too few to say anything"
    );
}
