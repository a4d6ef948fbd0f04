//! The parts within a component, each read by itself: the core module, the two small modules that `wit-component` may add, and the
//! components that give an exported interface its types.

use std::collections::HashSet;
use std::ops::Range;

use wasmparser::{
    ComponentExternalKind, ComponentTypeRef, CompositeInnerType, ElementItems, ElementKind,
    Encoding, Export, ExternalKind, FunctionBody, Operator, Parser, Payload, TableInit, TypeRef,
};

use super::{Unlike, push};

/// A core module of the component.
pub(super) enum Module<'a> {
    Main(Main<'a>),
    Trampolines(Trampolines<'a>),
    Filling(Filling<'a>),
}

/// The guest's own module.
pub(super) struct Main<'a> {
    pub range: Range<usize>,
    /// Functions only.
    pub imports: Vec<(&'a str, &'a str)>,
    pub has_initialize: bool,
    /// The names of functions that look like hooks.
    pub hooks: Vec<&'a str>,
    /// The names of what is to be called after a hook.
    pub post_returns: HashSet<&'a str>,
}

/// Functions that stand in for those that need the main module's memory, which is not there before it is instantiated: each calls,
/// with its own arguments, what an entry of a table holds by then.
pub(super) struct Trampolines<'a> {
    /// An export's name and its entry.
    pub exports: Vec<(&'a str, usize)>,
    pub table: Option<&'a str>,
    /// How many entries the table has.
    pub room: u64,
}

/// Fills that table, and calls `_initialize`, by no more than being instantiated.
#[derive(Default)]
pub(super) struct Filling<'a> {
    pub functions: Vec<(&'a str, &'a str)>,
    pub table: Option<(&'a str, &'a str)>,
    /// Which of the functions goes into which entry.
    pub entries: Vec<u32>,
    pub start: Option<u32>,
}

/// A component that exports what it imports, with the types' names.
pub(super) struct Wrapper<'a> {
    /// Under which name it exports a function, and under which it imports it.
    pub functions: Vec<(&'a str, &'a str)>,
}

fn surprising() -> Unlike {
    Unlike::because("it has a module besides the main one that `wit-component` would not make")
}

/// Whether this is a header of the right kind, or something else that says nothing about a part's shape.
fn header(payload: &Payload<'_>, expected: Encoding) -> Result<bool, Unlike> {
    match payload {
        Payload::Version { encoding, .. } if *encoding == expected => Ok(true),
        Payload::Version { .. } => Err(Unlike::because("one of its parts is of the wrong kind")),
        Payload::CustomSection(_) | Payload::End(_) => Ok(true),
        _ => Ok(false),
    }
}

