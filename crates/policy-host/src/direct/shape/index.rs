//! The index spaces of a component as it is read from its beginning.
//!
//! Everything in a component refers only to what came before it, so that most is judged at once; `imports` judges the rest.

mod imports;

use std::collections::HashSet;
use std::ops::Range;

use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentAlias, ComponentExport, ComponentExternName,
    ComponentExternalKind, ComponentImport, ComponentInstance, ComponentTypeRef, ExternalKind,
    Instance as CoreInstanceDef,
};

use super::module::{Main, Module, Wrapper};
use super::{LIMIT, Unlike, interface_of, push};

/// Something that an instance exports.
type Named<'a> = (u32, &'a str);

#[derive(Clone, Copy)]
enum Function<'a> {
    Imported {
        interface: &'a str,
        name: &'a str,
    },
    /// The name that the main module exports it under.
    Lifted(&'a str),
}

#[derive(Clone, Copy)]
enum Type<'a> {
    Imported { interface: &'a str, name: &'a str },
    Other,
}

enum Instance<'a> {
    Imported(&'a str),
    Wrapped {
        wrapper: usize,
        /// Its functions only.
        arguments: Vec<(&'a str, u32)>,
    },
    Exported,
}

#[derive(Clone, Copy)]
enum CoreFunction<'a> {
    Lowered {
        interface: &'a str,
        name: &'a str,
    },
    Drop {
        interface: &'a str,
        resource: &'a str,
    },
    Export(Named<'a>),
}

enum CoreInstance<'a> {
    Of {
        module: usize,
        arguments: Vec<(&'a str, u32)>,
    },
    Bag(Vec<(&'a str, ExternalKind, u32)>),
}

#[derive(Default)]
pub(super) struct Index<'a> {
    modules: Vec<Module<'a>>,
    core_instances: Vec<CoreInstance<'a>>,
    core_functions: Vec<CoreFunction<'a>>,
    core_memories: Vec<Named<'a>>,
    core_tables: Vec<Named<'a>>,
    wrappers: Vec<Wrapper<'a>>,
    instances: Vec<Instance<'a>>,
    functions: Vec<Function<'a>>,
    types: Vec<Type<'a>>,
    exports: usize,
    /// The functions of the main module that are exported.
    hooks: HashSet<&'a str>,
}

fn unknown() -> Unlike {
    Unlike::because("it refers to something that is not there")
}

fn at<T>(list: &[T], index: u32) -> Result<&T, Unlike> {
    let index = usize::try_from(index).map_err(|_| unknown())?;
    list.get(index).ok_or_else(unknown)
}

fn named<'b, T>(list: &'b [(&str, T)], name: &str) -> Result<&'b T, Unlike> {
    let found = list.iter().find(|(of, _)| *of == name);
    found.map(|(_, item)| item).ok_or_else(unknown)
}

/// A plain name of an interface of the contract.
fn interface<'a>(name: &ComponentExternName<'a>, verb: &str) -> Result<&'a str, Unlike> {
    let plain = name.implements.is_none()
        && name.version_suffix.is_none()
        && name.external_id.is_none()
        && interface_of(name.name).is_some();
    if plain {
        Ok(name.name)
    } else {
        Err(Unlike::naming(verb, name.name))
    }
}

impl<'a> Index<'a> {
    pub fn module(&mut self, range: Range<usize>, wasm: &'a [u8]) -> Result<(), Unlike> {
        // The main module comes first; at most the two others come after it.
        let module = match self.modules.len() {
            0 => Module::Main(Main::read(range, wasm)?),
            1 | 2 => Module::added(wasm)?,
            _ => return Err(Unlike::because("it holds several modules")),
        };
        push(&mut self.modules, module)
    }

    pub fn wrapper(&mut self, wasm: &'a [u8]) -> Result<(), Unlike> {
        push(&mut self.wrappers, Wrapper::read(wasm)?)
    }

    pub fn types(&mut self, count: u32) -> Result<(), Unlike> {
        (0..count).try_for_each(|_| push(&mut self.types, Type::Other))
    }

    pub fn import(&mut self, import: ComponentImport<'a>) -> Result<(), Unlike> {
        let name = interface(&import.name, "it imports")?;
        match import.ty {
            ComponentTypeRef::Instance(_) => push(&mut self.instances, Instance::Imported(name)),
            _ => Err(Unlike::because(
                "it imports something other than interfaces",
            )),
        }
    }

