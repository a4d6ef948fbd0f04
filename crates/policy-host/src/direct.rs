//! Calling a guest directly. A component that wraps one core module needs nothing of the component model but the canonical ABI:
//! here the host speaks it itself, and a crossing costs tens of nanoseconds instead of hundreds. Everything else (several modules,
//! WASI, whatever waits) runs as a component; `shape` tells them apart, `contract` holds the types against the WIT.

mod abi;
mod contract;
mod guest;
mod hooks;
mod imports;
mod shape;
mod types;

use std::collections::BTreeSet;
use std::sync::Arc;

use wasmparser::{Parser, Payload};
use wasmtime::{
    Engine, Extern, InstancePre, Linker, Module, ModuleExport, Store, TypedFunc, WasmParams,
    WasmResults,
};

use crate::hooks::Hook;
use crate::module::suspends;
use crate::state::HostState;
pub(crate) use guest::Guest;
pub(crate) use hooks::{Answer, Function, Giving, LentAttempt, Params};
pub(crate) use shape::Unlike;

/// The versions of the contract whose types are known here: each has those of the one before.
const VERSIONS: [&str; 2] = ["0.2.0", "0.2.1"];
const MEMORY: &str = "memory";
const REALLOC: &str = "cabi_realloc";
/// What a C library does before anything else.
const INITIALIZE: &str = "_initialize";

/// The one core module of a component that can be called directly.
pub(crate) struct Core<'c> {
    pub(crate) module: &'c [u8],
    /// The interfaces that it imports, by their full names.
    pub(crate) interfaces: BTreeSet<&'c str>,
}

impl<'c> Core<'c> {
    /// An error says why the component is not called directly; that is no fault of it.
    pub(crate) fn of(component: &'c [u8]) -> Result<Self, Unlike> {
        let range = shape::core_module(component)?;
        contract::speaks(component)?;
        let module = component.get(range).unwrap_or_default();
        let interfaces = interfaces(module)?;
        match interfaces.iter().find(|import| suspends(import)) {
            Some(import) => Err(Unlike::naming("it may have to wait in", import)),
            None => Ok(Self { module, interfaces }),
        }
    }
}

fn interfaces(module: &[u8]) -> wasmparser::Result<BTreeSet<&str>> {
    let mut interfaces = BTreeSet::new();
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ImportSection(section) = payload? {
            for import in section.into_imports() {
                interfaces.insert(import?.module);
            }
        }
    }
    Ok(interfaces)
}

/// The host's functions, for every guest that is called directly.
#[derive(Clone)]
pub(crate) struct Host(Linker<HostState>);

impl Host {
    pub(crate) fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(engine);
        for version in VERSIONS {
            imports::link(&mut linker, version)?;
        }
        Ok(Self(linker))
    }

    /// What the module imports must have been granted.
    pub(crate) fn link(&self, module: &Module) -> wasmtime::Result<Linked> {
        Ok(Linked {
            pre: self.0.instantiate_pre(module)?,
            exported: Arc::new(Hook::ALL.map(|hook| Exported::find(module, hook))),
        })
    }
}

/// A core module with the host's functions, ready to be instantiated.
#[derive(Clone)]
pub(crate) struct Linked {
    pre: InstancePre<HostState>,
    exported: Arc<[Option<Exported>; Hook::ALL.len()]>,
}

/// Where in a module a hook is, found once for all instances.
#[derive(Clone, Copy)]
struct Exported {
    hook: ModuleExport,
    clean_up: Option<ModuleExport>,
}

impl Exported {
    /// By the name that one of the versions gives it.
    fn find(module: &Module, hook: Hook) -> Option<Self> {
        let (interface, function) = hook.names();
        VERSIONS.into_iter().find_map(|version| {
            let name = format!("veilgate:policy/{interface}@{version}#{function}");
            Some(Self {
                hook: module.get_export_index(&name)?,
                clean_up: module.get_export_index(&format!("cabi_post_{name}")),
            })
        })
    }
}

impl Linked {
    pub(crate) fn engine(&self) -> &Engine {
        self.pre.module().engine()
    }

    pub(crate) fn has(&self, hook: Hook) -> bool {
        self.exported[hook as usize].is_some()
    }

    /// On the caller's thread.
    pub(crate) fn instantiate(&self, store: &mut Store<HostState>) -> wasmtime::Result<Instance> {
        store.data_mut().guest = Some(Box::default());
        let instance = self.pre.instantiate(&mut *store)?;
        let memory = instance.get_memory(&mut *store, MEMORY);
        let realloc = match instance.get_func(&mut *store, REALLOC) {
            Some(realloc) => Some(realloc.typed(&*store)?),
            None => None,
        };
        store.data_mut().guest = Some(Box::new(Guest { memory, realloc }));
        if let Some(initialize) = instance.get_func(&mut *store, INITIALIZE) {
            initialize.typed::<(), ()>(&*store)?.call(&mut *store, ())?;
        }
        Ok(Instance {
            instance,
            exported: self.exported.clone(),
        })
    }
}

/// A guest's instance, before its hooks are looked up.
pub(crate) struct Instance {
    instance: wasmtime::Instance,
    exported: Arc<[Option<Exported>; Hook::ALL.len()]>,
}

impl Instance {
    /// None: it does not export it. An error: it is of another type.
    pub(crate) fn hook<P: Params, R: Answer>(
        &self,
        hook: Hook,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<Option<Function<P, R>>> {
        let Some(exported) = self.exported[hook as usize] else {
            return Ok(None);
        };
        let Some(hook) = self.typed(exported.hook, store)? else {
            return Ok(None);
        };
        let clean_up = match exported.clean_up {
            Some(clean_up) => self.typed(clean_up, store)?,
            None => None,
        };
        Ok(Some(Function { hook, clean_up }))
    }

    fn typed<P: WasmParams, R: WasmResults>(
        &self,
        export: ModuleExport,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<Option<TypedFunc<P, R>>> {
        let function = self.instance.get_module_export(&mut *store, &export);
        let function = function.and_then(Extern::into_func);
        function.map(|function| function.typed(&*store)).transpose()
    }
}

#[cfg(test)]
mod tests;
