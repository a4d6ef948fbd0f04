//! Compiles modules, and remembers what it compiled: the same bytes under another configuration, in another policy or after a reload
//! cost nothing, and those of another process next to nothing.

use edge_types::Digest;
use parking_lot::Mutex;
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use crate::artifacts::Artifacts;
use crate::bulk;
use crate::precompiled::Compiled;

pub(crate) struct Compiler {
    engine: Engine,
    components: Memory<Component>,
    modules: Memory<Module>,
    artifacts: Option<Artifacts>,
}

/// Where a compiled module came from: the label `from` of its metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Memory,
    Disk,
    Compiler,
}

impl From {
    fn label(self) -> &'static str {
        match self {
            From::Memory => "memory",
            From::Disk => "disk",
            From::Compiler => "compiler",
        }
    }
}

impl Compiler {
    /// `kept`: how many different modules of a kind are remembered.
    pub(crate) fn new(engine: Engine, kept: usize, artifacts: Option<Artifacts>) -> Self {
        Self {
            engine,
            components: Memory::new(kept),
            modules: Memory::new(kept),
            artifacts,
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Takes up to seconds when the bytes are new. Two threads that bring the same ones at once both compile them.
    pub(crate) fn component(&self, wasm: &[u8]) -> wasmtime::Result<Component> {
        self.compiled(&self.components, wasm)
            .map(|(found, _)| found)
    }

    /// A core module: as `component`.
    pub(crate) fn module(&self, wasm: &[u8]) -> wasmtime::Result<Module> {
        self.compiled(&self.modules, wasm).map(|(found, _)| found)
    }

    fn compiled<T: Compiled>(
        &self,
        memory: &Memory<T>,
        wasm: &[u8],
    ) -> wasmtime::Result<(T, From)> {
        let digest = Digest::of(wasm);
        let (found, from) = match memory.recall(&digest) {
            Some(known) => (known, From::Memory),
            None => match self.stored(&digest) {
                Some(stored) => (stored, From::Disk),
                None => (self.compile(&digest, wasm)?, From::Compiler),
            },
        };
        if from != From::Memory {
            memory.remember(digest, found.clone());
        }
        metrics::counter!("gateway_policy_modules_total", "kind" => T::KIND, "from" => from.label())
            .increment(1);
        Ok((found, from))
    }

    fn stored<T: Compiled>(&self, digest: &Digest) -> Option<T> {
        let artifacts = self.artifacts.as_ref()?;
        let code = artifacts.find(T::KIND, digest)?;
        T::revive(&self.engine, &code)
            .inspect_err(|error| {
                tracing::warn!(target: "policy", %digest, error = format!("{error:#}"),
                    "a stored compiled module cannot be loaded; it is compiled again");
                artifacts.forget(T::KIND, digest);
            })
            .ok()
    }

    fn compile<T: Compiled>(&self, digest: &Digest, wasm: &[u8]) -> wasmtime::Result<T> {
        bulk::check(wasm)?;
        let compiled = T::compile(&self.engine, wasm)?;
        if let Some(artifacts) = &self.artifacts {
            artifacts.keep(T::KIND, digest, &compiled.native_code()?);
        }
        Ok(compiled)
    }
}

/// The most recently used last.
struct Memory<T> {
    known: Mutex<Vec<(Digest, T)>>,
    kept: usize,
}

impl<T: Clone> Memory<T> {
    fn new(kept: usize) -> Self {
        Self {
            known: Mutex::default(),
            kept: kept.max(1),
        }
    }

    fn recall(&self, digest: &Digest) -> Option<T> {
        let mut known = self.known.lock();
        let at = known
            .iter()
            .position(|(digest_of, _)| digest_of == digest)?;
        let found = known.remove(at);
        let compiled = found.1.clone();
        known.push(found);
        Some(compiled)
    }

    fn remember(&self, digest: Digest, compiled: T) {
        let mut known = self.known.lock();
        // Another thread may have brought it meanwhile.
        known.retain(|(digest_of, _)| *digest_of != digest);
        if known.len() >= self.kept {
            known.remove(0);
        }
        known.push((digest, compiled));
    }
}

#[cfg(test)]
#[path = "compile/tests.rs"]
mod tests;
