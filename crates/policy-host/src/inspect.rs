//! What a module is, found out without running it: what it exports and imports, what it would have to be granted, what it costs to
//! compile. Every module is hostile: nothing of it is believed that its bytes do not show.

mod structure;

use std::time::{Duration, Instant};

use edge_types::Digest;
use wasmtime::component::Component;

use crate::compile::Compiler;
use crate::direct;
use crate::engine::PolicyHost;
use crate::hooks::Hook;
use crate::module::VERSION_LINE;
use crate::spec::Grant;
use structure::{Layer, Structure};

/// The contract's package.
const PACKAGE: &str = "veilgate:policy/";
/// Capabilities during whose calls a policy is suspended.
const WAITING: [&str; 2] = ["http-call", "outbox"];
/// How a proxy-wasm filter says which version of the ABI it was built for.
const PROXY_ABI: &str = "proxy_abi_version_";
const PROXY_CALLBACK: &str = "proxy_on_";

/// What a module is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModuleKind {
    /// A component on this version of the contract.
    Component { contract: String },
    /// A filter on this version of the proxy-wasm ABI.
    ProxyWasm { abi: String },
    /// Nothing that a gateway would load, and why.
    Neither { why: String },
}

/// What compiling came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compiled {
    /// Machine code and its tables.
    pub bytes: usize,
    pub took: Duration,
}

/// Everything about one module.
#[derive(Debug, Clone)]
pub struct Inspection {
    pub kind: ModuleKind,
    pub bytes: usize,
    /// By which a configuration pins it.
    pub digest: Digest,
    /// `interface`, or `proxy_on_…`: what the host would call.
    pub hooks: Vec<String>,
    /// By their full names, in order.
    pub imports: Vec<String>,
    /// Capabilities that it imports and that have to be granted by name.
    pub grants: Vec<String>,
    /// It imports interfaces of WASI: it would get an empty one.
    pub wasi: bool,
    /// It may be suspended: it would run on instances of its own, and not on the workers'.
    pub waits: bool,
    /// The linear memories with which an instance begins, in bytes.
    pub memories: Vec<u64>,
    /// A component: whether it is called directly, or why the component model stands between.
    pub direct: Option<Result<(), String>>,
    /// Or why it does not compile. None: it was not tried.
    pub compiled: Option<Result<Compiled, String>>,
}

impl PolicyHost {
    /// Takes as long as compiling does. Nothing of the module is run.
    pub fn inspect(&self, wasm: &[u8]) -> Inspection {
        let structure = Structure::read(wasm);
        let mut found = match &structure {
            Ok(structure) => of_structure(structure),
            Err(why) => Found::neither(why.clone()),
        };
        found.imports.sort();
        found.imports.dedup();
        found.grants.sort();
        found.grants.dedup();
        let core = match structure.as_ref().map(|structure| structure.layer) {
            Ok(Layer::Component) => Some(direct::Core::of(wasm)),
            Ok(Layer::Core) | Err(_) => None,
        };
        let (layer, code) = match &core {
            Some(Ok(core)) => (Layer::Core, core.module),
            Some(Err(_)) => (Layer::Component, wasm),
            None => (Layer::Core, wasm),
        };
        let compiled = structure
            .is_ok()
            .then(|| compile(self.compiler(), layer, code));
        Inspection {
            bytes: wasm.len(),
            digest: Digest::of(wasm),
            waits: found.wasi
                || found
                    .grants
                    .iter()
                    .any(|grant| WAITING.contains(&grant.as_str())),
            memories: structure
                .map(|structure| structure.memories)
                .unwrap_or_default(),
            kind: found.kind,
            hooks: found.hooks,
            imports: found.imports,
            grants: found.grants,
            wasi: found.wasi,
            direct: core.map(|core| core.map(drop).map_err(|unlike| unlike.to_string())),
            compiled,
        }
    }
}

