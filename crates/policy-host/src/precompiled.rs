//! From native code to a module: the one door for it, and the only `unsafe` of this crate that is not generated.
//!
//! Native code is believed, not checked. So nothing comes in here but what is `Believed`: `Fresh` code, which a compiler of this
//! program made just now, and `Authentic` code, which only `artifacts.rs` makes: bytes that carry the seal of a key that nobody else
//! can read.
#![allow(unsafe_code, reason = "loading native code; see above")]

use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use crate::artifacts::Authentic;

/// Bytes that are what wasmtime's compiler gave, unchanged, in memory of our own.
pub(crate) trait Believed {
    fn bytes(&self) -> &[u8];
}

/// From a compiler of this process, or of this program in a process of its own.
pub(crate) struct Fresh(Vec<u8>);

impl Fresh {
    /// For `workshop.rs` alone: what a child that runs this program wrote into a pipe that nobody else has.
    pub(crate) fn from_own_child(code: Vec<u8>) -> Self {
        Self(code)
    }
}

impl Believed for Fresh {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Believed for Authentic {
    fn bytes(&self) -> &[u8] {
        self.code()
    }
}

/// What can be compiled, kept as native code, and loaded again.
pub(crate) trait Compiled: Clone {
    /// In the names of files, and for the compiler's process.
    const KIND: &'static str;

    /// `engine` may have other settings than the one that will run it, where they decide only how good the code is.
    fn compile(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Fresh>;
    /// Fails where the code is of another version, or of an engine with other rules.
    fn revive(engine: &Engine, code: &impl Believed) -> wasmtime::Result<Self>;
    /// Bytes of machine code and its tables.
    fn image_bytes(&self) -> usize;
}

impl Compiled for Component {
    const KIND: &'static str = "component";

    fn compile(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Fresh> {
        engine.precompile_component(wasm).map(Fresh)
    }

    fn revive(engine: &Engine, code: &impl Believed) -> wasmtime::Result<Self> {
        // SAFETY: the bytes must be what `Engine::precompile_component` gave, unchanged. `Fresh` ones come straight from there.
        // `Authentic` means that they carry a seal under the key of their directory. The key is read and made by this user's
        // processes only (its file and directory are refused where others can write or read them), and those seal nothing but what
        // the compiler gave. The bytes are in memory of our own by then: the file may change as it will.
        unsafe { Component::deserialize(engine, code.bytes()) }
    }

    fn image_bytes(&self) -> usize {
        let image = self.image_range();
        image.end.addr() - image.start.addr()
    }
}

impl Compiled for Module {
    const KIND: &'static str = "module";

    fn compile(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Fresh> {
        engine.precompile_module(wasm).map(Fresh)
    }

    fn revive(engine: &Engine, code: &impl Believed) -> wasmtime::Result<Self> {
        // SAFETY: as for components, with `Engine::precompile_module`; the kind is part of what is sealed.
        unsafe { Module::deserialize(engine, code.bytes()) }
    }

    fn image_bytes(&self) -> usize {
        let image = self.image_range();
        image.end.addr() - image.start.addr()
    }
}