    pub fn alias(&mut self, alias: ComponentAlias<'a>) -> Result<(), Unlike> {
        match alias {
            ComponentAlias::InstanceExport {
                kind,
                instance_index,
                name,
            } => match (kind, at(&self.instances, instance_index)?) {
                (ComponentExternalKind::Func, &Instance::Imported(interface)) => {
                    push(&mut self.functions, Function::Imported { interface, name })
                }
                (ComponentExternalKind::Type, &Instance::Imported(interface)) => {
                    push(&mut self.types, Type::Imported { interface, name })
                }
                // A type that one exported interface has from another.
                (ComponentExternalKind::Type, _) => push(&mut self.types, Type::Other),
                _ => Err(Unlike::because("it uses what it exports")),
            },
            ComponentAlias::CoreInstanceExport {
                kind,
                instance_index,
                name,
            } => {
                let export = (instance_index, name);
                match (kind, at(&self.core_instances, instance_index)?) {
                    (ExternalKind::Func, CoreInstance::Of { .. }) => {
                        push(&mut self.core_functions, CoreFunction::Export(export))
                    }
                    (ExternalKind::Memory, CoreInstance::Of { .. }) => {
                        push(&mut self.core_memories, export)
                    }
                    (ExternalKind::Table, CoreInstance::Of { .. }) => {
                        push(&mut self.core_tables, export)
                    }
                    _ => Err(Unlike::because(
                        "it passes on something other than a function, a memory, or a table",
                    )),
                }
            }
            ComponentAlias::Outer { .. } => Err(Unlike::because("it refers to something outside")),
        }
    }

    pub fn canonical(&mut self, canonical: CanonicalFunction) -> Result<(), Unlike> {
        match canonical {
            CanonicalFunction::Lower {
                func_index,
                options,
            } => {
                let &Function::Imported { interface, name } = at(&self.functions, func_index)?
                else {
                    return Err(Unlike::because("it calls a function of its own"));
                };
                if self.options(&options)?.is_some() {
                    return Err(unknown());
                }
                push(
                    &mut self.core_functions,
                    CoreFunction::Lowered { interface, name },
                )
            }
            CanonicalFunction::ResourceDrop { resource } => match at(&self.types, resource)? {
                &Type::Imported { interface, name } => push(
                    &mut self.core_functions,
                    CoreFunction::Drop {
                        interface,
                        resource: name,
                    },
                ),
                Type::Other => Err(Unlike::because("it has resources of its own")),
            },
            CanonicalFunction::Lift {
                core_func_index,
                options,
                ..
            } => {
                let name = self.of_main(core_func_index)?;
                let post_return = self.options(&options)?;
                let expected = format!("cabi_post_{name}");
                // Whether the module has such a function is all that tells who takes it out, so that it must be in use.
                let exported = self.main()?.post_returns.contains(expected.as_str());
                if post_return.is_some_and(|name| name != expected)
                    || exported != post_return.is_some()
                {
                    return Err(Unlike::because(
                        "what it does after a call is not what its module's names say",
                    ));
                }
                push(&mut self.functions, Function::Lifted(name))
            }
            _ => Err(Unlike::because(
                "it uses more of the component model than plain calls",
            )),
        }
    }