fn compile(compiler: &Compiler, layer: Layer, wasm: &[u8]) -> Result<Compiled, String> {
    let began = Instant::now();
    let bytes = match layer {
        Layer::Component => compiler.measure::<Component>(wasm),
        Layer::Core => compiler.measure::<wasmtime::Module>(wasm),
    };
    let took = began.elapsed();
    bytes
        .map(|bytes| Compiled { bytes, took })
        .map_err(|error| format!("{error:#}"))
}

struct Found {
    kind: ModuleKind,
    hooks: Vec<String>,
    imports: Vec<String>,
    grants: Vec<String>,
    wasi: bool,
}

impl Found {
    fn neither(why: impl Into<String>) -> Self {
        Self {
            kind: ModuleKind::Neither { why: why.into() },
            hooks: Vec::new(),
            imports: Vec::new(),
            grants: Vec::new(),
            wasi: false,
        }
    }
}

fn of_structure(structure: &Structure) -> Found {
    match structure.layer {
        Layer::Component => component(structure),
        Layer::Core => core(structure),
    }
}

/// `veilgate:policy/interface@version`, taken apart.
fn contract_name(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix(PACKAGE)?.split_once('@')
}

fn component(structure: &Structure) -> Found {
    let mut found = Found::neither("");
    found.imports.clone_from(&structure.imports);
    let mut versions: Vec<&str> = Vec::new();
    for import in &structure.imports {
        found.wasi |= import.starts_with("wasi:");
        if let Some((interface, version)) = contract_name(import) {
            versions.push(version);
            if interface.parse::<Grant>().is_ok() || WAITING.contains(&interface) {
                found.grants.push(interface.to_owned());
            }
        }
    }
    for (interface, version) in structure
        .exports
        .iter()
        .filter_map(|export| contract_name(export))
    {
        versions.push(version);
        found.hooks.push(interface.to_owned());
    }
    // In the order of a request's trip; what the contract does not know comes last.
    let place = |hook: &String| {
        Hook::ALL
            .iter()
            .position(|known| known.names().0 == hook)
            .unwrap_or(usize::MAX)
    };
    found.hooks.sort_by_key(place);
    versions.sort_unstable();
    versions.dedup();
    let known = |hook: &String| {
        Hook::ALL
            .iter()
            .any(|known| *known != Hook::Configure && known.names().0 == hook)
    };
    found.kind = match versions[..] {
        [] => neither("a component that neither imports nor exports anything of `veilgate:policy`"),
        [version] if !version.starts_with(VERSION_LINE) => neither(&format!(
            "a component on version {version} of the contract; this gateway speaks {VERSION_LINE}x"
        )),
        [version] if found.hooks.iter().any(known) => ModuleKind::Component {
            contract: version.to_owned(),
        },
        [_] => neither("a component that exports no hook"),
        ref several => neither(&format!(
            "a component on several versions of the contract: {}",
            several.join(", ")
        )),
    };
    found
}

fn core(structure: &Structure) -> Found {
    let mut found = Found::neither("");
    found.imports.clone_from(&structure.imports);
    found.wasi = structure
        .imports
        .iter()
        .any(|import| import.starts_with("wasi_"));
    found.hooks.extend(
        structure
            .exports
            .iter()
            .filter(|export| export.starts_with(PROXY_CALLBACK))
            .cloned(),
    );
    let abi = structure
        .exports
        .iter()
        .find_map(|export| export.strip_prefix(PROXY_ABI));
    found.kind = match abi {
        Some(version) => ModuleKind::ProxyWasm {
            abi: version.replace('_', "."),
        },
        None => neither(
            "a core Wasm module, and no proxy-wasm filter; build it with a Veilgate SDK, or wrap it with `wasm-tools component new`",
        ),
    };
    found
}

fn neither(why: &str) -> ModuleKind {
    ModuleKind::Neither {
        why: why.to_owned(),
    }
}
