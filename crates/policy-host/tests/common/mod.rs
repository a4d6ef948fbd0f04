//! Tiny guests, written in WAT against the canonical ABI and wrapped as components; and exchanges to run them on.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod filter;
pub mod lines;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use policy_host::{
    Chain, ExchangeContext, Grant, HostConfig, Identity, LoadError, ManualClock, OnFault, Policy,
    PolicyHost, PolicySpec, PrimitiveCaps, Primitives, RequestInfo, RequestParts, ResponseParts,
    Source, at_once,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;
use wit_parser::abi::WasmType;

/// Hook and import names, as core modules spell them.
pub const ON_REQUEST: &str = "veilgate:policy/request-hook@0.2.1#on-request";
pub const ON_RESPONSE: &str = "veilgate:policy/response-hook@0.2.1#on-response";
pub const CONFIGURE: &str = "veilgate:policy/lifecycle@0.2.1#configure";
pub const BEFORE: &str = "veilgate:policy/attempt-hook@0.2.1#before";
pub const AFTER: &str = "veilgate:policy/outcome-hook@0.2.1#after";

/// Memory of two pages; what the host passes in goes to the second, which every hook that calls `$reset` begins afresh. Address
/// 4096 is never written: 96 zero bytes there are an empty decision, an `ok`, a default choice.
const PRELUDE: &str = r#"
  (memory (export "memory") 2)
  (global $next (mut i32) (i32.const 65536))
  (func $reset (global.set $next (i32.const 65536)))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    (global.set $next (i32.add (local.get $at) (local.get 3)))
    (local.get $at))
"#;

/// A component of `world` in `worlds.wit`, from imports and a body.
pub fn component(world: &str, imports: &str, body: &str) -> Vec<u8> {
    component_of(world, &format!("{imports} {PRELUDE} {body}"))
}

/// The same, of everything that is in a module.
pub fn component_of(world: &str, module: &str) -> Vec<u8> {
    let text = format!("(module {module})");
    let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let mut resolve = Resolve::default();
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common");
    resolve
        .push_file(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../guest-sdk/wit/policy.wit"
        ))
        .unwrap();
    resolve.push_file(format!("{here}/wasi.wit")).unwrap();
    resolve.push_file(format!("{here}/other.wit")).unwrap();
    let package = resolve.push_file(format!("{here}/worlds.wit")).unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
    let mut encoder = ComponentEncoder::default();
    encoder.module(&module).unwrap();
    encoder.validate(true).encode().unwrap()
}

/// A guest of world `bare` whose request hook is `body`; it must leave the address of a decision.
pub fn bare(body: &str) -> Vec<u8> {
    component(
        "bare",
        "",
        &format!("(func (export \"{ON_REQUEST}\") (result i32) {body})"),
    )
}

/// A configure that says yes.
pub fn configured() -> String {
    format!("(func (export \"{CONFIGURE}\") (param i32 i32) (result i32) (i32.const 4096))")
}

/// A core type, as WAT names it.
pub fn name_of(wasm: &WasmType) -> &'static str {
    match wasm {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
    }
}

pub struct Bench {
    pub host: PolicyHost,
    pub primitives: Arc<Primitives>,
    pub clock: Arc<ManualClock>,
}

impl Bench {
    pub fn new() -> Self {
        Self::with_workers(2)
    }

    pub fn with_workers(workers: usize) -> Self {
        let clock = Arc::new(ManualClock::starting_at_ms(1_000_000));
        let config = HostConfig {
            workers,
            max_policies: 8,
            tick: Duration::from_millis(5),
            clock: clock.clone(),
            ..HostConfig::default()
        };
        let host = PolicyHost::new(config).unwrap();
        Self {
            host,
            primitives: Primitives::new(PrimitiveCaps::default()),
            clock,
        }
    }

    pub fn load(&self, spec: PolicySpec) -> Result<Arc<Policy>, LoadError> {
        self.host.load(spec, &self.primitives)
    }

    /// One policy, everything granted.
    pub fn chain(&self, wasm: Vec<u8>, on_fault: OnFault) -> Chain {
        Chain::new(vec![self.load(granted("p", wasm, on_fault)).unwrap()])
    }
}

pub fn granted(name: &str, wasm: Vec<u8>, on_fault: OnFault) -> PolicySpec {
    let mut spec = PolicySpec::new(name, wasm);
    spec.grants = Grant::ALL.to_vec();
    spec.on_fault = on_fault;
    spec
}

/// The upstream's plain 200 is there.
pub fn respond(exchange: &mut ExchangeContext) {
    exchange.response = Some(ResponseParts {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        source: Source::Upstream,
    });
}

pub fn exchange(fields: &[(&str, &str)]) -> ExchangeContext {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    let request = RequestParts {
        method: Method::GET,
        path_and_query: "/a?b=c".into(),
        authority: "example.test".into(),
        headers,
    };
    let info = RequestInfo {
        id: "id-1".into(),
        client: SocketAddr::from(([192, 0, 2, 1], 4711)),
        protocol: "h1",
        tls: false,
        sni: None,
        route: Arc::from("r"),
        received_ms: 1,
        identity: Identity::default(),
    };
    ExchangeContext::new(request, info, None)
}

/// What a chain of policies that never wait comes to.
pub fn now<T>(hook: impl Future<Output = T>) -> T {
    at_once(hook).expect("a policy that never waits waited")
}
