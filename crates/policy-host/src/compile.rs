//! Compiles components, and remembers what it compiled: the same bytes under another configuration, in another policy or after a
//! reload cost nothing.

use std::sync::Arc;

use edge_types::Digest;
use parking_lot::Mutex;
use wasmtime::Engine;
use wasmtime::component::Component;

pub(crate) struct Compiler {
    engine: Engine,
    /// The most recently used last.
    compiled: Mutex<Vec<(Digest, Arc<Component>)>>,
    kept: usize,
}

impl Compiler {
    /// `kept`: how many different components are remembered.
    pub(crate) fn new(engine: Engine, kept: usize) -> Self {
        Self {
            engine,
            compiled: Mutex::default(),
            kept: kept.max(1),
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Takes up to seconds when the bytes are new. Two threads that bring the same ones at once both compile them.
    pub(crate) fn component(&self, bytes: &[u8]) -> wasmtime::Result<Arc<Component>> {
        let digest = Digest::of(bytes);
        if let Some(known) = self.recall(&digest) {
            return Ok(known);
        }
        let component = Arc::new(Component::from_binary(&self.engine, bytes)?);
        let mut compiled = self.compiled.lock();
        if compiled.len() >= self.kept {
            compiled.remove(0);
        }
        compiled.push((digest, component.clone()));
        Ok(component)
    }

    fn recall(&self, digest: &Digest) -> Option<Arc<Component>> {
        let mut compiled = self.compiled.lock();
        let at = compiled.iter().position(|(known, _)| known == digest)?;
        let found = compiled.remove(at);
        let component = found.1.clone();
        compiled.push(found);
        Some(component)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_are_compiled_once_and_the_memory_is_bounded() -> wasmtime::Result<()> {
        let compiler = Compiler::new(Engine::default(), 2);
        let bytes = |n: u32| {
            wat::parse_str(format!(
                "(component (core module (func (result i32) (i32.const {n}))))"
            ))
            .unwrap()
        };
        let first = compiler.component(&bytes(1))?;
        let second = compiler.component(&bytes(2))?;
        assert!(Arc::ptr_eq(&first, &compiler.component(&bytes(1))?));
        compiler.component(&bytes(3))?;
        assert!(
            Arc::ptr_eq(&first, &compiler.component(&bytes(1))?),
            "used lately"
        );
        assert!(
            !Arc::ptr_eq(&second, &compiler.component(&bytes(2))?),
            "made room"
        );
        assert_eq!(compiler.compiled.lock().len(), 2);
        assert!(compiler.component(b"no component").is_err());
        Ok(())
    }
}
