//! `cargo xtask kernels`: compiles device code for every architecture, says what each kernel takes of a multiprocessor, and holds what
//! the repository carries against it. Needs no GPU: the compiler comes from PyPI.

mod compile;
mod report;
mod toolkit;

use std::fs;
use std::path::{Path, PathBuf};

use crate::prerequisites;
use crate::process::in_ci;

/// Every architecture since Turing that a card or module of this kind has: 7.5 Turing, 8.0 A100, 8.6 Ampere, 8.7 Orin, 8.9 Ada, 9.0
/// Hopper, 10.0 and 12.0 Blackwell.
const ARCHITECTURES: [u32; 8] = [75, 80, 86, 87, 89, 90, 100, 120];
/// Of this the PTX is carried too, for a driver to compile where none of the above fits.
const PTX: u32 = 90;
/// Device code as the program carries it.
const CARRIED: &str = "kernels/cuda/kernels.fatbin";
const WRITE: &str = "--write";

pub fn run(root: &Path, args: &[String]) -> Result<(), String> {
    let write = match args {
        [] => false,
        [one] if one == WRITE => true,
        _ => return Err(format!("`kernels` takes {WRITE} or nothing, not {args:?}")),
    };
    let Some(toolkit) = find(root)? else {
        return Ok(());
    };
    let compiled = compile::all(root, &toolkit)?;
    println!("{}", report::table(&compiled.usages));
    report::refuse_spills(&compiled.usages)?;
    let carried = root.join(CARRIED);
    if write {
        return fs::write(&carried, &compiled.fatbin)
            .map_err(|error| format!("{}: {error}", carried.display()));
    }
    if fs::read(&carried).is_ok_and(|bytes| bytes == compiled.fatbin) {
        eprintln!("   {CARRIED} is what the sources make");
        return Ok(());
    }
    Err(format!(
        "{CARRIED} is not what the sources make: run `cargo xtask kernels {WRITE}`"
    ))
}

/// The same, for `test`. Returns the folder of NVRTC's libraries; `None` where the compiler cannot be had.
pub fn check(root: &Path) -> Result<Option<PathBuf>, String> {
    run(root, &[])?;
    Ok(find(root)?.map(|toolkit| toolkit.libraries()))
}

/// `None`: it cannot be had here, which was said; in CI that is an error unless there is none for this system.
fn find(root: &Path) -> Result<Option<toolkit::Toolkit>, String> {
    if !cfg!(target_os = "linux") {
        eprintln!("   CUDA kernels are left out here: their compiler is for Linux");
        return Ok(None);
    }
    let missing = prerequisites::missing(&["python3"]);
    if missing.is_empty() {
        return toolkit::find(root).map(Some);
    }
    if in_ci() {
        return Err(format!("CUDA kernels cannot be compiled here:\n{missing}"));
    }
    eprintln!("   CUDA kernels are left out here:\n{missing}");
    Ok(None)
}
