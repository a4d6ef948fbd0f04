//! What a finished module asks of the gateway, and (for languages whose compilers make core modules) how one becomes a component.

use std::fmt;
use std::fs;
use std::path::Path;

use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::{Resolve, WorldId};

/// The interfaces that every policy may import; all others must be granted.
const BASICS: [&str; 7] = [
    "types", "request", "response", "log", "clock", "random", "metrics",
];
const PACKAGE: &str = "veilgate:policy/";

/// What stands in for WASI's first preview, so that no policy imports it: see the file.
const ADAPTER: &str = include_str!("wasi.wat");
const ADAPTED: &str = "wasi_snapshot_preview1";
/// The world of the adapter: capabilities that every policy has.
const ADAPTER_WORLD: &str = "\
package local:adapter;
world adapter {
  import veilgate:policy/log@0.2.1;
  import veilgate:policy/clock@0.2.1;
  import veilgate:policy/random@0.2.1;
}";

/// A core module that holds its world's encoding → a component.
pub(super) fn wrap_file(core: &Path) -> Result<Vec<u8>, String> {
    let bytes =
        fs::read(core).map_err(|error| format!("cannot read {}: {error}", core.display()))?;
    wrap(&bytes).map_err(|error| format!("what the compiler made is no policy: {error}"))
}

/// The same for a compiler that knows nothing of the encoding.
pub(super) fn wrap_with_world(
    mut core: Vec<u8>,
    (resolve, world): (Resolve, WorldId),
) -> Result<Vec<u8>, String> {
    wit_component::embed_component_metadata(
        &mut core,
        &resolve,
        world,
        StringEncoding::UTF8,
        false,
    )
    .map_err(|error| format!("{error:#}"))?;
    wrap(&core).map_err(|error| format!("what the compiler made is no policy: {error}"))
}

fn wrap(core: &[u8]) -> Result<Vec<u8>, String> {
    let shown = |error| format!("{error:#}");
    let mut encoder = ComponentEncoder::default();
    encoder.module(core).map_err(shown)?;
    if needs_adapter(core)? {
        encoder.adapter(ADAPTED, &adapter()?).map_err(shown)?;
    }
    encoder.validate(true);
    encoder.encode().map_err(shown)
}

fn needs_adapter(core: &[u8]) -> Result<bool, String> {
    for payload in Parser::new(0).parse_all(core) {
        if let Payload::ImportSection(section) = payload.map_err(|error| error.to_string())? {
            for import in section.into_imports() {
                if import.map_err(|error| error.to_string())?.module == ADAPTED {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

fn adapter() -> Result<Vec<u8>, String> {
    let mut module = wat::parse_str(ADAPTER).map_err(|error| error.to_string())?;
    let mut resolve = Resolve::default();
    let shown = |error| format!("{error:#}");
    resolve
        .push_str("policy.wit", super::super::template::CONTRACT.1)
        .map_err(shown)?;
    let package = resolve
        .push_str("adapter.wit", ADAPTER_WORLD)
        .map_err(shown)?;
    let world = resolve.select_world(&[package], None).map_err(shown)?;
    wit_component::embed_component_metadata(
        &mut module,
        &resolve,
        world,
        StringEncoding::UTF8,
        false,
    )
    .map_err(shown)?;
    Ok(module)
}

/// The interfaces on a component's two sides, in its own order.
#[derive(Debug, Default)]
pub(super) struct Report {
    imports: Vec<String>,
    exports: Vec<String>,
}

pub(super) fn report(component: &[u8]) -> Result<Report, String> {
    let mut report = Report::default();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload.map_err(|error| format!("the module is not sound: {error}"))?;
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    let import = import.map_err(|error| error.to_string())?;
                    report.imports.push(import.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    let export = export.map_err(|error| error.to_string())?;
                    report.exports.push(export.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(report)
}

impl Report {
    fn grants(&self) -> Vec<&str> {
        let interfaces = self.imports.iter().map(|import| short(import));
        interfaces.filter(|name| !BASICS.contains(name)).collect()
    }

    /// A word to the author if the manifest's grants are not those that the module needs.
    pub(super) fn grants_differ(&self, said: &[String]) -> Option<String> {
        let needed = self.grants();
        let missing: Vec<&str> = needed
            .iter()
            .copied()
            .filter(|grant| !said.iter().any(|name| name == grant))
            .collect();
        (!missing.is_empty()).then(|| {
            format!(
                "the module imports {}, which `grants` in {} does not name",
                missing.join(", "),
                super::super::manifest::FILE
            )
        })
    }
}

/// An interface's name as an operator's config has it.
fn short(name: &str) -> &str {
    let name = name.strip_prefix(PACKAGE).unwrap_or(name);
    name.split_once('@').map_or(name, |(name, _)| name)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |names: Vec<&str>| {
            if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            }
        };
        let shown = |names: &[String]| line(names.iter().map(|name| short(name)).collect());
        writeln!(f, "  imports: {}", shown(&self.imports))?;
        writeln!(f, "  exports: {}", shown(&self.exports))?;
        writeln!(f, "  grants:  {}", line(self.grants()))
    }
}
