//! Whether a component means by the contract what this host means by it: every function that it imports or exports is there, with
//! the same types. The host then calls the component's module, and is called by it, by what its own contract says.
//!
//! A component may use fewer functions than there are; a type that a function takes or gives must be equal in full. The types are those that the validator finds: a component that is not valid is refused here as well.

use std::sync::LazyLock;

use wasmparser::component_types::{
    AliasableResourceId, ComponentAnyTypeId, ComponentDefinedType, ComponentEntityType,
    ComponentFuncType, ComponentInstanceTypeId, ComponentValType,
};
use wasmparser::types::Types;
use wasmparser::{Parser, Payload, PrimitiveValType, ValidPayload, Validator};
use wit_parser::{Function, Handle, Interface, PackageId, Resolve, Type, TypeDefKind, TypeId};

use super::shape::{Unlike, interface_of};

const TEXT: &str = include_str!("../../../../guest-sdk/wit/policy.wit");

/// Deeper than any type of the contract, and than the validator allows.
const DEPTH: usize = 100;

static CONTRACT: LazyLock<Option<Contract>> = LazyLock::new(|| {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("policy.wit", TEXT).ok()?;
    Some(Contract { resolve, package })
});

struct Contract {
    resolve: Resolve,
    package: PackageId,
}

/// Only the interfaces of the contract's package are looked at.
pub(super) fn speaks(wasm: &[u8]) -> Result<(), Unlike> {
    let unread = || Unlike::because("the contract could not be read");
    let contract = CONTRACT.as_ref().ok_or_else(unread)?;
    let mut validator = Validator::new();
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let mut depth = 0_usize;
    let mut types = None;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        match validator.payload(&payload)? {
            // The bodies of functions are left to whoever compiles the module.
            ValidPayload::Ok | ValidPayload::Func(..) => {}
            ValidPayload::Parser(_) => depth += 1,
            ValidPayload::End(found) => match depth.checked_sub(1) {
                Some(outer) => depth = outer,
                None => types = Some(found),
            },
        }
        match payload {
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.push(import?.name.name);
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    exports.push(export?.name.name);
                }
            }
            _ => {}
        }
    }
    let types = types.ok_or_else(|| Unlike::because("it ends too early"))?;
    let all = imports
        .iter()
        .map(|&name| (name, types.component_item_for_import(name)))
        .chain(
            exports
                .iter()
                .map(|&name| (name, types.component_item_for_export(name))),
        );
    for (name, item) in all {
        if !name.starts_with("veilgate:policy/") {
            continue;
        }
        let unknown = || Unlike::naming("the contract has no interface", name);
        let interface = interface_of(name).ok_or_else(unknown)?;
        let interfaces = &contract.resolve.packages[contract.package].interfaces;
        let interface = interfaces.get(interface).ok_or_else(unknown)?;
        let Some(ComponentEntityType::Instance(instance)) = item.map(|item| item.ty) else {
            return Err(unknown());
        };
        let comparison = Comparison {
            types: &types,
            resolve: &contract.resolve,
            interface: &contract.resolve.interfaces[*interface],
            instance,
        };
        comparison.interface(name)?;
    }
    Ok(())
}

/// One interface, as the contract has it and as the component has it.
struct Comparison<'a> {
    types: &'a Types,
    resolve: &'a Resolve,
    interface: &'a Interface,
    instance: ComponentInstanceTypeId,
}

