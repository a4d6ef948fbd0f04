//! From stored native code back to a module: the one door for it, and the only `unsafe` of this crate that is not generated.
//!
//! Native code is believed, not checked. So nothing comes in here but `Authentic`, which only `artifacts.rs` makes: bytes that
//! carry the seal of a key that nobody else can read.
#![allow(unsafe_code, reason = "loading native code; see above")]

use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use crate::artifacts::Authentic;

/// What can be compiled, kept as native code, and loaded again.
pub(crate) trait Compiled: Clone {
    /// In the names of files.
    const KIND: &'static str;

    fn compile(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Self>;
    fn native_code(&self) -> wasmtime::Result<Vec<u8>>;
    /// Fails where the code is of another engine or version.
    fn revive(engine: &Engine, code: &Authentic) -> wasmtime::Result<Self>;
}

impl Compiled for Component {
    const KIND: &'static str = "component";

    fn compile(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Self> {
        Component::from_binary(engine, wasm)
    }

    fn native_code(&self) -> wasmtime::Result<Vec<u8>> {
        self.serialize()
    }

    fn revive(engine: &Engine, code: &Authentic) -> wasmtime::Result<Self> {
        // SAFETY: the bytes must be what `Component::serialize` gave, unchanged. `Authentic` means that they carry a seal under the
        // key of their directory. The key is read and made by this user's processes only (its file and directory are refused where
        // others can write or read them), and those seal nothing but what `serialize` gave. The bytes are in memory of our own by
        // then: the file may change as it will.
        unsafe { Component::deserialize(engine, code.bytes()) }
    }
}

impl Compiled for Module {
    const KIND: &'static str = "module";

    fn compile(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Self> {
        Module::from_binary(engine, wasm)
    }

    fn native_code(&self) -> wasmtime::Result<Vec<u8>> {
        self.serialize()
    }

    fn revive(engine: &Engine, code: &Authentic) -> wasmtime::Result<Self> {
        // SAFETY: as for components, with `Module::serialize`; the kind is part of what is sealed.
        unsafe { Module::deserialize(engine, code.bytes()) }
    }
}
