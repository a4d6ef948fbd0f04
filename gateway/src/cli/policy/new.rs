//! `veilgate policy new`: a folder with a policy that builds, its test, and the contract. An existing file is never written over.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::Failure;
use super::language::Language;
use super::{manifest, template};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The language to write it in
    #[arg(long, value_enum)]
    lang: Language,
    /// The policy's name; the folder's, if it is not given
    #[arg(long)]
    name: Option<String>,
    /// A folder that is not there yet, or is empty
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let name = match args.name {
        Some(name) => name,
        None => name_of(&args.folder)?,
    };
    if let Some(problem) = manifest::name_problem(&name) {
        return Err(Failure::wrong_input(format!(
            "a policy's name {problem}; choose one with --name"
        )));
    }
    refuse_what_is_there(&args.folder)?;
    let files = template::files(args.lang, &name).map_err(Failure::new)?;
    for (path, text) in &files {
        write(&args.folder.join(path), text)?;
    }
    println!("{} files in {}", files.len(), args.folder.display());
    println!(
        "next: cd {} && veilgate policy build && veilgate policy test",
        args.folder.display()
    );
    Ok(())
}

fn name_of(folder: &Path) -> Result<String, Failure> {
    let absolute = std::path::absolute(folder)
        .map_err(|error| Failure::wrong_input(format!("{}: {error}", folder.display())))?;
    let last = absolute.components().next_back();
    match last {
        Some(std::path::Component::Normal(name)) => Ok(name.to_string_lossy().into_owned()),
        _ => Err(Failure::wrong_input(format!(
            "{} does not name a folder to make",
            folder.display()
        ))),
    }
}

fn refuse_what_is_there(folder: &Path) -> Result<(), Failure> {
    match fs::read_dir(folder).map(|mut entries| entries.next().is_some()) {
        Ok(true) => Err(Failure::wrong_input(format!(
            "{} is not empty: name a folder that is not there yet",
            folder.display()
        ))),
        Ok(false) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::wrong_input(format!(
            "cannot look into {}: {error}",
            folder.display()
        ))),
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let parent = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent)
        .and_then(|()| fs::write(path, text))
        .map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))
}