impl<'a> Main<'a> {
    pub fn read(range: Range<usize>, wasm: &'a [u8]) -> Result<Self, Unlike> {
        let mut main = Self {
            range,
            imports: Vec::new(),
            has_initialize: false,
            hooks: Vec::new(),
            post_returns: HashSet::new(),
        };
        let mut plain_memories = Vec::new();
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload?;
            if header(&payload, Encoding::Module)? {
                continue;
            }
            match payload {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        if !matches!(import.ty, TypeRef::Func(_)) {
                            return Err(Unlike::because(
                                "its module imports something other than functions",
                            ));
                        }
                        push(&mut main.imports, (import.module, import.name))?;
                    }
                }
                Payload::MemorySection(section) => {
                    for memory in section {
                        let memory = memory?;
                        let plain =
                            !memory.memory64 && !memory.shared && memory.page_size_log2.is_none();
                        push(&mut plain_memories, plain)?;
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        main.export(&export?, &plain_memories)?;
                    }
                }
                _ => {}
            }
        }
        Ok(main)
    }

    fn export(&mut self, export: &Export<'a>, plain_memories: &[bool]) -> Result<(), Unlike> {
        match (export.kind, export.name) {
            (ExternalKind::Func, "_initialize") => self.has_initialize = true,
            (ExternalKind::Func, name) if name.starts_with("veilgate:policy/") => {
                push(&mut self.hooks, name)?;
            }
            (ExternalKind::Func, name) if name.starts_with("cabi_post_") => {
                if self.post_returns.len() >= super::LIMIT {
                    return Err(Unlike::because("it has too many parts"));
                }
                self.post_returns.insert(name);
            }
            (ExternalKind::Memory, "memory") => {
                let plain = usize::try_from(export.index).ok();
                if plain.and_then(|at| plain_memories.get(at)) != Some(&true) {
                    return Err(Unlike::because("its memory is not a plain one of 32 bits"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Module<'a> {
    /// Any module but the main one. The trampolines import nothing, and what fills their table must import it.
    pub fn added(wasm: &'a [u8]) -> Result<Self, Unlike> {
        let mut imports = false;
        let mut others = Vec::new();
        let mut filling = Filling::default();
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload?;
            if header(&payload, Encoding::Module)? {
                continue;
            }
            match payload {
                Payload::ImportSection(section) => {
                    imports = true;
                    for import in section.into_imports() {
                        let import = import?;
                        let name = (import.module, import.name);
                        match import.ty {
                            TypeRef::Func(_) => push(&mut filling.functions, name)?,
                            TypeRef::Table(_) if filling.table.is_none() => {
                                filling.table = Some(name);
                            }
                            _ => return Err(surprising()),
                        }
                    }
                }
                other => push(&mut others, other)?,
            }
        }
        if imports {
            for payload in others {
                filling.section(payload)?;
            }
            Ok(Self::Filling(filling))
        } else {
            Trampolines::read(others).map(Self::Trampolines)
        }
    }
}

impl<'a> Filling<'a> {
    fn section(&mut self, payload: Payload<'a>) -> Result<(), Unlike> {
        match payload {
            Payload::TypeSection(_) => {}
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::ElementSection(section) => {
                if section.count() != 1 {
                    return Err(surprising());
                }
                for element in section {
                    let element = element?;
                    let ElementKind::Active {
                        table_index: None | Some(0),
                        offset_expr,
                    } = element.kind
                    else {
                        return Err(surprising());
                    };
                    let mut offset = offset_expr.get_operators_reader();
                    let first = matches!(offset.read()?, Operator::I32Const { value: 0 })
                        && matches!(offset.read()?, Operator::End)
                        && offset.eof();
                    let ElementItems::Functions(functions) = element.items else {
                        return Err(surprising());
                    };
                    if !first {
                        return Err(surprising());
                    }
                    for function in functions {
                        push(&mut self.entries, function?)?;
                    }
                }
            }
            _ => return Err(surprising()),
        }
        Ok(())
    }
}

impl<'a> Trampolines<'a> {
    fn read(payloads: Vec<Payload<'a>>) -> Result<Self, Unlike> {
        // How many parameters a type has; the type of each function; its entry.
        let (mut types, mut functions, mut entries) = (Vec::new(), Vec::new(), Vec::new());
        let (mut exports, mut table) = (Vec::new(), None);
        let mut room = None;
        for payload in payloads {
            match payload {
                Payload::TypeSection(section) => {
                    for group in section {
                        for ty in group?.into_types() {
                            match ty.composite_type.inner {
                                CompositeInnerType::Func(ty) => {
                                    push(&mut types, ty.params().len())?;
                                }
                                _ => return Err(surprising()),
                            }
                        }
                    }
                }
                Payload::FunctionSection(section) => {
                    for ty in section {
                        push(&mut functions, ty?)?;
                    }
                }
                Payload::TableSection(section) => {
                    for table in section {
                        let table = table?;
                        let empty = matches!(table.init, TableInit::RefNull);
                        if !empty || room.replace(table.ty.initial).is_some() {
                            return Err(surprising());
                        }
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        push(&mut exports, export?)?;
                    }
                }
                Payload::CodeSectionStart { .. } => {}
                Payload::CodeSectionEntry(body) => {
                    let ty = *functions.get(entries.len()).ok_or_else(surprising)?;
                    let parameters = usize::try_from(ty).ok().and_then(|at| types.get(at));
                    let parameters = *parameters.ok_or_else(surprising)?;
                    push(&mut entries, entry(&body, ty, parameters)?)?;
                }
                _ => return Err(surprising()),
            }
        }
        let mut found = Vec::new();
        for export in exports {
            match export.kind {
                ExternalKind::Func => {
                    let at = usize::try_from(export.index).ok();
                    let entry = at.and_then(|at| entries.get(at)).ok_or_else(surprising)?;
                    found.push((export.name, *entry));
                }
                ExternalKind::Table => table = Some(export.name),
                _ => return Err(surprising()),
            }
        }
        Ok(Self {
            exports: found,
            table,
            room: room.unwrap_or(0),
        })
    }
}

/// Which entry of the table a trampoline calls.
fn entry(body: &FunctionBody<'_>, ty: u32, parameters: usize) -> Result<usize, Unlike> {
    if body.get_locals_reader()?.get_count() != 0 {
        return Err(surprising());
    }
    let mut code = body.get_operators_reader()?;
    for parameter in 0..parameters {
        match code.read()? {
            Operator::LocalGet { local_index } if usize::try_from(local_index) == Ok(parameter) => {
            }
            _ => return Err(surprising()),
        }
    }
    let Operator::I32Const { value } = code.read()? else {
        return Err(surprising());
    };
    let call = matches!(
        code.read()?,
        Operator::CallIndirect { type_index, table_index: 0 } if type_index == ty
    );
    if !call || !matches!(code.read()?, Operator::End) || !code.eof() {
        return Err(surprising());
    }
    usize::try_from(value).map_err(|_| surprising())
}

impl<'a> Wrapper<'a> {
    pub fn read(wasm: &'a [u8]) -> Result<Self, Unlike> {
        let nested = || Unlike::because("it has a component within that does more than name types");
        // The index space: the name under which a function was imported, whatever became of it since.
        let mut space: Vec<&'a str> = Vec::new();
        let mut functions = Vec::new();
        // `parse_all` would go on into what is nested further; the first sign of it is refused.
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload?;
            if header(&payload, Encoding::Component)? {
                continue;
            }
            match payload {
                Payload::ComponentTypeSection(_) => {}
                Payload::ComponentImportSection(section) => {
                    for import in section {
                        let import = import?;
                        match import.ty {
                            ComponentTypeRef::Func(_) => push(&mut space, import.name.name)?,
                            ComponentTypeRef::Type(_) => {}
                            _ => return Err(nested()),
                        }
                    }
                }
                Payload::ComponentExportSection(section) => {
                    for export in section {
                        let export = export?;
                        match export.kind {
                            ComponentExternalKind::Func => {
                                let at = usize::try_from(export.index).ok();
                                let import = at.and_then(|at| space.get(at)).copied();
                                let import = import.ok_or_else(nested)?;
                                push(&mut functions, (export.name.name, import))?;
                                push(&mut space, import)?;
                            }
                            ComponentExternalKind::Type => {}
                            _ => return Err(nested()),
                        }
                    }
                }
                _ => return Err(nested()),
            }
        }
        Ok(Self { functions })
    }
}
