//! Renames a core module's exports: AssemblyScript's names cannot hold the `:` and `#` that the component model's have.

use std::collections::HashMap;

use wasm_encoder::{ExportKind, ExportSection, Module, RawSection};
use wasmparser::{ExternalKind, Parser, Payload};

/// All sections as they are but for the exports' names; what is not in `names` keeps its own.
pub(super) fn rename(core: &[u8], names: &HashMap<String, String>) -> Result<Vec<u8>, String> {
    let mut module = Module::new();
    for payload in Parser::new(0).parse_all(core) {
        let payload = payload.map_err(|error| error.to_string())?;
        if let Payload::ExportSection(section) = payload {
            let mut exports = ExportSection::new();
            for export in section {
                let export = export.map_err(|error| error.to_string())?;
                let name = names.get(export.name).map_or(export.name, String::as_str);
                exports.export(name, kind(export.kind)?, export.index);
            }
            module.section(&exports);
        } else if let Some((id, range)) = payload.as_section() {
            let data = core
                .get(range.start as usize..range.end as usize)
                .ok_or("a section is cut off")?;
            module.section(&RawSection { id, data });
        }
    }
    Ok(module.finish())
}

fn kind(kind: ExternalKind) -> Result<ExportKind, String> {
    match kind {
        ExternalKind::Func | ExternalKind::FuncExact => Ok(ExportKind::Func),
        ExternalKind::Table => Ok(ExportKind::Table),
        ExternalKind::Memory => Ok(ExportKind::Memory),
        ExternalKind::Global => Ok(ExportKind::Global),
        ExternalKind::Tag => Err("a module for the gateway has no exceptions".to_owned()),
    }
}
