//! What the main module's imports come to. What a trampoline calls is known last: its table is filled after the main module was
//! instantiated.

use std::ops::Range;

use wasmparser::ExternalKind;

use super::super::module::{Filling, Module, Trampolines};
use super::super::{Unlike, push};
use super::{CoreFunction, CoreInstance, Index, at, named, unknown};

impl<'a> Index<'a> {
    /// What an import of a module's is, by way of the arguments that the module was instantiated with.
    fn imported(
        &self,
        module: usize,
        from: &str,
        name: &'a str,
        kind: ExternalKind,
    ) -> Result<CoreFunction<'a>, Unlike> {
        let CoreInstance::Of { arguments, .. } =
            at(&self.core_instances, self.instance_of(module)?)?
        else {
            return Err(unknown());
        };
        let instance = *named(arguments, from)?;
        let bag = match at(&self.core_instances, instance)? {
            CoreInstance::Of { .. } => return Ok(CoreFunction::Export((instance, name))),
            CoreInstance::Bag(bag) => bag,
        };
        let found = bag.iter().find(|(of, ..)| *of == name);
        match found {
            Some(&(_, ExternalKind::Func, index)) if kind == ExternalKind::Func => {
                at(&self.core_functions, index).copied()
            }
            Some(&(_, ExternalKind::Table, index)) if kind == ExternalKind::Table => {
                at(&self.core_tables, index).map(|&export| CoreFunction::Export(export))
            }
            _ => Err(unknown()),
        }
    }

    /// Once everything is read: every import of the main module must be what its name says.
    pub fn finish(self) -> Result<Range<usize>, Unlike> {
        let main = self.main()?;
        let (mut trampolines, mut filling) = (None, None);
        for (number, module) in self.modules.iter().enumerate() {
            self.instance_of(number)?;
            let twice = match module {
                Module::Main(_) => false,
                Module::Trampolines(it) => trampolines.replace((number, it)).is_some(),
                Module::Filling(it) => filling.replace((number, it)).is_some(),
            };
            if twice {
                return Err(Unlike::because("it holds several modules"));
            }
        }
        let entries = match filling {
            Some((number, filling)) => self.filled(number, filling, trampolines)?,
            None => Vec::new(),
        };
        let initialized = filling.is_some_and(|(_, filling)| filling.start.is_some());
        if initialized != main.has_initialize {
            return Err(Unlike::because("it does not call `_initialize`"));
        }
        // Who takes the module out finds the hooks by its exports.
        if let Some(hook) = main.hooks.iter().find(|hook| !self.hooks.contains(*hook)) {
            return Err(Unlike::naming("it does not export its module's", hook));
        }
        for &(from, name) in &main.imports {
            let mut function = self.imported(0, from, name, ExternalKind::Func)?;
            if let (CoreFunction::Export((instance, export)), Some((number, trampolines))) =
                (function, trampolines)
                && instance == self.instance_of(number)?
            {
                let entry = *named(&trampolines.exports, export)?;
                function = *entries.get(entry).ok_or_else(unknown)?;
            }
            let same = match function {
                CoreFunction::Lowered {
                    interface,
                    name: lowered,
                } => (interface, lowered) == (from, name),
                CoreFunction::Drop {
                    interface,
                    resource,
                } => interface == from && name.strip_prefix("[resource-drop]") == Some(resource),
                CoreFunction::Export(_) => false,
            };
            if !same {
                return Err(Unlike::naming(
                    "its module gets something else for the import",
                    name,
                ));
            }
        }
        Ok(main.range.clone())
    }

    /// What the trampolines' table holds in the end.
    fn filled(
        &self,
        module: usize,
        filling: &Filling<'a>,
        trampolines: Option<(usize, &Trampolines<'a>)>,
    ) -> Result<Vec<CoreFunction<'a>>, Unlike> {
        if let Some(start) = filling.start {
            let &(from, name) = at(&filling.functions, start)?;
            match self.imported(module, from, name, ExternalKind::Func)? {
                CoreFunction::Export((instance, "_initialize")) if self.is_main(instance) => {}
                _ => {
                    return Err(Unlike::because(
                        "it starts something other than `_initialize`",
                    ));
                }
            }
        }
        if filling.entries.is_empty() {
            return Ok(Vec::new());
        }
        let (Some((from, name)), Some((number, trampolines))) = (filling.table, trampolines) else {
            return Err(unknown());
        };
        match self.imported(module, from, name, ExternalKind::Table)? {
            CoreFunction::Export((instance, table))
                if instance == self.instance_of(number)? && trampolines.table == Some(table) => {}
            _ => return Err(unknown()),
        }
        if u64::try_from(filling.entries.len()).map_or(true, |needed| needed > trampolines.room) {
            return Err(unknown());
        }
        let mut entries = Vec::new();
        for &function in &filling.entries {
            let &(from, name) = at(&filling.functions, function)?;
            let function = self.imported(module, from, name, ExternalKind::Func)?;
            push(&mut entries, function)?;
        }
        Ok(entries)
    }
}
