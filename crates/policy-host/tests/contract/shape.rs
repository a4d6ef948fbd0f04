//! A contract as a table: each function, type, and item of a world by its name, with all that a module built against it relies on.

use std::collections::BTreeMap;

use wit_parser::{
    Function, Handle, InterfaceId, PackageId, Resolve, Type, TypeDefKind, TypeId, WorldItem,
    WorldKey,
};

pub fn of(resolve: &Resolve, package: PackageId) -> BTreeMap<String, String> {
    let mut table = BTreeMap::new();
    for (name, id) in &resolve.packages[package].interfaces {
        let interface = &resolve.interfaces[*id];
        for func in interface.functions.values() {
            table.insert(
                format!("function {name}/{}", func.name),
                function(resolve, func),
            );
        }
        for (of_type, id) in &interface.types {
            table.insert(format!("type {name}/{of_type}"), defined(resolve, *id));
        }
    }
    for (name, id) in &resolve.packages[package].worlds {
        let world = &resolve.worlds[*id];
        for (word, items) in [("import", &world.imports), ("export", &world.exports)] {
            for (key, item) in items {
                let entry = format!("world {name} {word} {}", key_name(resolve, key));
                let what = match item {
                    WorldItem::Interface { .. } => "interface",
                    WorldItem::Function(_) => "function",
                    WorldItem::Type { .. } => "type",
                };
                table.insert(entry, what.to_owned());
            }
        }
    }
    table
}

fn key_name(resolve: &Resolve, key: &WorldKey) -> String {
    match key {
        WorldKey::Name(name) => name.clone(),
        WorldKey::Interface(id) => interface_name(resolve, *id),
    }
}

fn interface_name(resolve: &Resolve, id: InterfaceId) -> String {
    resolve.interfaces[id].name.clone().unwrap_or_default()
}

fn function(resolve: &Resolve, func: &Function) -> String {
    let params: Vec<String> = func
        .params
        .iter()
        .map(|param| format!("{}: {}", param.name, named(resolve, &param.ty)))
        .collect();
    let result = func
        .result
        .as_ref()
        .map_or("nothing".to_owned(), |result| named(resolve, result));
    let kind = match func.kind.resource() {
        Some(resource) => format!("of {}", named(resolve, &Type::Id(resource))),
        None => "free".to_owned(),
    };
    format!(
        "{kind}, {}({}) -> {result}",
        if func.kind.is_async() { "async " } else { "" },
        params.join(", ")
    )
}

/// What a name stands for, to the end: aliases are followed, but the types within have entries of their own by their names.
fn defined(resolve: &Resolve, id: TypeId) -> String {
    let of = |ty: &Type| named(resolve, ty);
    let maybe = |ty: &Option<Type>| ty.as_ref().map_or("_".to_owned(), of);
    let fields = |fields: Vec<String>| fields.join(", ");
    match &resolve.types[id].kind {
        TypeDefKind::Record(record) => {
            let all = record.fields.iter();
            let all = all.map(|field| format!("{}: {}", field.name, of(&field.ty)));
            format!("record {{ {} }}", fields(all.collect()))
        }
        TypeDefKind::Variant(variant) => {
            let all = variant.cases.iter();
            let all = all.map(|case| format!("{}({})", case.name, maybe(&case.ty)));
            format!("variant {{ {} }}", fields(all.collect()))
        }
        TypeDefKind::Enum(kinds) => {
            let all = kinds.cases.iter().map(|case| case.name.clone());
            format!("enum {{ {} }}", fields(all.collect()))
        }
        TypeDefKind::Flags(flags) => {
            let all = flags.flags.iter().map(|flag| flag.name.clone());
            format!("flags {{ {} }}", fields(all.collect()))
        }
        TypeDefKind::Tuple(tuple) => {
            format!("tuple<{}>", fields(tuple.types.iter().map(of).collect()))
        }
        TypeDefKind::Resource => "resource".to_owned(),
        TypeDefKind::Handle(Handle::Own(id)) => of(&Type::Id(*id)),
        TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{}>", of(&Type::Id(*id))),
        TypeDefKind::Option(ty) => format!("option<{}>", of(ty)),
        TypeDefKind::List(ty) => format!("list<{}>", of(ty)),
        TypeDefKind::Result(result) => {
            format!("result<{}, {}>", maybe(&result.ok), maybe(&result.err))
        }
        TypeDefKind::Type(ty) => of(ty),
        other => panic!(
            "the contract has no {} yet: compare it here",
            other.as_str()
        ),
    }
}

/// A type by where it was first defined, or by its structure if it has no name.
fn named(resolve: &Resolve, ty: &Type) -> String {
    let Type::Id(id) = ty else {
        return format!("{ty:?}").to_lowercase();
    };
    let def = &resolve.types[*id];
    match (&def.name, &def.kind, &def.owner) {
        // `use`, or an alias: what it stands for.
        (_, TypeDefKind::Type(ty), _) => named(resolve, ty),
        (Some(name), _, wit_parser::TypeOwner::Interface(owner)) => {
            format!("{}/{name}", interface_name(resolve, *owner))
        }
        _ => defined(resolve, *id),
    }
}
