//! Types of the contract as AssemblyScript's, and their classes.

use std::fmt::Write as _;

use wit_parser::{Handle, InterfaceId, Type, TypeDefKind, TypeId, TypeOwner};

use super::generator::Generator;

impl Generator<'_> {
    /// Behind its other names.
    pub(super) fn resolved(&self, ty: &Type) -> Type {
        match ty {
            Type::Id(id) => match &self.resolve.types[*id].kind {
                TypeDefKind::Type(other) => self.resolved(other),
                _ => *ty,
            },
            _ => *ty,
        }
    }

    pub(super) fn kind(&self, ty: &Type) -> Option<&TypeDefKind> {
        match self.resolved(ty) {
            Type::Id(id) => Some(&self.resolve.types[id].kind),
            _ => None,
        }
    }

    /// Its name in AssemblyScript.
    pub(super) fn name(&self, ty: &Type) -> Result<String, String> {
        let plain = match self.resolved(ty) {
            Type::Bool => "bool",
            Type::U8 => "u8",
            Type::U16 => "u16",
            Type::U32 | Type::Char => "u32",
            Type::U64 => "u64",
            Type::S8 => "i8",
            Type::S16 => "i16",
            Type::S32 => "i32",
            Type::S64 => "i64",
            Type::F32 => "f32",
            Type::F64 => "f64",
            Type::String => "string",
            Type::ErrorContext => return Err("error contexts are not supported".to_owned()),
            Type::Id(id) => return self.name_of(id),
        };
        Ok(plain.to_owned())
    }

    fn name_of(&self, id: TypeId) -> Result<String, String> {
        Ok(match &self.resolve.types[id].kind {
            TypeDefKind::List(item) if self.resolved(item) == Type::U8 => "ArrayBuffer".to_owned(),
            TypeDefKind::List(item) => format!("Array<{}>", self.name(item)?),
            TypeDefKind::Tuple(tuple) if tuple.types.len() == 2 => format!(
                "Tuple2<{}, {}>",
                self.name(&tuple.types[0])?,
                self.name(&tuple.types[1])?
            ),
            TypeDefKind::Option(some) => format!("{} | null", self.boxed(some)?),
            TypeDefKind::Result(result) => {
                let side = |ty: &Option<Type>| match ty {
                    Some(ty) => self.name(ty),
                    None => Ok("bool".to_owned()),
                };
                format!("Result<{}, {}>", side(&result.ok)?, side(&result.err)?)
            }
            TypeDefKind::Handle(Handle::Own(id) | Handle::Borrow(id)) => self.name_of(*id)?,
            TypeDefKind::Record(_)
            | TypeDefKind::Variant(_)
            | TypeDefKind::Enum(_)
            | TypeDefKind::Resource => self.qualified(id),
            other => return Err(format!("a {} is not supported", other.as_str())),
        })
    }

    fn qualified(&self, id: TypeId) -> String {
        let definition = &self.resolve.types[id];
        let own = pascal(definition.name.as_deref().unwrap_or("unnamed"));
        match definition.owner {
            TypeOwner::Interface(owner) => {
                let space = self.resolve.interfaces[owner].name.as_deref();
                format!("{}.{own}", camel(space.unwrap_or("policy")))
            }
            _ => own,
        }
    }

    /// As a class, which alone can be null.
    pub(super) fn boxed(&self, ty: &Type) -> Result<String, String> {
        let name = self.name(ty)?;
        Ok(if self.is_class(ty) {
            name
        } else {
            format!("Box<{name}>")
        })
    }

    pub(super) fn is_class(&self, ty: &Type) -> bool {
        match self.kind(ty) {
            Some(kind) => !matches!(kind, TypeDefKind::Enum(_)),
            None => self.resolved(ty) == Type::String,
        }
    }

    /// What a field of a new record holds.
    fn initial(&self, ty: &Type) -> Result<String, String> {
        let name = self.name(ty)?;
        Ok(match (self.resolved(ty), self.kind(ty)) {
            (Type::Bool, _) => "false".to_owned(),
            (Type::String, _) => "\"\"".to_owned(),
            (_, None) => "0".to_owned(),
            (_, Some(TypeDefKind::Option(_))) => "null".to_owned(),
            (_, Some(TypeDefKind::Enum(_))) => format!("<{name}>0"),
            (_, Some(TypeDefKind::List(_))) if name == "ArrayBuffer" => {
                "new ArrayBuffer(0)".to_owned()
            }
            (_, Some(TypeDefKind::List(_) | TypeDefKind::Record(_))) => format!("new {name}()"),
            // nothing stands for these: the field must be set
            _ => format!("changetype<{name}>(0)"),
        })
    }

    pub(super) fn classes(
        &mut self,
        id: InterfaceId,
        module: Option<&str>,
    ) -> Result<String, String> {
        let mut text = String::new();
        let types: Vec<TypeId> = self.resolve.interfaces[id]
            .types
            .values()
            .copied()
            .collect();
        for ty in types {
            let name = pascal(self.resolve.types[ty].name.as_deref().unwrap_or("unnamed"));
            match self.resolve.types[ty].kind.clone() {
                TypeDefKind::Record(record) => {
                    let _ = writeln!(text, "  export class {name} {{");
                    for field in &record.fields {
                        let (name, initial) = (self.name(&field.ty)?, self.initial(&field.ty)?);
                        let _ = writeln!(text, "    {}: {name} = {initial};", camel(&field.name));
                    }
                    text.push_str("  }\n");
                }
                TypeDefKind::Enum(cases) => {
                    let cases: Vec<String> =
                        cases.cases.iter().map(|case| pascal(&case.name)).collect();
                    let _ = writeln!(text, "  export enum {name} {{ {} }}", cases.join(", "));
                }
                TypeDefKind::Variant(variant) => text.push_str(&self.variant(&name, &variant)?),
                TypeDefKind::Resource => {
                    if let Some(module) = module {
                        text.push_str(&self.resource(module, id, ty, &name)?);
                    }
                }
                _ => {}
            }
        }
        Ok(text)
    }

    /// `tag` says which case it is; a case with a value has a field of its name, and each case a function that makes it.
    fn variant(&self, name: &str, variant: &wit_parser::Variant) -> Result<String, String> {
        let mut text = format!("  export class {name} {{\n    tag: i32 = 0;\n");
        for (tag, case) in variant.cases.iter().enumerate() {
            let (own, made) = (camel(&case.name), pascal(&case.name));
            match &case.ty {
                Some(ty) => {
                    let ty = self.boxed(ty)?;
                    let _ = writeln!(
                        text,
                        "    {own}: {ty} | null = null;\n    static of{made}(value: {ty}): {name} {{\n      \
                         const made = new {name}();\n      made.tag = {tag};\n      made.{own} = value;\n      return made;\n    }}"
                    );
                }
                None => {
                    let _ = writeln!(
                        text,
                        "    static of{made}(): {name} {{\n      const made = new {name}();\n      made.tag = {tag};\n      return made;\n    }}"
                    );
                }
            }
        }
        text.push_str("  }\n");
        Ok(text)
    }

    fn resource(
        &mut self,
        module: &str,
        interface: InterfaceId,
        id: TypeId,
        name: &str,
    ) -> Result<String, String> {
        let wit = self.resolve.types[id].name.clone().unwrap_or_default();
        let drop = self.external(
            module,
            &format!("[resource-drop]{wit}"),
            &["i32".to_owned()],
            "void",
        );
        let mut text = format!(
            "  export class {name} {{\n    constructor(public handle: i32) {{}}\n    /** Gives it back; it must not be used any more. */\n    \
             drop(): void {{\n      {drop}(this.handle);\n    }}\n"
        );
        let functions: Vec<_> = self.resolve.interfaces[interface]
            .functions
            .values()
            .filter(|function| function.kind.resource() == Some(id))
            .cloned()
            .collect();
        for function in functions {
            let is_static = matches!(function.kind, wit_parser::FunctionKind::Static(_));
            let lead = if is_static { "  static " } else { "  " };
            let space = camel(
                self.resolve.interfaces[interface]
                    .name
                    .as_deref()
                    .unwrap_or("policy"),
            );
            text.push_str(&self.imported(module, &space, &function, lead)?);
        }
        text.push_str("  }\n");
        Ok(text)
    }
}

/// Words that a name must not be.
const TAKEN: [&str; 8] = [
    "default", "for", "delete", "in", "new", "type", "return", "function",
];

pub(super) fn camel(name: &str) -> String {
    let pascal = pascal(name);
    let mut letters = pascal.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    let name: String = first.into_iter().chain(letters).collect();
    if TAKEN.contains(&name.as_str()) {
        format!("{name}_")
    } else {
        name
    }
}

pub(in super::super) fn pascal(name: &str) -> String {
    name.split('-')
        .map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            first.into_iter().chain(letters).collect::<String>()
        })
        .collect()
}
