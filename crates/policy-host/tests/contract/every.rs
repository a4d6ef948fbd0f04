//! Components that import and export everything that a world has, each hook answering with zeros: an empty decision, an `ok`, a
//! default choice.

use std::fmt::Write;

use crate::common::name_of;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::abi::WasmType;
use wit_parser::{
    Function, LiftLowerAbi, ManglingAndAbi, Resolve, ResourceIntrinsic, TypeDefKind, WasmExport,
    WasmExportKind, WasmImport, WorldId, WorldItem, WorldKey,
};

const ABI: ManglingAndAbi = ManglingAndAbi::Legacy(LiftLowerAbi::Sync);

pub fn component(resolve: &Resolve, world: WorldId) -> Vec<u8> {
    let text = module(resolve, world);
    let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8, false).unwrap();
    let mut encoder = ComponentEncoder::default();
    encoder.module(&module).unwrap();
    encoder.validate(true).encode().unwrap()
}

/// What the host passes in goes to the second page; the first is zero and stays so.
fn module(resolve: &Resolve, world: WorldId) -> String {
    let mut text = String::from("(module\n");
    for (key, item) in &resolve.worlds[world].imports {
        let WorldItem::Interface { id, .. } = item else {
            continue;
        };
        let interface = &resolve.interfaces[*id];
        for func in interface.functions.values() {
            import(&mut text, resolve, key, func);
        }
        for &resource in interface.types.values() {
            if matches!(resolve.types[resource].kind, TypeDefKind::Resource) {
                let drop = WasmImport::ResourceIntrinsic {
                    interface: Some(key),
                    resource,
                    intrinsic: ResourceIntrinsic::ImportedDrop,
                };
                let (from, name) = resolve.wasm_import_name(ABI, drop);
                writeln!(text, "(import {from:?} {name:?} (func (param i32)))").unwrap();
            }
        }
    }
    text += "(memory (export \"memory\") 2)
      (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) (i32.const 65536))\n";
    for (key, item) in &resolve.worlds[world].exports {
        let WorldItem::Interface { id, .. } = item else {
            continue;
        };
        for func in resolve.interfaces[*id].functions.values() {
            export(&mut text, resolve, key, func);
        }
    }
    text + ")"
}

fn import(text: &mut String, resolve: &Resolve, key: &WorldKey, func: &Function) {
    let signature = resolve.wasm_signature(ABI.import_variant(), func);
    let import = WasmImport::Func {
        interface: Some(key),
        func,
    };
    let (from, name) = resolve.wasm_import_name(ABI, import);
    let (params, results) = (types(&signature.params), types(&signature.results));
    writeln!(
        text,
        "(import {from:?} {name:?} (func (param {params}) (result {results})))"
    )
    .unwrap();
}

fn export(text: &mut String, resolve: &Resolve, key: &WorldKey, func: &Function) {
    let signature = resolve.wasm_signature(ABI.export_variant(), func);
    let export = WasmExport::Func {
        interface: Some(key),
        func,
        kind: WasmExportKind::Normal,
    };
    let name = resolve.wasm_export_name(ABI, export);
    let (params, results) = (types(&signature.params), types(&signature.results));
    let zeros: String = signature
        .results
        .iter()
        .map(|result| format!("({}.const 0)", name_of(result)))
        .collect();
    writeln!(
        text,
        "(func (export {name:?}) (param {params}) (result {results}) {zeros})"
    )
    .unwrap();
}

fn types(types: &[WasmType]) -> String {
    let names: Vec<&str> = types.iter().map(name_of).collect();
    names.join(" ")
}
