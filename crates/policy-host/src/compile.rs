//! Compiles modules, and remembers what it compiled: the same bytes under another configuration, in another policy or after a reload
//! cost nothing, and those of another process next to nothing.

use edge_types::Digest;
use parking_lot::Mutex;
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use crate::artifacts::Artifacts;
use crate::precompiled::{Believed, Compiled, Fresh};
use crate::tier::{Effort, Tier, compiling_engine};
use crate::workshop::{self, CompilerProgram};
use crate::{bulk, light};

pub(crate) struct Compiler {
    /// It runs what is compiled.
    engine: Engine,
    /// None: everything is compiled in this process.
    program: Option<CompilerProgram>,
    components: Memory<Component>,
    modules: Memory<Module>,
    artifacts: Option<Artifacts>,
}

/// Where a compiled module came from: the label `from` of its metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Memory,
    Disk,
    Compiler(Tier),
}

impl From {
    fn label(self) -> &'static str {
        match self {
            From::Memory => "memory",
            From::Disk => "disk",
            From::Compiler(Tier::Optimised) => "compiler",
            From::Compiler(Tier::Quick) => "quick_compiler",
        }
    }
}

/// A compiled module, and how well it is compiled.
#[derive(Clone)]
pub(crate) struct Made<T> {
    pub(crate) code: T,
    pub(crate) tier: Tier,
    /// Nothing better is to be had: it is optimised, or optimising it goes over the limits.
    best: bool,
}

