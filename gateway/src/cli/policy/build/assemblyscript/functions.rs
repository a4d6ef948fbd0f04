//! Functions: those of the gateway that a policy calls, and those of the policy that the gateway calls.

use std::fmt::Write as _;

use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Function, FunctionKind, InterfaceId};

use super::generator::Generator;
use super::types::camel;

impl Generator<'_> {
    /// A function that calls the gateway's; `lead` is what stands before its name.
    pub(super) fn imported(
        &mut self,
        module: &str,
        space: &str,
        function: &Function,
        lead: &str,
    ) -> Result<String, String> {
        let signature = self
            .resolve
            .wasm_signature(AbiVariant::GuestImport, function);
        if signature.indirect_params {
            return Err(format!("{space}.{}: too many parameters", function.name));
        }
        let is_method = matches!(function.kind, FunctionKind::Method(_));
        let (mut declared, mut arguments) = (Vec::new(), Vec::new());
        for (index, parameter) in function.params.iter().enumerate() {
            if is_method && index == 0 {
                arguments.push("this.handle".to_owned());
                continue;
            }
            let name = camel(&parameter.name);
            declared.push(format!("{name}: {}", self.name(&parameter.ty)?));
            arguments.extend(self.lower(&parameter.ty, &name)?);
        }
        if signature.retptr {
            arguments.push("<i32>RESULT".to_owned());
        }
        let core: Vec<String> = signature.params.iter().map(core).collect();
        let result = signature
            .results
            .first()
            .map_or_else(|| "void".to_owned(), self::core);
        let external = self.external(module, &function.name, &core, &result);
        let call = format!("{external}({})", arguments.join(", "));
        let (returned, body) = self.answer(function, signature.retptr, &call)?;
        let name = camel(function.item_name());
        Ok(format!(
            "  {lead}{name}({}): {returned} {{\n    {body}\n  }}\n",
            declared.join(", ")
        ))
    }

    fn answer(
        &mut self,
        function: &Function,
        in_memory: bool,
        call: &str,
    ) -> Result<(String, String), String> {
        let Some(ty) = &function.result else {
            return Ok(("void".to_owned(), format!("{call};")));
        };
        let name = self.name(ty)?;
        let body = if in_memory {
            self.room = self.room.max(self.size(ty));
            let value = self.load(ty, "RESULT")?;
            format!("{call};\n    return {value};")
        } else {
            let value = self.lift(ty, &mut std::iter::once(call.to_owned()))?;
            format!("return {value};")
        };
        Ok((name, body))
    }

    /// Declares an imported core function and returns its name.
    pub(super) fn external(
        &mut self,
        module: &str,
        field: &str,
        params: &[String],
        result: &str,
    ) -> String {
        let plain = |text: &str| -> String {
            text.chars()
                .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
                .collect()
        };
        let interface = module.rsplit('/').next().unwrap_or(module);
        let interface = interface.split('@').next().unwrap_or(interface);
        let name = format!("core_{}_{}", plain(interface), plain(field));
        let declared: Vec<String> = params
            .iter()
            .enumerate()
            .map(|(index, ty)| format!("p{index}: {ty}"))
            .collect();
        let _ = writeln!(
            self.externals,
            "@external(\"{module}\", \"{field}\")\ndeclare function {name}({}): {result};",
            declared.join(", ")
        );
        name
    }

    /// The hooks of an interface: each calls the policy's function of that name.
    pub(super) fn exported(&mut self, id: InterfaceId, module: &str) -> Result<String, String> {
        let functions: Vec<Function> = self.resolve.interfaces[id]
            .functions
            .values()
            .cloned()
            .collect();
        let mut text = String::new();
        for function in &functions {
            text.push_str(&self.hook(function, module)?);
        }
        Ok(text)
    }

    fn hook(&mut self, function: &Function, module: &str) -> Result<String, String> {
        let signature = self
            .resolve
            .wasm_signature(AbiVariant::GuestExport, function);
        if signature.indirect_params {
            return Err(format!("{}: too many parameters", function.name));
        }
        let number = self.names.len();
        let (own, post) = (format!("hook{number}"), format!("after{number}"));
        let exported = function.legacy_core_export_name(Some(module)).into_owned();
        let declared: Vec<String> = signature
            .params
            .iter()
            .enumerate()
            .map(|(index, ty)| format!("p{index}: {}", core(ty)))
            .collect();
        let mut given = (0..declared.len()).map(|index| format!("p{index}"));
        let mut arguments = Vec::new();
        for parameter in &function.params {
            arguments.push(self.lift(&parameter.ty, &mut given)?);
        }
        let call = format!("policy.{}({})", camel(&function.name), arguments.join(", "));
        let result = signature
            .results
            .first()
            .map_or_else(|| "void".to_owned(), core);
        let mut text = format!(
            "export function {own}({}): {result} {{\n",
            declared.join(", ")
        );
        match (&function.result, signature.retptr) {
            (Some(ty), true) => {
                self.room = self.room.max(self.size(ty));
                let store = self.store(ty, "OWN", "result")?;
                let _ = writeln!(
                    text,
                    "  const result = {call};\n  {store}\n  return <i32>OWN;\n}}\n\nexport function {post}(p: i32): void {{\n  settle();\n}}\n"
                );
                self.names.insert(post, format!("cabi_post_{exported}"));
            }
            (Some(_), false) => {
                let _ = writeln!(
                    text,
                    "  const result = {call};\n  settle();\n  return <{result}>result;\n}}\n"
                );
            }
            (None, _) => {
                let _ = writeln!(text, "  {call};\n  settle();\n}}\n");
            }
        }
        self.names.insert(own, exported);
        Ok(text)
    }
}

fn core(ty: &WasmType) -> String {
    match ty {
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
    }
    .to_owned()
}
