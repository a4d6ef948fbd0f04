//! The contract and the policy's world, as the generators of bindings take them.

use std::fs;
use std::path::Path;

use wit_bindgen_core::{Files, WorldGenerator};
use wit_parser::{Resolve, WorldId};

use super::Project;

/// Reads wit/ of the policy's folder.
pub(super) fn world(project: &Project) -> Result<(Resolve, WorldId), String> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve
        .push_dir(project.wit())
        .map_err(|error| format!("wit/: {error:#}"))?;
    let world = resolve
        .select_world(&[package], Some(project.world()))
        .map_err(|error| format!("wit/: {error:#}"))?;
    Ok((resolve, world))
}

pub(super) fn generate(
    project: &Project,
    generator: &mut dyn WorldGenerator,
    files: &mut Files,
) -> Result<(), String> {
    let (mut resolve, world) = world(project)?;
    generator
        .generate(&mut resolve, world, files)
        .map_err(|error| format!("bindings for wit/: {error:#}"))
}

/// Writes what differs, so that compilers with caches of their own see no change where there is none.
pub(super) fn write(files: &Files, folder: &Path) -> Result<(), String> {
    for (name, text) in files.iter() {
        let path = folder.join(name);
        if fs::read(&path).is_ok_and(|known| known == text) {
            continue;
        }
        fs::create_dir_all(path.parent().unwrap_or(folder))
            .and_then(|()| fs::write(&path, text))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(())
}