impl Compiler {
    /// `kept`: how many different modules of a kind are remembered.
    pub(crate) fn new(
        engine: Engine,
        kept: usize,
        artifacts: Option<Artifacts>,
        program: Option<CompilerProgram>,
    ) -> Self {
        Self {
            engine,
            program,
            components: Memory::new(kept),
            modules: Memory::new(kept),
            artifacts,
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Takes up to minutes of processor time when the bytes are new. Two threads that bring the same ones at once both compile them.
    pub(crate) fn component(
        &self,
        wasm: &[u8],
        effort: Effort,
    ) -> wasmtime::Result<Made<Component>> {
        self.compiled(&self.components, wasm, effort)
            .map(|(found, _)| found)
    }

    /// A core module: as `component`.
    pub(crate) fn module(&self, wasm: &[u8], effort: Effort) -> wasmtime::Result<Made<Module>> {
        self.compiled(&self.modules, wasm, effort)
            .map(|(found, _)| found)
    }

    /// Whether this core module is among those that are remembered.
    pub(crate) fn knows_module(&self, wasm: &[u8]) -> bool {
        self.modules.recall(&Digest::of(wasm)).is_some()
    }

    /// Makes optimised code of it, where only quick code is there, and remembers that. It stands back while others want the processor.
    pub(crate) fn optimise(&self, wasm: &[u8], is_component: bool) -> wasmtime::Result<()> {
        match is_component {
            true => self.improve(&self.components, wasm),
            false => self.improve(&self.modules, wasm),
        }
    }

    fn improve<T: Compiled>(&self, memory: &Memory<T>, wasm: &[u8]) -> wasmtime::Result<()> {
        let digest = Digest::of(wasm);
        if memory.recall(&digest).is_some_and(|known| known.best) {
            return Ok(());
        }
        let made = self.optimised(&digest, wasm, true).inspect_err(|_| {
            memory.settle(&digest);
        })?;
        memory.remember(digest, made);
        count::<T>(From::Compiler(Tier::Optimised));
        Ok(())
    }

    fn compiled<T: Compiled>(
        &self,
        memory: &Memory<T>,
        wasm: &[u8],
        effort: Effort,
    ) -> wasmtime::Result<(Made<T>, From)> {
        let digest = Digest::of(wasm);
        let known = memory.recall(&digest);
        let known = known.filter(|known| known.best || effort == Effort::Soon);
        let (found, from) = match known {
            Some(known) => (known, From::Memory),
            None => match self.stored(&digest) {
                Some(stored) => (stored, From::Disk),
                None => {
                    let made = self.make(&digest, wasm, effort)?;
                    let tier = made.tier;
                    (made, From::Compiler(tier))
                }
            },
        };
        if from != From::Memory {
            memory.remember(digest, found.clone());
        }
        count::<T>(from);
        Ok((found, from))
    }

    fn stored<T: Compiled>(&self, digest: &Digest) -> Option<Made<T>> {
        let artifacts = self.artifacts.as_ref()?;
        let code = artifacts.find(T::KIND, digest)?;
        T::revive(&self.engine, &code)
            .inspect_err(|error| {
                tracing::warn!(target: "policy", %digest, error = format!("{error:#}"),
                    "a stored compiled module cannot be loaded; it is compiled again");
                artifacts.forget(T::KIND, digest);
            })
            .ok()
            .map(Made::optimised)
    }

    fn make<T: Compiled>(
        &self,
        digest: &Digest,
        wasm: &[u8],
        effort: Effort,
    ) -> wasmtime::Result<Made<T>> {
        bulk::check(wasm)?;
        if effort == Effort::Soon {
            return self.quick(wasm, false);
        }
        self.optimised(digest, wasm, false).or_else(|error| {
            // What is no module is none in either tier.
            let made = self.quick(wasm, true)?;
            tracing::warn!(target: "policy", %digest, error = format!("{error:#}"),
                "a module cannot be optimised; it serves with code that was made quickly");
            Ok(made)
        })
    }

    fn quick<T: Compiled>(&self, wasm: &[u8], best: bool) -> wasmtime::Result<Made<T>> {
        let code = match &self.program {
            Some(program) if !light::is_light(wasm) => {
                workshop::compile::<T>(program, Tier::Quick, false, wasm)?
            }
            _ => T::compile(&compiling_engine(Tier::Quick)?, wasm)?,
        };
        Ok(Made {
            code: T::revive(&self.engine, &code)?,
            tier: Tier::Quick,
            best,
        })
    }

    /// It is stored, too: the next process has no need to begin with quick code.
    fn optimised<T: Compiled>(
        &self,
        digest: &Digest,
        wasm: &[u8],
        gently: bool,
    ) -> wasmtime::Result<Made<T>> {
        let code = self.optimised_code::<T>(wasm, gently)?;
        let made = T::revive(&self.engine, &code).map(Made::optimised)?;
        if let Some(artifacts) = &self.artifacts {
            artifacts.keep(T::KIND, digest, code.bytes());
        }
        Ok(made)
    }

    fn optimised_code<T: Compiled>(&self, wasm: &[u8], gently: bool) -> wasmtime::Result<Fresh> {
        match &self.program {
            Some(program) => workshop::compile::<T>(program, Tier::Optimised, gently, wasm),
            None => T::compile(&self.engine, wasm),
        }
    }

    /// How large its optimised code is, in bytes: compiled, and neither remembered nor stored.
    pub(crate) fn measure<T: Compiled>(&self, wasm: &[u8]) -> wasmtime::Result<usize> {
        bulk::check(wasm)?;
        let code = self.optimised_code::<T>(wasm, false)?;
        T::revive(&self.engine, &code).map(|compiled| compiled.image_bytes())
    }
}

impl<T> Made<T> {
    fn optimised(code: T) -> Self {
        Self {
            code,
            tier: Tier::Optimised,
            best: true,
        }
    }
}

fn count<T: Compiled>(from: From) {
    metrics::counter!("gateway_policy_modules_total", "kind" => T::KIND, "from" => from.label())
        .increment(1);
}

/// The most recently used last.
struct Memory<T> {
    known: Mutex<Vec<(Digest, Made<T>)>>,
    kept: usize,
}

impl<T: Clone> Memory<T> {
    fn new(kept: usize) -> Self {
        Self {
            known: Mutex::default(),
            kept: kept.max(1),
        }
    }

    fn recall(&self, digest: &Digest) -> Option<Made<T>> {
        let mut known = self.known.lock();
        let at = known
            .iter()
            .position(|(digest_of, _)| digest_of == digest)?;
        let found = known.remove(at);
        let compiled = found.1.clone();
        known.push(found);
        Some(compiled)
    }

    /// There will be nothing better than what is remembered of it.
    fn settle(&self, digest: &Digest) {
        let mut known = self.known.lock();
        let found = known.iter_mut().find(|(digest_of, _)| digest_of == digest);
        if let Some((_, made)) = found {
            made.best = true;
        }
    }

    fn remember(&self, digest: Digest, compiled: Made<T>) {
        let mut known = self.known.lock();
        let better = |(digest_of, made): &(Digest, Made<T>)| *digest_of == digest && made.best;
        if !compiled.best && known.iter().any(better) {
            return;
        }
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
