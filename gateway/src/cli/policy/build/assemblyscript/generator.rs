//! A world → the text of its bindings: `policy.ts` with a namespace for each interface, `exports.ts` with what the gateway calls.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use wit_parser::{InterfaceId, Resolve, SizeAlign, WorldId, WorldItem, WorldKey};

/// What every policy has: values of the contract that the language has no words for, texts, and the memory of one call.
const PRELUDE: &str = include_str!("prelude.ts");

/// Interfaces with their full names.
type Named = Vec<(InterfaceId, String)>;

pub(in super::super) struct Bindings {
    pub(in super::super) imports: String,
    pub(in super::super) exports: String,
    /// The export's name in AssemblyScript → the component model's.
    pub(super) names: HashMap<String, String>,
}

pub(super) struct Generator<'a> {
    pub(super) resolve: &'a Resolve,
    pub(super) sizes: SizeAlign,
    /// Functions that read and write one type in memory, by name.
    pub(super) helpers: BTreeMap<String, String>,
    /// The imported core functions.
    pub(super) externals: String,
    pub(super) names: HashMap<String, String>,
    /// The most that a result takes in memory.
    pub(super) room: usize,
}

pub(in super::super) fn bindings(
    resolve: &Resolve,
    world: WorldId,
    entry: &str,
) -> Result<Bindings, String> {
    let mut sizes = SizeAlign::default();
    sizes.fill(resolve).map_err(|error| error.to_string())?;
    let mut generator = Generator {
        resolve,
        sizes,
        helpers: BTreeMap::new(),
        externals: String::new(),
        names: HashMap::new(),
        room: 16,
    };
    let (imported, exported) = generator.interfaces(world)?;
    let mut text = String::new();
    for (id, module) in &imported {
        let body = generator.namespace(*id, Some(module))?;
        text.push_str(&body);
    }
    for (id, _) in &exported {
        if !imported.iter().any(|(known, _)| known == id) {
            let body = generator.namespace(*id, None)?;
            text.push_str(&body);
        }
    }
    let mut exports = String::new();
    for (id, module) in &exported {
        exports.push_str(&generator.exported(*id, module)?);
    }
    Ok(generator.finish(&text, &exports, entry))
}

impl Generator<'_> {
    /// The interfaces on both sides of the world, with their full names.
    fn interfaces(&self, world: WorldId) -> Result<(Named, Named), String> {
        let world = &self.resolve.worlds[world];
        let named = |(key, item): (&WorldKey, &WorldItem)| match item {
            WorldItem::Interface { id, .. } => Ok((*id, self.resolve.name_world_key(key))),
            _ => Err("wit/: a policy's world names interfaces only".to_owned()),
        };
        let imports: Result<Named, String> = world.imports.iter().map(named).collect();
        let exports: Result<Named, String> = world.exports.iter().map(named).collect();
        Ok((imports?, exports?))
    }

    /// The types of an interface, and its functions if it is imported as `module`.
    fn namespace(&mut self, id: InterfaceId, module: Option<&str>) -> Result<String, String> {
        let interface = &self.resolve.interfaces[id];
        let name = super::types::camel(interface.name.as_deref().unwrap_or("policy"));
        let mut body = self.classes(id, module)?;
        if let Some(module) = module {
            for function in interface.functions.values() {
                if function.kind.resource().is_none() {
                    body.push_str(&self.imported(module, &name, function, "export function ")?);
                }
            }
        }
        Ok(format!("\nexport namespace {name} {{\n{body}}}\n"))
    }

    fn finish(self, text: &str, exports: &str, entry: &str) -> Bindings {
        let mut imports = format!("// Made from wit/. Do not edit.\n\n{PRELUDE}{text}");
        let _ = writeln!(
            imports,
            "\n// ---- values in memory\n\n/** Results of the gateway's functions. */\nconst RESULT: usize = memory.data({0}, 8);\n\
             /** The policy's own. */\nexport const OWN: usize = memory.data({0}, 8);\n",
            self.room
        );
        for helper in self.helpers.values() {
            imports.push_str(helper);
        }
        imports.push_str(&self.externals);
        let mut used: Vec<&str> = self.helpers.keys().map(String::as_str).collect();
        used.extend([
            "OWN",
            "Box",
            "Result",
            "Tuple2",
            "reallocate",
            "settle",
            "loadString",
            "textAt",
            "bytesAt",
            "storeString",
            "storeBytes",
        ]);
        let spaces = self.spaces().join(", ");
        let exports = format!(
            "// Made from wit/. Do not edit.\n\nimport * as policy from \"{entry}\";\nimport {{ {}, {spaces} }} from \"./policy\";\n\n\
             export function cabi_realloc(old: usize, had: usize, align: usize, size: usize): usize {{\n  return reallocate(old, had, size);\n}}\n\n{exports}",
            used.join(", "),
        );
        Bindings {
            imports,
            exports,
            names: self.names,
        }
    }

    /// The namespaces that a type of an export may be in.
    fn spaces(&self) -> Vec<String> {
        let named = self.resolve.interfaces.iter();
        named
            .filter(|(_, interface)| interface.name.as_deref() == Some("types"))
            .filter_map(|(_, interface)| interface.name.as_deref().map(super::types::camel))
            .collect()
    }
}
