//! Values in linear memory, as the canonical ABI lays them out: one function to read and one to write each type that needs it.

use std::fmt::Write as _;

use wit_parser::{Int, Type, TypeDefKind};

use super::generator::Generator;
use super::types::camel;

impl Generator<'_> {
    pub(super) fn size(&self, ty: &Type) -> usize {
        self.sizes.size(ty).size_wasm32()
    }

    fn payload<'t>(&self, tag: Int, cases: impl IntoIterator<Item = Option<&'t Type>>) -> usize {
        self.sizes.payload_offset(tag, cases).size_wasm32()
    }

    fn fields(&self, types: &[Type]) -> Vec<usize> {
        let offsets = self.sizes.field_offsets(types);
        offsets
            .iter()
            .map(|(offset, _)| offset.size_wasm32())
            .collect()
    }

    /// An expression that reads a value at `at`.
    pub(super) fn load(&mut self, ty: &Type, at: &str) -> Result<String, String> {
        let name = self.name(ty)?;
        Ok(match (self.resolved(ty), self.kind(ty)) {
            (Type::Bool, _) => format!("load<u8>({at}) != 0"),
            (Type::String, _) => format!("loadString({at})"),
            (_, None) => format!("load<{name}>({at})"),
            (_, Some(TypeDefKind::Enum(_))) => format!("<{name}>load<u8>({at})"),
            (_, Some(TypeDefKind::Handle(_))) => format!("new {name}(load<i32>({at}))"),
            (_, Some(TypeDefKind::List(_))) if name == "ArrayBuffer" => format!("loadBytes({at})"),
            _ => format!("{}({at})", self.helper("load", ty)?),
        })
    }

    /// A statement that writes `value` at `at`.
    pub(super) fn store(&mut self, ty: &Type, at: &str, value: &str) -> Result<String, String> {
        let name = self.name(ty)?;
        Ok(match (self.resolved(ty), self.kind(ty)) {
            (Type::Bool, _) => format!("store<u8>({at}, {value} ? 1 : 0);"),
            (Type::String, _) => format!("storeString({at}, {value});"),
            (_, None) => format!("store<{name}>({at}, {value});"),
            (_, Some(TypeDefKind::Enum(_))) => format!("store<u8>({at}, <u8>{value});"),
            (_, Some(TypeDefKind::Handle(_))) => format!("store<i32>({at}, {value}.handle);"),
            (_, Some(TypeDefKind::List(_))) if name == "ArrayBuffer" => {
                format!("storeBytes({at}, {value});")
            }
            _ => format!("{}({at}, {value});", self.helper("store", ty)?),
        })
    }

    /// The name of the function that does it, which is made if it is not there.
    fn helper(&mut self, verb: &str, ty: &Type) -> Result<String, String> {
        let name = self.name(ty)?;
        let plain: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect();
        let helper = format!("{verb}_{plain}");
        if !self.helpers.contains_key(&helper) {
            // it may need itself no more than a type may hold itself
            let body = match verb {
                "load" => self.load_body(ty, &name)?,
                _ => self.store_body(ty, &name)?,
            };
            let signature = match verb {
                "load" => format!("(p: usize): {name}"),
                _ => format!("(p: usize, v: {name}): void"),
            };
            let text = format!("export function {helper}{signature} {{\n{body}}}\n\n");
            self.helpers.insert(helper.clone(), text);
        }
        Ok(helper)
    }

    fn load_body(&mut self, ty: &Type, name: &str) -> Result<String, String> {
        let kind = self
            .kind(ty)
            .cloned()
            .ok_or("a plain value has no function")?;
        let mut text = String::new();
        match kind {
            TypeDefKind::Record(record) => {
                let types: Vec<Type> = record.fields.iter().map(|field| field.ty).collect();
                let _ = writeln!(text, "  const v = new {name}();");
                for (field, offset) in record.fields.iter().zip(self.fields(&types)) {
                    let value = self.load(&field.ty, &format!("p + {offset}"))?;
                    let _ = writeln!(text, "  v.{} = {value};", camel(&field.name));
                }
                text.push_str("  return v;\n");
            }
            TypeDefKind::Tuple(tuple) => {
                let offsets = self.fields(&tuple.types);
                let first = self.load(&tuple.types[0], &format!("p + {}", offsets[0]))?;
                let second = self.load(&tuple.types[1], &format!("p + {}", offsets[1]))?;
                let _ = writeln!(text, "  return new {name}({first}, {second});");
            }
            TypeDefKind::List(item) => {
                let size = self.size(&item);
                let value = self.load(&item, &format!("at + i * {size}"))?;
                let _ = writeln!(
                    text,
                    "  const at = load<usize>(p), count = load<u32>(p, 4), v = new {name}();\n  \
                     for (let i: u32 = 0; i < count; i++) v.push({value});\n  return v;"
                );
            }
            TypeDefKind::Option(some) => {
                let offset = self.payload(Int::U8, [None, Some(&some)]);
                let value = self.load(&some, &format!("p + {offset}"))?;
                let value = self.in_box(&some, &value)?;
                let _ = writeln!(
                    text,
                    "  if (load<u8>(p) == 0) return null;\n  return {value};"
                );
            }
            TypeDefKind::Result(result) => {
                let offset = self.payload(Int::U8, [result.ok.as_ref(), result.err.as_ref()]);
                let at = format!("p + {offset}");
                let (ok, err) = (self.side(&result.ok, &at)?, self.side(&result.err, &at)?);
                let _ = writeln!(
                    text,
                    "  if (load<u8>(p) == 0) return new {name}({ok}, null);\n  return new {name}(null, {err});"
                );
            }
            TypeDefKind::Variant(variant) => {
                let cases = variant.cases.iter().map(|case| case.ty.as_ref());
                let offset = self.payload(variant.tag(), cases);
                let _ = writeln!(text, "  const v = new {name}();\n  v.tag = load<u8>(p);");
                for (tag, case) in variant.cases.iter().enumerate() {
                    if let Some(ty) = &case.ty {
                        let value = self.load(ty, &format!("p + {offset}"))?;
                        let value = self.in_box(ty, &value)?;
                        let _ = writeln!(
                            text,
                            "  if (v.tag == {tag}) v.{} = {value};",
                            camel(&case.name)
                        );
                    }
                }
                text.push_str("  return v;\n");
            }
            other => return Err(format!("a {} is not supported", other.as_str())),
        }
        Ok(text)
    }

    fn side(&mut self, ty: &Option<Type>, at: &str) -> Result<String, String> {
        match ty {
            Some(ty) => {
                let value = self.load(ty, at)?;
                Ok(format!("new Box<{}>({value})", self.name(ty)?))
            }
            None => Ok("new Box<bool>(true)".to_owned()),
        }
    }

    fn in_box(&self, ty: &Type, value: &str) -> Result<String, String> {
        Ok(if self.is_class(ty) {
            value.to_owned()
        } else {
            format!("new Box<{}>({value})", self.name(ty)?)
        })
    }

    /// What is in a field that may be null and is not.
    pub(super) fn out_of_box(&self, ty: &Type, value: &str) -> String {
        if self.is_class(ty) {
            format!("{value}!")
        } else {
            format!("{value}!.value")
        }
    }

    fn store_body(&mut self, ty: &Type, _name: &str) -> Result<String, String> {
        let kind = self
            .kind(ty)
            .cloned()
            .ok_or("a plain value has no function")?;
        let mut text = String::new();
        match kind {
            TypeDefKind::Record(record) => {
                let types: Vec<Type> = record.fields.iter().map(|field| field.ty).collect();
                for (field, offset) in record.fields.iter().zip(self.fields(&types)) {
                    let value = format!("v.{}", camel(&field.name));
                    let line = self.store(&field.ty, &format!("p + {offset}"), &value)?;
                    let _ = writeln!(text, "  {line}");
                }
            }
            TypeDefKind::Tuple(tuple) => {
                for ((index, ty), offset) in tuple
                    .types
                    .iter()
                    .enumerate()
                    .zip(self.fields(&tuple.types))
                {
                    let line = self.store(ty, &format!("p + {offset}"), &format!("v.f{index}"))?;
                    let _ = writeln!(text, "  {line}");
                }
            }
            TypeDefKind::List(item) => {
                let size = self.size(&item);
                let line = self.store(&item, &format!("at + i * {size}"), "v[i]")?;
                let _ = writeln!(
                    text,
                    "  const at = room(v.length * {size});\n  store<usize>(p, at);\n  store<u32>(p, v.length, 4);\n  \
                     for (let i = 0; i < v.length; i++) {{\n    {line}\n  }}"
                );
            }
            TypeDefKind::Option(some) => {
                let offset = self.payload(Int::U8, [None, Some(&some)]);
                let value = self.out_of_box(&some, "v");
                let line = self.store(&some, &format!("p + {offset}"), &value)?;
                let _ = writeln!(
                    text,
                    "  store<u8>(p, v === null ? 0 : 1);\n  if (v !== null) {{\n    {line}\n  }}"
                );
            }
            TypeDefKind::Result(result) => {
                let offset = self.payload(Int::U8, [result.ok.as_ref(), result.err.as_ref()]);
                let _ = writeln!(text, "  store<u8>(p, v.isOk ? 0 : 1);");
                for (ty, field, test) in [
                    (&result.ok, "value", "v.isOk"),
                    (&result.err, "error", "!v.isOk"),
                ] {
                    if let Some(ty) = ty {
                        let line =
                            self.store(ty, &format!("p + {offset}"), &format!("v.{field}!.value"))?;
                        let _ = writeln!(text, "  if ({test}) {{\n    {line}\n  }}");
                    }
                }
            }
            TypeDefKind::Variant(variant) => {
                let cases = variant.cases.iter().map(|case| case.ty.as_ref());
                let offset = self.payload(variant.tag(), cases);
                text.push_str("  store<u8>(p, <u8>v.tag);\n");
                for (tag, case) in variant.cases.iter().enumerate() {
                    if let Some(ty) = &case.ty {
                        let value = self.out_of_box(ty, &format!("v.{}", camel(&case.name)));
                        let line = self.store(ty, &format!("p + {offset}"), &value)?;
                        let _ = writeln!(text, "  if (v.tag == {tag}) {{\n    {line}\n  }}");
                    }
                }
            }
            other => return Err(format!("a {} is not supported", other.as_str())),
        }
        Ok(text)
    }
}