    /// Refuses all that the host's own calls would do otherwise, and returns what is to be called after a call.
    fn options(&self, options: &[CanonicalOption]) -> Result<Option<&'a str>, Unlike> {
        let mut post_return = None;
        for option in options {
            match *option {
                CanonicalOption::UTF8 => {}
                CanonicalOption::UTF16 | CanonicalOption::CompactUTF16 => {
                    return Err(Unlike::because("its strings are not UTF-8"));
                }
                CanonicalOption::Memory(memory) => {
                    let &(instance, name) = at(&self.core_memories, memory)?;
                    if !self.is_main(instance) || name != "memory" {
                        return Err(Unlike::because("it uses another memory than its module's"));
                    }
                }
                CanonicalOption::Realloc(function) => {
                    if self.of_main(function)? != "cabi_realloc" {
                        return Err(Unlike::because(
                            "it allocates with something other than `cabi_realloc`",
                        ));
                    }
                }
                CanonicalOption::PostReturn(function) => {
                    post_return = Some(self.of_main(function)?);
                }
                _ => {
                    return Err(Unlike::because(
                        "its calls are not plain ones of the canonical ABI",
                    ));
                }
            }
        }
        Ok(post_return)
    }

    pub fn core_instance(&mut self, instance: CoreInstanceDef<'a>) -> Result<(), Unlike> {
        let instance = match instance {
            CoreInstanceDef::Instantiate { module_index, args } => {
                let module = usize::try_from(module_index).map_err(|_| unknown())?;
                // Of each module there is one instance, so that its exports are always the same ones.
                if module >= self.modules.len() || self.instance_of(module).is_ok() {
                    return Err(Unlike::because("it instantiates a module twice"));
                }
                let mut arguments = Vec::new();
                for argument in &args {
                    at(&self.core_instances, argument.index)?;
                    push(&mut arguments, (argument.name, argument.index))?;
                }
                CoreInstance::Of { module, arguments }
            }
            CoreInstanceDef::FromExports(exports) => {
                let mut bag = Vec::new();
                for export in &exports {
                    push(&mut bag, (export.name, export.kind, export.index))?;
                }
                CoreInstance::Bag(bag)
            }
        };
        push(&mut self.core_instances, instance)
    }

    pub fn instance(&mut self, instance: ComponentInstance<'a>) -> Result<(), Unlike> {
        let ComponentInstance::Instantiate {
            component_index,
            args,
        } = instance
        else {
            return Err(Unlike::because(
                "it exports an interface in another way than `wit-component` does",
            ));
        };
        at(&self.wrappers, component_index)?;
        let mut arguments = Vec::new();
        for argument in &args {
            match argument.kind {
                ComponentExternalKind::Func => {
                    push(&mut arguments, (argument.name, argument.index))?;
                }
                ComponentExternalKind::Type => {}
                _ => {
                    return Err(Unlike::because(
                        "it has a component within that takes more than functions",
                    ));
                }
            }
        }
        let wrapper = usize::try_from(component_index).map_err(|_| unknown())?;
        push(
            &mut self.instances,
            Instance::Wrapped { wrapper, arguments },
        )
    }

    pub fn export(&mut self, export: ComponentExport<'a>) -> Result<(), Unlike> {
        let name = interface(&export.name, "it exports")?;
        // Fewer than of other things: each costs a look at all functions of an instance.
        self.exports += 1;
        if self.exports > LIMIT / 10 {
            return Err(Unlike::because("it has too many parts"));
        }
        let instance = match export.kind {
            ComponentExternalKind::Instance => at(&self.instances, export.index)?,
            _ => {
                return Err(Unlike::because(
                    "it exports something other than interfaces",
                ));
            }
        };
        let Instance::Wrapped { wrapper, arguments } = instance else {
            return Err(Unlike::because("it exports what it imports"));
        };
        let wrapper = self.wrappers.get(*wrapper).ok_or_else(unknown)?;
        for (function, import) in &wrapper.functions {
            let lifted = at(&self.functions, *named(arguments, import)?)?;
            match lifted {
                Function::Lifted(of_module)
                    if of_module.split_once('#') == Some((name, *function)) =>
                {
                    self.hooks.insert(of_module);
                }
                _ => {
                    return Err(Unlike::naming(
                        "it exports under another name than its module",
                        function,
                    ));
                }
            }
        }
        push(&mut self.instances, Instance::Exported)
    }

    fn main(&self) -> Result<&Main<'a>, Unlike> {
        match self.modules.first() {
            Some(Module::Main(main)) => Ok(main),
            _ => Err(Unlike::because("it has no core module")),
        }
    }

    fn instance_of(&self, module: usize) -> Result<u32, Unlike> {
        let found = self.core_instances.iter().position(
            |instance| matches!(instance, CoreInstance::Of { module: of, .. } if *of == module),
        );
        let missing = || Unlike::because("it has a module that it does not instantiate");
        let found = found.ok_or_else(missing)?;
        u32::try_from(found).map_err(|_| missing())
    }

    fn is_main(&self, instance: u32) -> bool {
        self.instance_of(0) == Ok(instance)
    }

    /// The name of a function that the main module exports.
    fn of_main(&self, function: u32) -> Result<&'a str, Unlike> {
        match at(&self.core_functions, function)? {
            CoreFunction::Export((instance, name)) if self.is_main(*instance) => Ok(name),
            _ => Err(Unlike::because(
                "it lifts something other than its module's exports",
            )),
        }
    }
}
