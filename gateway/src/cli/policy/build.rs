//! `veilgate policy build`: a policy's folder → `build/NAME.wasm`. Nothing is done if nothing changed since the last build.

mod assemblyscript;
mod c;
mod component;
mod dts;
mod go;
mod js;
mod node;
mod process;
mod py;
mod python;
mod rust;
mod stamp;
#[cfg(test)]
mod tests;
mod toolchain;
mod wit;
mod zig;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::super::Failure;
use super::language::Language;
use super::manifest::Manifest;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The policy's folder
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Builds even if nothing changed
    #[arg(long)]
    force: bool,
}

/// A policy's folder, and where its results go.
struct Project {
    /// Absolute: compilers run in folders of their own.
    folder: PathBuf,
    manifest: Manifest,
}

impl Project {
    fn open(folder: &Path) -> Result<Self, Failure> {
        let manifest = Manifest::load(folder)?;
        let folder = std::path::absolute(folder)
            .map_err(|error| Failure::wrong_input(format!("{}: {error}", folder.display())))?;
        Ok(Self { folder, manifest })
    }

    fn entry(&self) -> PathBuf {
        self.folder.join(&self.manifest.entry)
    }

    fn world(&self) -> &str {
        self.manifest.world.as_deref().unwrap_or("policy")
    }

    fn wit(&self) -> PathBuf {
        self.folder.join("wit")
    }

    fn module(&self) -> PathBuf {
        let name = format!("{}.wasm", self.manifest.name);
        self.folder.join("build").join(name)
    }

    /// Where a build puts what it needs on the way.
    fn scratch(&self) -> Result<PathBuf, String> {
        let path = self.folder.join("build/intermediate");
        fs::create_dir_all(&path)
            .map_err(|error| format!("cannot create {}: {error}", path.display()))?;
        Ok(path)
    }
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let project = Project::open(&args.folder)?;
    let began = Instant::now();
    if project.manifest.language == Language::Rust {
        rust::lock(&project).map_err(Failure::new)?;
    }
    let inputs = stamp::of(&project).map_err(Failure::new)?;
    let module = project.module();
    let fresh = !args.force && stamp::matches(&module, &inputs);
    if !fresh {
        let component = compile(&project).map_err(|message| {
            let manifest = &project.manifest;
            Failure::new(format!(
                "policy {} ({}): {message}",
                manifest.name, manifest.language
            ))
        })?;
        stamp::write(&module, &component, &inputs).map_err(Failure::new)?;
    }
    let bytes = fs::read(&module)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", module.display())))?;
    let report = component::report(&bytes).map_err(Failure::new)?;
    let took = if fresh {
        "nothing changed".to_owned()
    } else {
        format!("built in {:.1} s", began.elapsed().as_secs_f64())
    };
    let shown = args
        .folder
        .join("build")
        .join(format!("{}.wasm", project.manifest.name));
    println!("{}: {} bytes, {took}", shown.display(), bytes.len());
    print!("{report}");
    if let Some(warning) = report.grants_differ(&project.manifest.grants) {
        eprintln!("veilgate: {warning}");
    }
    Ok(())
}

/// The policy as a component.
fn compile(project: &Project) -> Result<Vec<u8>, String> {
    match project.manifest.language {
        Language::C => c::compile(project),
        Language::Zig => zig::compile(project),
        Language::Python => py::compile(project),
        Language::Go => go::compile(project),
        Language::Rust => rust::compile(project),
        Language::AssemblyScript => assemblyscript::compile(project),
        Language::Ts | Language::Js => js::compile(project),
    }
}
