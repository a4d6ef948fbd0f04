//! The outermost names of a Wasm file and the memories in it, read without compiling. Whatever the bytes are, this ends: each is read
//! once.

use wasmparser::{Encoding, Parser, Payload};

/// Names kept of one file: a policy has some forty.
const MAX_NAMES: usize = 4096;
/// A name of more bytes is cut: it is only shown.
const MAX_NAME_BYTES: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layer {
    Component,
    Core,
}

#[derive(Debug)]
pub(super) struct Structure {
    pub layer: Layer,
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    /// In bytes, at the start; of all modules inside.
    pub memories: Vec<u64>,
}

impl Structure {
    /// Or why these bytes are no Wasm.
    pub(super) fn read(wasm: &[u8]) -> Result<Self, String> {
        if !wasm.starts_with(b"\0asm") {
            return Err("it is not Wasm: a Wasm file begins with the bytes 00 61 73 6d".to_owned());
        }
        let layer = match Parser::is_component(wasm) {
            true => Layer::Component,
            false => Layer::Core,
        };
        let mut structure = Self {
            layer,
            imports: Vec::new(),
            exports: Vec::new(),
            memories: Vec::new(),
        };
        structure
            .fill(wasm)
            .map_err(|error| format!("it is broken: {error}"))?;
        Ok(structure)
    }

    fn fill(&mut self, wasm: &[u8]) -> wasmparser::Result<()> {
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::Version {
                    encoding: Encoding::Component | Encoding::Module,
                    ..
                } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::MemorySection(section) => self.add_memories(section)?,
                Payload::ImportSection(section) if depth == 1 => {
                    for import in section.into_imports() {
                        let import = import?;
                        keep(
                            &mut self.imports,
                            &format!("{}.{}", import.module, import.name),
                        );
                    }
                }
                Payload::ExportSection(section) if depth == 1 => {
                    for export in section {
                        keep(&mut self.exports, export?.name);
                    }
                }
                Payload::ComponentImportSection(section) if depth == 1 => {
                    for import in section {
                        keep(&mut self.imports, import?.name.name);
                    }
                }
                Payload::ComponentExportSection(section) if depth == 1 => {
                    for export in section {
                        keep(&mut self.exports, export?.name.name);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn add_memories(
        &mut self,
        section: wasmparser::MemorySectionReader<'_>,
    ) -> wasmparser::Result<()> {
        for memory in section {
            let memory = memory?;
            let page = 1_u64
                .checked_shl(memory.page_size_log2.unwrap_or(16))
                .unwrap_or(u64::MAX);
            if self.memories.len() < MAX_NAMES {
                self.memories.push(memory.initial.saturating_mul(page));
            }
        }
        Ok(())
    }
}

fn keep(names: &mut Vec<String>, name: &str) {
    if names.len() < MAX_NAMES {
        let end = name.floor_char_boundary(MAX_NAME_BYTES);
        names.push(name[..end].to_owned());
    }
}
