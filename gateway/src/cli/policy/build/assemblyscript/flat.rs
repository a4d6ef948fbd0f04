//! Values as core parameters: how a call's arguments are taken apart, and put together again.

use wit_parser::{Type, TypeDefKind};

use super::generator::Generator;
use super::types::camel;

impl Generator<'_> {
    /// `value` as core values, in order. `value` is an expression that may be repeated.
    pub(super) fn lower(&mut self, ty: &Type, value: &str) -> Result<Vec<String>, String> {
        let name = self.name(ty)?;
        Ok(match (self.resolved(ty), self.kind(ty).cloned()) {
            (Type::Bool, _) => vec![format!("<i32>{value}")],
            (Type::String, _) => vec![format!("lend({value})"), "lent".to_owned()],
            (Type::U64 | Type::S64 | Type::F32 | Type::F64, _) => vec![value.to_owned()],
            (_, None) | (_, Some(TypeDefKind::Enum(_))) => vec![format!("<i32>{value}")],
            (_, Some(TypeDefKind::Handle(_))) => vec![format!("{value}.handle")],
            (_, Some(TypeDefKind::List(_))) if name == "ArrayBuffer" => {
                vec![
                    format!("changetype<i32>({value})"),
                    format!("{value}.byteLength"),
                ]
            }
            (_, Some(TypeDefKind::List(item))) => {
                // written as a list of a record would hold it
                let size = self.size(&item);
                let line = self.store(&item, &format!("at + i * {size}"), "v[i]")?;
                let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
                let helper = format!("list_{plain}");
                let body = format!(
                    "export function {helper}(v: {name}): i32 {{\n  const at = room(v.length * {size});\n  \
                     for (let i = 0; i < v.length; i++) {{\n    {line}\n  }}\n  return <i32>at;\n}}\n\n"
                );
                self.helpers.insert(helper.clone(), body);
                vec![format!("{helper}({value})"), format!("{value}.length")]
            }
            (_, Some(TypeDefKind::Record(record))) => {
                let mut all = Vec::new();
                for field in &record.fields {
                    all.extend(self.lower(&field.ty, &format!("{value}.{}", camel(&field.name)))?);
                }
                all
            }
            (_, Some(TypeDefKind::Option(some))) => {
                let inner = self.out_of_box(&some, value);
                let mut all = vec![format!("({value} === null ? 0 : 1)")];
                for part in self.lower(&some, &inner)? {
                    all.push(format!("({value} === null ? 0 : {part})"));
                }
                all
            }
            (_, Some(other)) => {
                return Err(format!(
                    "a {} as a parameter is not supported",
                    other.as_str()
                ));
            }
        })
    }

    /// The value that the next core parameters make.
    pub(super) fn lift(
        &mut self,
        ty: &Type,
        next: &mut dyn Iterator<Item = String>,
    ) -> Result<String, String> {
        let name = self.name(ty)?;
        let mut take = || next.next().ok_or("a function has too few core parameters");
        Ok(match (self.resolved(ty), self.kind(ty).cloned()) {
            (Type::Bool, _) => format!("{} != 0", take()?),
            (Type::String, _) => format!("textAt({}, {})", take()?, take()?),
            (_, None) | (_, Some(TypeDefKind::Enum(_))) => format!("<{name}>{}", take()?),
            (_, Some(TypeDefKind::List(_))) if name == "ArrayBuffer" => {
                format!("bytesAt({}, {})", take()?, take()?)
            }
            (_, Some(TypeDefKind::Record(record))) => {
                let mut values = Vec::new();
                for field in &record.fields {
                    values.push(self.lift(&field.ty, next)?);
                }
                let plain = name.replace('.', "_");
                let helper = format!("make_{plain}");
                self.make_record(&helper, &name, &record)?;
                format!("{helper}({})", values.join(", "))
            }
            (_, Some(TypeDefKind::Option(some))) => {
                let there = take()?;
                let value = self.lift(&some, next)?;
                let value = if self.is_class(&some) {
                    value
                } else {
                    format!("new Box<{}>({value})", self.name(&some)?)
                };
                format!("({there} ? {value} : null)")
            }
            (_, Some(other)) => {
                return Err(format!(
                    "a {} given to a hook is not supported",
                    other.as_str()
                ));
            }
        })
    }

    fn make_record(
        &mut self,
        helper: &str,
        name: &str,
        record: &wit_parser::Record,
    ) -> Result<(), String> {
        let mut parameters = Vec::new();
        let mut lines = String::new();
        for field in &record.fields {
            let own = camel(&field.name);
            parameters.push(format!("{own}: {}", self.name(&field.ty)?));
            lines.push_str(&format!("  made.{own} = {own};\n"));
        }
        let text = format!(
            "export function {helper}({}): {name} {{\n  const made = new {name}();\n{lines}  return made;\n}}\n\n",
            parameters.join(", ")
        );
        self.helpers.insert(helper.to_owned(), text);
        Ok(())
    }
}
