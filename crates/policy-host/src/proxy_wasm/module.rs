//! From bytes to a filter that can be started: recognised by its marker, compiled, its imports held against what there is.

use wasmtime::{Engine, InstancePre, Linker, Module, UnknownImportError};

use crate::compile::Compiler;

use super::state::VmState;
use super::{host, wasi};
use crate::error::LoadError;
use crate::spec::{InstanceChoice, PolicySpec};
use crate::tier::Tier;

/// What a filter exports to say which ABI it was built for.
const MARKER: &str = "proxy_abi_version_";
/// 0.1.0 differs in a few names; 0.2.0 from 0.2.1 in none that is used here.
const VERSIONS: [&str; 3] = ["0_2_1", "0_2_0", "0_1_0"];
const HOOKS: &str =
    "proxy_on_request_headers, proxy_on_response_headers, proxy_on_log, proxy_on_tick";

/// A filter's code.
pub(crate) struct Filter {
    pub(super) pre: InstancePre<VmState>,
    pub(super) exports: Exports,
    pub(crate) tier: Tier,
}

/// Which callbacks there are.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Exports {
    pub(crate) request: bool,
    pub(crate) response: bool,
    pub(crate) request_body: bool,
    pub(crate) response_body: bool,
    pub(crate) request_trailers: bool,
    pub(crate) response_trailers: bool,
    pub(crate) ending: bool,
    pub(crate) tick: bool,
}

impl Exports {
    fn of(module: &Module) -> Self {
        let has = |name| module.get_export_index(name).is_some();
        Self {
            request: has("proxy_on_request_headers"),
            response: has("proxy_on_response_headers"),
            request_body: has("proxy_on_request_body"),
            response_body: has("proxy_on_response_body"),
            request_trailers: has("proxy_on_request_trailers"),
            response_trailers: has("proxy_on_response_trailers"),
            ending: ["proxy_on_done", "proxy_on_log", "proxy_on_delete"]
                .into_iter()
                .any(has),
            tick: has("proxy_on_tick"),
        }
    }

    fn any(self) -> bool {
        self.request
            || self.response
            || self.request_body
            || self.response_body
            || self.request_trailers
            || self.response_trailers
            || self.ending
            || self.tick
    }
}

/// `spec.wasm` is a core module.
pub(crate) fn load(compiler: &Compiler, spec: &PolicySpec) -> Result<Filter, LoadError> {
    let policy = || spec.name.clone();
    if spec.instance == InstanceChoice::PerRequest {
        return Err(LoadError::Spec {
            policy: policy(),
            reason: "`instance = \"per-request\"` is not for proxy-wasm filters: their VM starts, ticks and keeps state for many requests; \
                     leave the key out"
                .to_owned(),
        });
    }
    let made = compiler
        .module(&spec.wasm, spec.effort)
        .map_err(|error| LoadError::Compile {
            policy: policy(),
            detail: format!("{error:#}"),
        })?;
    let module = made.code;
    check_version(&module, spec)?;
    let exports = Exports::of(&module);
    if !exports.any() {
        return Err(LoadError::NoHook {
            policy: policy(),
            expected: HOOKS,
        });
    }
    let linker = linker(compiler.engine()).map_err(|error| contract(spec, &error))?;
    let pre = linker
        .instantiate_pre(&module)
        .map_err(|error| match error.downcast_ref::<UnknownImportError>() {
            Some(unknown) => LoadError::UnknownImport {
                policy: policy(),
                import: format!("{}.{}", unknown.module(), unknown.name()),
                advice: "a proxy-wasm module imports the functions of its ABI (`env`) and of WASI preview 1 only",
            },
            None => contract(spec, &error),
        })?;
    Ok(Filter {
        pre,
        exports,
        tier: made.tier,
    })
}

fn check_version(module: &Module, spec: &PolicySpec) -> Result<(), LoadError> {
    let mut markers = module
        .exports()
        .filter_map(|export| export.name().strip_prefix(MARKER));
    let Some(first) = markers.next() else {
        return Err(LoadError::NotComponent {
            policy: spec.name.clone(),
        });
    };
    let known = |version: &str| VERSIONS.contains(&version);
    if known(first) || markers.any(known) {
        return Ok(());
    }
    Err(LoadError::Contract {
        policy: spec.name.clone(),
        interface: format!("{MARKER}{first}"),
        detail: "this gateway runs proxy-wasm modules built for the ABI 0.1.0, 0.2.0 or 0.2.1"
            .to_owned(),
    })
}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<VmState>> {
    let mut linker = Linker::new(engine);
    host::link(&mut linker)?;
    wasi::link(&mut linker)?;
    Ok(linker)
}

fn contract(spec: &PolicySpec, error: &wasmtime::Error) -> LoadError {
    LoadError::Contract {
        policy: spec.name.clone(),
        interface: "proxy-wasm".to_owned(),
        detail: format!("{error:#}"),
    }
}
