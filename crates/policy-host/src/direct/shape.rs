//! Whether a component is what `wit-component` makes of one core module, so that the host may take the module out and link it with
//! core functions of its own: every import of the module is a function of the contract, lowered under the same name, and every
//! export of the component is a function of the module, lifted under the same name. Whatever else a component may be is no error;
//! it is then run as a component.
//!
//! Only the inside is looked at here. That the component is valid, and that its types are the contract's, is `contract`'s part: a
//! component is of this shape only if both say so. Nothing rests on names or debug information: the small modules that
//! `wit-component` adds (one of trampolines, one that fills their table) are read, instruction by instruction.

mod index;
mod module;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use wasmparser::{Chunk, Encoding, Parser, Payload};

use super::VERSIONS;
use index::Index;

/// Why a component is of another shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unlike(Cow<'static, str>);

impl Unlike {
    pub(super) fn because(reason: &'static str) -> Self {
        Self(Cow::Borrowed(reason))
    }

    /// With a name that the component brings; it may be anything, of any length.
    pub(super) fn naming(reason: &str, name: &str) -> Self {
        let name: String = name.chars().take(100).collect();
        Self(Cow::Owned(format!("{reason} {}", name.escape_debug())))
    }
}

impl fmt::Display for Unlike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<wasmparser::Error> for Unlike {
    fn from(_: wasmparser::Error) -> Self {
        Self::because("it is not a component that can be read")
    }
}

/// How many of a kind are read, of whatever can be counted in a component: many times what the whole contract needs. It bounds the
/// work and the memory that a hostile component can ask for.
const LIMIT: usize = 1000;

/// One more of a kind.
fn push<T>(list: &mut Vec<T>, item: T) -> Result<(), Unlike> {
    if list.len() >= LIMIT {
        return Err(Unlike::because("it has too many parts"));
    }
    list.push(item);
    Ok(())
}

/// `log` of `veilgate:policy/log@0.2.1`, if it is an interface of the contract's package, of a version whose types are known.
pub(super) fn interface_of(name: &str) -> Option<&str> {
    let (interface, version) = name.strip_prefix("veilgate:policy/")?.split_once('@')?;
    (VERSIONS.contains(&version) && !interface.is_empty()).then_some(interface)
}

/// Where the core module is within the component: a whole module, with its header.
///
/// Its hooks are its exports named as `veilgate:policy/tick-hook@0.2.1#on-tick` is: all of these are exported by the component.
/// If the module exports `_initialize`, the component calls it as it is instantiated, before any hook; who takes the module out has
/// to do the same. If the module exports `cabi_post_` and a hook's name, that is to be called after each call of the hook.
pub(super) fn core_module(wasm: &[u8]) -> Result<Range<usize>, Unlike> {
    let mut index = Index::default();
    let mut parser = Parser::new(0);
    let mut rest = wasm;
    loop {
        let Chunk::Parsed { consumed, payload } = parser.parse(rest, true)? else {
            return Err(Unlike::because("it ends too early"));
        };
        rest = rest.get(consumed..).unwrap_or_default();
        let nested = match payload {
            Payload::Version { encoding, .. } => {
                if encoding != Encoding::Component {
                    return Err(Unlike::because("it is no component"));
                }
                None
            }
            Payload::ModuleSection {
                unchecked_range, ..
            } => {
                let (range, inner) = part(wasm, unchecked_range)?;
                index.module(range, inner)?;
                Some(inner)
            }
            Payload::ComponentSection {
                unchecked_range, ..
            } => {
                let (_, inner) = part(wasm, unchecked_range)?;
                index.wrapper(inner)?;
                Some(inner)
            }
            Payload::ComponentTypeSection(section) => {
                index.types(section.count())?;
                None
            }
            Payload::ComponentImportSection(section) => {
                section.into_iter().try_for_each(|it| index.import(it?))?;
                None
            }
            Payload::ComponentAliasSection(section) => {
                section.into_iter().try_for_each(|it| index.alias(it?))?;
                None
            }
            Payload::ComponentCanonicalSection(section) => {
                section
                    .into_iter()
                    .try_for_each(|it| index.canonical(it?))?;
                None
            }
            Payload::InstanceSection(section) => {
                section
                    .into_iter()
                    .try_for_each(|it| index.core_instance(it?))?;
                None
            }
            Payload::ComponentInstanceSection(section) => {
                section.into_iter().try_for_each(|it| index.instance(it?))?;
                None
            }
            Payload::ComponentExportSection(section) => {
                section.into_iter().try_for_each(|it| index.export(it?))?;
                None
            }
            Payload::CustomSection(_) => None,
            Payload::End(_) => return index.finish(),
            Payload::ComponentStartSection { .. } => {
                return Err(Unlike::because("it has a start function"));
            }
            _ => {
                return Err(Unlike::because(
                    "it has a section that the wrapping of a module has not",
                ));
            }
        };
        if let Some(inner) = nested {
            rest = rest.get(inner.len()..).unwrap_or_default();
        }
    }
}

/// A module or a component within.
fn part(wasm: &[u8], range: Range<u64>) -> Result<(Range<usize>, &[u8]), Unlike> {
    let early = || Unlike::because("it ends too early");
    let start = usize::try_from(range.start).map_err(|_| early())?;
    let end = usize::try_from(range.end).map_err(|_| early())?;
    let bytes = wasm.get(start..end).ok_or_else(early)?;
    Ok((start..end, bytes))
}

#[cfg(test)]
mod tests;
