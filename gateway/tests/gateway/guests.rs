//! Tiny Wasm guests for the tests, written in WAT against the canonical ABI and wrapped as components.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A guest whose request hook is `body`; it must leave the address of a decision. Address 4096 is one that says: go on.
pub fn request_hook(body: &str) -> Vec<u8> {
    let hook = format!(
        "(func (export \"veilgate:policy/request-hook@0.2.1#on-request\") (result i32) {body})"
    );
    guest("export veilgate:policy/request-hook@0.2.1;", "", &hook)
}

/// A guest of a world with these imports and exports. What the host passes in goes to 65536; below 4096 is the guest's own.
pub fn guest(world: &str, imports: &str, body: &str) -> Vec<u8> {
    let text = format!(
        "(module {imports} (memory (export \"memory\") 2)
           (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) (i32.const 65536))
           {body})"
    );
    component(&text, world)
}

/// A component of a world with these exports and imports. What the host passes in goes to 65536 and on, afresh after `$reset`; address
/// 4096 is never written: an empty decision, `keep`, `none`.
pub fn roomy(world: &str, imports: &str, body: &str) -> Vec<u8> {
    let text = format!(
        "(module {imports} (memory (export \"memory\") 4)
           (global $next (mut i32) (i32.const 65536))
           (func $reset (global.set $next (i32.const 65536)))
           (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) (local $at i32)
             (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
             (global.set $next (i32.add (local.get $at) (local.get 3)))
             (local.get $at))
           {body})"
    );
    component(&text, world)
}

/// The core module in `text`, wrapped as a component of a world with these imports and exports.
pub fn component(text: &str, world: &str) -> Vec<u8> {
    let mut module = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let mut resolve = Resolve::default();
    let contract = concat!(env!("CARGO_MANIFEST_DIR"), "/../guest-sdk/wit/policy.wit");
    resolve.push_file(contract).expect("the contract");
    let worlds = format!("package test:guests; world guest {{ {world} }}");
    let package = resolve.push_str("worlds.wit", &worlds).expect("worlds");
    let world = resolve
        .select_world(&[package], Some("guest"))
        .expect("the world");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)
        .expect("metadata");
    let mut encoder = ComponentEncoder::default();
    encoder.module(&module).expect("a module");
    encoder.validate(true).encode().expect("a component")
}
