//! TypeScript's declarations of the contract, for the author's editor: componentize-qjs makes the bindings themselves.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use wit_parser::{
    Function, FunctionKind, Handle, InterfaceId, Resolve, Type, TypeDefKind, TypeId, TypeOwner,
    WorldId, WorldItem,
};

/// A module for each interface that the world imports, and one, `veilgate:hooks`, for what it exports.
pub(super) fn declarations(resolve: &Resolve, world: WorldId) -> String {
    let mut text =
        "// Made from wit/. Do not edit. A u64 is a number: exact up to 2^53.\n".to_owned();
    for (key, item) in &resolve.worlds[world].imports {
        if let WorldItem::Interface { id, .. } = item {
            let name = resolve.name_world_key(key);
            let _ = writeln!(text, "\ndeclare module '{name}' {{");
            text.push_str(&types(resolve, *id, &mut BTreeSet::new()));
            for function in free(resolve, *id) {
                let _ = writeln!(text, "  export function {};", signature(resolve, function));
            }
            text.push_str("}\n");
        }
    }
    text.push_str("\ndeclare module 'veilgate:hooks' {\n");
    let mut declared = BTreeSet::new();
    for (_, item) in &resolve.worlds[world].exports {
        if let WorldItem::Interface { id, .. } = item {
            let name = resolve.interfaces[*id].name.as_deref().unwrap_or("hook");
            text.push_str(&types(resolve, *id, &mut declared));
            let _ = writeln!(text, "  export interface {} {{", pascal(name));
            for function in free(resolve, *id) {
                let _ = writeln!(text, "    {};", signature(resolve, function));
            }
            text.push_str("  }\n");
        }
    }
    text.push_str("}\n");
    text
}

fn free(resolve: &Resolve, id: InterfaceId) -> impl Iterator<Item = &Function> {
    let functions = resolve.interfaces[id].functions.values();
    functions.filter(|function| function.kind.resource().is_none())
}

fn signature(resolve: &Resolve, function: &Function) -> String {
    let is_method = matches!(function.kind, FunctionKind::Method(_));
    let parameters: Vec<String> = function
        .params
        .iter()
        .skip(usize::from(is_method))
        .map(|parameter| {
            format!(
                "{}: {}",
                camel(&parameter.name),
                name(resolve, &parameter.ty)
            )
        })
        .collect();
    let result = function
        .result
        .map_or_else(|| "void".to_owned(), |ty| name(resolve, &ty));
    let own = camel(function.item_name());
    format!("{own}({}): {result}", parameters.join(", "))
}

/// What of an interface's types is not `declared`: hooks share the names that they use.
fn types(resolve: &Resolve, interface: InterfaceId, declared: &mut BTreeSet<String>) -> String {
    let mut text = String::new();
    for (own, id) in &resolve.interfaces[interface].types {
        let own = pascal(own);
        if !declared.insert(own.clone()) {
            continue;
        }
        match &resolve.types[*id].kind {
            TypeDefKind::Record(record) => {
                let _ = writeln!(text, "  export interface {own} {{");
                for field in &record.fields {
                    let optional = matches!(kind(resolve, &field.ty), Some(TypeDefKind::Option(_)));
                    let mark = if optional { "?" } else { "" };
                    let ty = name(resolve, &field.ty);
                    let _ = writeln!(text, "    {}{mark}: {ty};", camel(&field.name));
                }
                text.push_str("  }\n");
            }
            TypeDefKind::Enum(cases) => {
                let cases: Vec<String> = cases
                    .cases
                    .iter()
                    .map(|case| format!("'{}'", case.name))
                    .collect();
                let _ = writeln!(text, "  export type {own} = {};", cases.join(" | "));
            }
            TypeDefKind::Variant(variant) => {
                let cases: Vec<String> = variant
                    .cases
                    .iter()
                    .map(|case| match &case.ty {
                        Some(ty) => {
                            format!("{{ tag: '{}', val: {} }}", case.name, name(resolve, ty))
                        }
                        None => format!("{{ tag: '{}' }}", case.name),
                    })
                    .collect();
                let _ = writeln!(text, "  export type {own} = {};", cases.join(" | "));
            }
            TypeDefKind::Resource => text.push_str(&class(resolve, interface, *id, &own)),
            TypeDefKind::Type(Type::Id(other)) => {
                let _ = writeln!(
                    text,
                    "  export type {own} = {};",
                    reference(resolve, *other)
                );
            }
            _ => {
                let ty = shape(resolve, *id);
                let _ = writeln!(text, "  export type {own} = {ty};");
            }
        }
    }
    text
}

fn class(resolve: &Resolve, interface: InterfaceId, id: TypeId, own: &str) -> String {
    let mut text = format!("  export class {own} {{\n    private constructor();\n");
    for function in resolve.interfaces[interface].functions.values() {
        if function.kind.resource() == Some(id) {
            let is_static = matches!(function.kind, FunctionKind::Static(_));
            let lead = if is_static { "static " } else { "" };
            let _ = writeln!(text, "    {lead}{};", signature(resolve, function));
        }
    }
    text.push_str("  }\n");
    text
}

fn kind<'r>(resolve: &'r Resolve, ty: &Type) -> Option<&'r TypeDefKind> {
    match ty {
        Type::Id(id) => match &resolve.types[*id].kind {
            TypeDefKind::Type(other) => kind(resolve, other),
            kind => Some(kind),
        },
        _ => None,
    }
}

fn name(resolve: &Resolve, ty: &Type) -> String {
    match ty {
        Type::Bool => "boolean",
        Type::String | Type::Char => "string",
        Type::Id(id) => return reference(resolve, *id),
        _ => "number",
    }
    .to_owned()
}

/// A type by its name, where it has one.
fn reference(resolve: &Resolve, id: TypeId) -> String {
    let definition = &resolve.types[id];
    match (&definition.name, definition.owner) {
        (Some(own), TypeOwner::Interface(owner)) => match resolve.id_of(owner) {
            // what only hooks use is declared with them
            Some(module) if !module.contains("-hook@") => {
                format!("import('{module}').{}", pascal(own))
            }
            _ => pascal(own),
        },
        _ => shape(resolve, id),
    }
}

fn shape(resolve: &Resolve, id: TypeId) -> String {
    match &resolve.types[id].kind {
        TypeDefKind::List(Type::U8) => "Uint8Array".to_owned(),
        TypeDefKind::List(item) => format!("Array<{}>", name(resolve, item)),
        TypeDefKind::Tuple(tuple) => {
            let items: Vec<String> = tuple.types.iter().map(|ty| name(resolve, ty)).collect();
            format!("[{}]", items.join(", "))
        }
        TypeDefKind::Option(some) => format!("{} | null", name(resolve, some)),
        // an error is thrown
        TypeDefKind::Result(result) => result
            .ok
            .map_or_else(|| "void".to_owned(), |ty| name(resolve, &ty)),
        TypeDefKind::Handle(Handle::Own(id) | Handle::Borrow(id)) => reference(resolve, *id),
        TypeDefKind::Type(ty) => name(resolve, ty),
        _ => "unknown".to_owned(),
    }
}

fn pascal(name: &str) -> String {
    super::assemblyscript::pascal(name)
}

fn camel(name: &str) -> String {
    let pascal = pascal(name);
    let mut letters = pascal.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}
