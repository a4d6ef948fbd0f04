//! From bytes to something that can be instantiated: compiled, its imports held against what was granted, its hooks looked up once.

use wasmtime::component::{InstancePre, Linker};
use wasmtime::{Engine, Store};

use crate::compile::Compiler;
use crate::direct;
use crate::error::LoadError;
use crate::hooks::{Exported, Hook, Hooks};
use crate::host;
use crate::spec::{Grant, PolicySpec};
use crate::state::HostState;
use crate::tier::Tier;

/// The contract's package; a version that adds to it keeps the first two numbers.
const PACKAGE: &str = "veilgate:policy/";
pub(crate) const VERSION_LINE: &str = "0.2.";
const BASICS: [&str; 8] = [
    "types", "request", "response", "log", "clock", "random", "metrics", "scope",
];
/// Interfaces that suspend who calls them.
const WAITING: [&str; 2] = ["veilgate:policy/http-call@", "veilgate:policy/outbox@"];
/// Suspends if the limits are kept in a store outside.
const LIMITS: &str = "veilgate:policy/limits@";
/// What there is of WASI 0.2: nothing behind it but clocks, random numbers and the log.
const WASI: [&str; 6] = [
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:io/",
    "wasi:random/",
    "wasi:sockets/",
];
const HOOKS: &str =
    "request-hook, attempt-hook, outcome-hook, response-hook, complete-hook, tick-hook";

/// A policy's code, ready to be instantiated.
#[derive(Clone)]
pub(crate) struct Module {
    pub(crate) code: Code,
    /// Whether a call of it may be suspended.
    pub(crate) waits: bool,
    /// Whether it imports WASI.
    pub(crate) wasi: bool,
    pub(crate) tier: Tier,
}

/// By the way in which it is called.
#[derive(Clone)]
pub(crate) enum Code {
    Component {
        pre: InstancePre<HostState>,
        exported: Exported,
    },
    Direct(direct::Linked),
}

impl Code {
    pub(crate) fn engine(&self) -> &Engine {
        match self {
            Code::Component { pre, .. } => pre.engine(),
            Code::Direct(linked) => linked.engine(),
        }
    }

    pub(crate) fn has(&self, hook: Hook) -> bool {
        match self {
            Code::Component { exported, .. } => exported.has(hook),
            Code::Direct(linked) => linked.has(hook),
        }
    }

    pub(crate) fn is_direct(&self) -> bool {
        matches!(self, Code::Direct(_))
    }

    /// A new instance's hooks. On the caller's thread.
    pub(crate) fn instantiate(&self, store: &mut Store<HostState>) -> wasmtime::Result<Hooks> {
        match self {
            Code::Component { pre, exported } => {
                let instance = pre.instantiate(&mut *store)?;
                Hooks::of_component(exported, store, &instance)
            }
            Code::Direct(linked) => {
                let instance = linked.instantiate(store)?;
                Hooks::of_direct(&instance, store)
            }
        }
    }

    /// The same; what it does meanwhile may wait.
    pub(crate) async fn instantiate_async(
        &self,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<Hooks> {
        match self {
            Code::Component { pre, exported } => {
                let instance = pre.instantiate_async(&mut *store).await?;
                Hooks::of_component(exported, store, &instance)
            }
            // What waits is never called directly.
            Code::Direct(_) => self.instantiate(store),
        }
    }
}

/// What modules are linked with.
pub(crate) struct Linkers {
    /// Everything that is always granted.
    pub(crate) basics: Linker<HostState>,
    /// For guests that are called directly. None: none is.
    pub(crate) direct: Option<direct::Host>,
}

pub(crate) fn load(
    compiler: &Compiler,
    linkers: &Linkers,
    spec: &PolicySpec,
) -> Result<Module, LoadError> {
    if !spec.wasm.starts_with(MAGIC) {
        return Err(LoadError::NotWasm {
            policy: spec.name.clone(),
        });
    }
    let direct = linkers.direct.as_ref();
    match direct.and_then(|host| Some((host, to_call_directly(spec)?))) {
        Some((host, core)) => directly(compiler, host, spec, &core),
        None => as_component(compiler, &linkers.basics, spec),
    }
}

/// Whether the interface suspends who calls it.
pub(crate) fn suspends(import: &str) -> bool {
    WAITING.iter().any(|name| import.starts_with(name))
}

/// None: it is none, or it may wait.
fn to_call_directly(spec: &PolicySpec) -> Option<direct::Core<'_>> {
    let core = direct::Core::of(&spec.wasm).inspect_err(|unlike| {
        tracing::debug!(target: "policy", policy = spec.name, because = %unlike, "it is called as a component");
    });
    let stored = |import: &&str| spec.shared_limits && import.starts_with(LIMITS);
    let waits = |core: &direct::Core<'_>| spec.may_wait || core.interfaces.iter().any(stored);
    core.ok().filter(|core| !waits(core))
}

fn directly(
    compiler: &Compiler,
    host: &direct::Host,
    spec: &PolicySpec,
    core: &direct::Core<'_>,
) -> Result<Module, LoadError> {
    for import in &core.interfaces {
        check_import(spec, import)?;
    }
    let made = compiler
        .module(core.module, spec.effort)
        .map_err(|error| not_compiled(spec, &error))?;
    let linked = host
        .link(&made.code)
        .map_err(|error| contract(spec, "imports", &error))?;
    let code = checked(spec, Code::Direct(linked))?;
    Ok(Module {
        code,
        waits: false,
        wasi: false,
        tier: made.tier,
    })
}