impl Comparison<'_> {
    fn interface(&self, interface: &str) -> Result<(), Unlike> {
        for (name, item) in &self.types[self.instance].exports {
            let same = match item.ty {
                ComponentEntityType::Func(id) => self
                    .interface
                    .functions
                    .get(name)
                    .is_some_and(|ours| self.function(ours, &self.types[id])),
                // The host has to know a resource to drop it.
                ComponentEntityType::Type {
                    created: ComponentAnyTypeId::Resource(_),
                    ..
                } => self.our_resource(name),
                // A type that no function uses crosses nowhere.
                ComponentEntityType::Type { .. } => true,
                _ => false,
            };
            if !same {
                let name = format!("{interface}#{name}");
                return Err(Unlike::naming("the contract differs in", &name));
            }
        }
        Ok(())
    }

    /// The names of parameters are of no account to a call.
    fn function(&self, ours: &Function, theirs: &ComponentFuncType) -> bool {
        !theirs.async_
            && !ours.kind.is_async()
            && ours.params.len() == theirs.params.len()
            && ours
                .params
                .iter()
                .zip(&theirs.params)
                .all(|(ours, (_, theirs))| self.same(&ours.ty, theirs, DEPTH))
            && self.both(ours.result.as_ref(), theirs.result.as_ref(), DEPTH)
    }

    fn both(&self, ours: Option<&Type>, theirs: Option<&ComponentValType>, depth: usize) -> bool {
        match (ours, theirs) {
            (None, None) => true,
            (Some(ours), Some(theirs)) => self.same(ours, theirs, depth),
            _ => false,
        }
    }

    fn same(&self, ours: &Type, theirs: &ComponentValType, depth: usize) -> bool {
        let Some(depth) = depth.checked_sub(1) else {
            return false;
        };
        let theirs = match theirs {
            ComponentValType::Primitive(theirs) => return self.primitive(ours) == Some(*theirs),
            ComponentValType::Type(id) => &self.types[*id],
        };
        if let ComponentDefinedType::Primitive(theirs) = theirs {
            return self.primitive(ours) == Some(*theirs);
        }
        let Type::Id(id) = self.behind(ours) else {
            return false;
        };
        match (&self.resolve.types[id].kind, theirs) {
            (TypeDefKind::Record(ours), ComponentDefinedType::Record(theirs)) => {
                ours.fields.len() == theirs.fields.len()
                    && ours
                        .fields
                        .iter()
                        .zip(&theirs.fields)
                        .all(|(ours, (name, theirs))| {
                            ours.name == name.as_str() && self.same(&ours.ty, theirs, depth)
                        })
            }
            (TypeDefKind::Variant(ours), ComponentDefinedType::Variant(theirs)) => {
                ours.cases.len() == theirs.cases.len()
                    && ours
                        .cases
                        .iter()
                        .zip(&theirs.cases)
                        .all(|(ours, (name, theirs))| {
                            ours.name == name.as_str()
                                && self.both(ours.ty.as_ref(), theirs.ty.as_ref(), depth)
                        })
            }
            (TypeDefKind::Enum(ours), ComponentDefinedType::Enum(theirs)) => ours
                .cases
                .iter()
                .map(|case| case.name.as_str())
                .eq(theirs.iter().map(|name| name.as_str())),
            (TypeDefKind::Flags(ours), ComponentDefinedType::Flags(theirs)) => ours
                .flags
                .iter()
                .map(|flag| flag.name.as_str())
                .eq(theirs.iter().map(|name| name.as_str())),
            (TypeDefKind::Tuple(ours), ComponentDefinedType::Tuple(theirs)) => {
                ours.types.len() == theirs.types.len()
                    && ours
                        .types
                        .iter()
                        .zip(&theirs.types)
                        .all(|(ours, theirs)| self.same(ours, theirs, depth))
            }
            (TypeDefKind::List(ours), ComponentDefinedType::List { element, .. }) => {
                self.same(ours, element, depth)
            }
            (TypeDefKind::Option(ours), ComponentDefinedType::Option { ty, .. }) => {
                self.same(ours, ty, depth)
            }
            (TypeDefKind::Result(ours), ComponentDefinedType::Result { ok, err, .. }) => {
                self.both(ours.ok.as_ref(), ok.as_ref(), depth)
                    && self.both(ours.err.as_ref(), err.as_ref(), depth)
            }
            (TypeDefKind::Handle(Handle::Own(ours)), ComponentDefinedType::Own(theirs))
            | (TypeDefKind::Handle(Handle::Borrow(ours)), ComponentDefinedType::Borrow(theirs)) => {
                self.resource(*ours, *theirs)
            }
            // What the contract has not.
            _ => false,
        }
    }

    /// What a name that was given to another type stands for. A chain of such names has an end, as a contract that parsed has no
    /// circles.
    fn behind(&self, ours: &Type) -> Type {
        let mut ours = *ours;
        while let Type::Id(id) = ours
            && let TypeDefKind::Type(next) = &self.resolve.types[id].kind
        {
            ours = *next;
        }
        ours
    }

    fn primitive(&self, ours: &Type) -> Option<PrimitiveValType> {
        Some(match self.behind(ours) {
            Type::Bool => PrimitiveValType::Bool,
            Type::U8 => PrimitiveValType::U8,
            Type::U16 => PrimitiveValType::U16,
            Type::U32 => PrimitiveValType::U32,
            Type::U64 => PrimitiveValType::U64,
            Type::S8 => PrimitiveValType::S8,
            Type::S16 => PrimitiveValType::S16,
            Type::S32 => PrimitiveValType::S32,
            Type::S64 => PrimitiveValType::S64,
            Type::F32 => PrimitiveValType::F32,
            Type::F64 => PrimitiveValType::F64,
            Type::Char => PrimitiveValType::Char,
            Type::String => PrimitiveValType::String,
            Type::ErrorContext | Type::Id(_) => return None,
        })
    }

    fn our_resource(&self, name: &str) -> bool {
        let ours = self.interface.types.get(name);
        ours.is_some_and(|ours| matches!(self.resolve.types[*ours].kind, TypeDefKind::Resource))
    }

    /// The same resource of this interface; the contract passes none from one interface to another.
    fn resource(&self, ours: TypeId, theirs: AliasableResourceId) -> bool {
        let Type::Id(ours) = self.behind(&Type::Id(ours)) else {
            return false;
        };
        let Some(name) = self.resolve.types[ours].name.as_deref() else {
            return false;
        };
        let exported = self.types[self.instance].exports.get(name);
        self.interface.types.get(name) == Some(&ours)
            && exported.is_some_and(|item| {
                matches!(
                    item.ty,
                    ComponentEntityType::Type { created: ComponentAnyTypeId::Resource(created), .. }
                        if created.resource() == theirs.resource()
                )
            })
    }
}

#[cfg(test)]
mod tests;