fn not_compiled(spec: &PolicySpec, error: &wasmtime::Error) -> LoadError {
    LoadError::Compile {
        policy: spec.name.clone(),
        detail: format!("{error:#}"),
    }
}

fn as_component(
    compiler: &Compiler,
    basics: &Linker<HostState>,
    spec: &PolicySpec,
) -> Result<Module, LoadError> {
    let engine = compiler.engine();
    let made = compiler
        .component(&spec.wasm, spec.effort)
        .map_err(|error| not_compiled(spec, &error))?;
    let component = made.code;
    let (mut waits, mut wasi, mut shared_limits) = (spec.may_wait, false, false);
    for (import, _) in component.component_type().imports(engine) {
        check_import(spec, import)?;
        wasi |= is_wasi(import);
        waits |= wasi || suspends(import);
        shared_limits |= spec.shared_limits && import.starts_with(LIMITS);
    }
    let mut linker = basics.clone();
    for grant in Grant::ALL
        .into_iter()
        .filter(|grant| spec.grants.contains(grant))
    {
        host::link_grant(&mut linker, grant)
            .map_err(|error| contract(spec, grant.name(), &error))?;
    }
    if shared_limits {
        host::shared_limits::link(&mut linker)
            .map_err(|error| contract(spec, Grant::Limits.name(), &error))?;
    }
    if wasi {
        host::wasi::link(&mut linker).map_err(|error| contract(spec, "wasi", &error))?;
    }
    let pre = linker
        .instantiate_pre(&component)
        .map_err(|error| contract(spec, "imports", &error))?;
    let exported = exported(spec, &pre)?;
    let code = checked(spec, Code::Component { pre, exported })?;
    Ok(Module {
        code,
        waits: waits || shared_limits,
        wasi,
        tier: made.tier,
    })
}

/// How every Wasm file begins, whatever its layer.
const MAGIC: &[u8] = b"\0asm";

/// A core module's header: the magic, then version 1 and layer 0. A component's layer is 1.
pub(crate) fn is_core_module(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0asm\x01\0\0\0")
}

fn contract(spec: &PolicySpec, interface: &str, error: &wasmtime::Error) -> LoadError {
    LoadError::Contract {
        policy: spec.name.clone(),
        interface: interface.to_owned(),
        detail: format!("{error:#}"),
    }
}

fn is_wasi(import: &str) -> bool {
    let version = import.rsplit_once('@').map(|(_, version)| version);
    version.is_some_and(|version| version.starts_with(VERSION_LINE))
        && WASI.iter().any(|package| import.starts_with(package))
}

fn check_import(spec: &PolicySpec, import: &str) -> Result<(), LoadError> {
    let unknown = |advice| {
        Err(LoadError::UnknownImport {
            policy: spec.name.clone(),
            import: import.to_owned(),
            advice,
        })
    };
    if is_wasi(import) {
        return Ok(());
    }
    if import.starts_with("wasi:") {
        return unknown(
            "of WASI 0.2 there are cli, clocks, filesystem, io, random and sockets, all of them empty: build for wasm32-unknown-unknown, \
             for wasm32-wasip2, or with stubs for the rest",
        );
    }
    let Some((interface, version)) = import
        .strip_prefix(PACKAGE)
        .and_then(|rest| rest.split_once('@'))
    else {
        return unknown("a policy imports interfaces of `veilgate:policy` only");
    };
    if !version.starts_with(VERSION_LINE) {
        return unknown(
            "this gateway speaks version 0.2 of the contract: rebuild the policy with the SDK of this release",
        );
    }
    if BASICS.contains(&interface) {
        return Ok(());
    }
    match interface.parse::<Grant>() {
        Ok(grant) if spec.grants.contains(&grant) => Ok(()),
        Ok(grant) => Err(LoadError::NotGranted {
            policy: spec.name.clone(),
            interface: import.to_owned(),
            grant: grant.name().to_owned(),
        }),
        Err(_) => unknown("the contract has no such interface in this version"),
    }
}

fn exported(spec: &PolicySpec, pre: &InstancePre<HostState>) -> Result<Exported, LoadError> {
    Exported::find(pre.component()).map_err(|hook| {
        let (interface, function) = hook.names();
        let error = wasmtime::Error::msg(format!("it has no function `{function}`"));
        contract(spec, interface, &error)
    })
}

/// It has something to call, and something that takes its configuration, if it is given one.
fn checked(spec: &PolicySpec, code: Code) -> Result<Code, LoadError> {
    let called = |hook: &Hook| *hook != Hook::Configure && code.has(*hook);
    if !Hook::ALL.iter().any(called) {
        return Err(LoadError::NoHook {
            policy: spec.name.clone(),
            expected: HOOKS,
        });
    }
    if !code.has(Hook::Configure) && !is_empty_config(&spec.config_json) {
        return Err(LoadError::NotConfigurable {
            policy: spec.name.clone(),
        });
    }
    Ok(code)
}

fn is_empty_config(json: &str) -> bool {
    let squeezed: String = json.chars().filter(|c| !c.is_whitespace()).collect();
    ["{}", "null", ""].contains(&squeezed.as_str())
}
