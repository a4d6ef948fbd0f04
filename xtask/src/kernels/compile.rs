//! All files of kernels as one, so that they are loaded as one; for each architecture, and joined.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::report::{self, Usage};
use super::toolkit::Toolkit;
use super::{ARCHITECTURES, PTX};
use crate::process::target_dir;

const SOURCES: &str = "kernels/cuda";
const ALL: &str = "all.cu";
const FATBIN: &str = "kernels.fatbin";
/// Compilers at a time: each takes half a gigabyte, and a second or two.
const JOBS: usize = 2;

pub struct Compiled {
    pub usages: Vec<Usage>,
    pub fatbin: Vec<u8>,
}

pub fn all(root: &Path, toolkit: &Toolkit) -> Result<Compiled, String> {
    let began = Instant::now();
    let folder = target_dir(root).join("cuda/work");
    lay_out(&root.join(SOURCES), &folder)?;
    let mut usages = Vec::new();
    for (architecture, log) in ARCHITECTURES.iter().zip(compile_all(toolkit, &folder)?) {
        let found = report::parse(&log).map_err(|error| format!("sm_{architecture}: {error}"))?;
        usages.extend(found);
    }
    usages.sort_by(|a, b| (&a.kernel, a.architecture).cmp(&(&b.kernel, b.architecture)));
    let fatbin = join(toolkit, &folder)?;
    eprintln!(
        "   kernels, {} architectures: done in {:.0} s",
        ARCHITECTURES.len(),
        began.elapsed().as_secs_f64()
    );
    Ok(Compiled { usages, fatbin })
}

/// Copies of all sources, and one file that includes every file of kernels. The compiler is run beside them, so that the code knows
/// no folder of this machine.
fn lay_out(sources: &Path, folder: &Path) -> Result<(), String> {
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(|error| failed(folder, error))?;
    }
    fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    let mut kernels = Vec::new();
    for entry in fs::read_dir(sources).map_err(|error| failed(sources, error))? {
        let path: PathBuf = entry.map_err(|error| failed(sources, error))?.path();
        let kind = path.extension().and_then(|kind| kind.to_str());
        let (Some(name), Some("cu" | "cuh")) = (path.file_name(), kind) else {
            continue;
        };
        fs::copy(&path, folder.join(name)).map_err(|error| failed(&path, error))?;
        if kind == Some("cu") {
            kernels.push(format!("#include \"{}\"\n", name.to_string_lossy()));
        }
    }
    kernels.sort();
    let all = folder.join(ALL);
    fs::write(&all, kernels.concat()).map_err(|error| failed(&all, error))
}

/// What the compiler says of each architecture.
fn compile_all(toolkit: &Toolkit, folder: &Path) -> Result<Vec<String>, String> {
    let next = AtomicUsize::new(0);
    let logs = Mutex::new(vec![Ok(String::new()); ARCHITECTURES.len()]);
    std::thread::scope(|scope| {
        for _ in 0..JOBS {
            scope.spawn(|| {
                while let Some((at, architecture)) = taken(&next) {
                    let log = compile(toolkit, folder, architecture);
                    logs.lock().unwrap_or_else(PoisonError::into_inner)[at] = log;
                }
            });
        }
    });
    let logs = logs.into_inner().unwrap_or_else(PoisonError::into_inner);
    logs.into_iter().collect()
}

fn taken(next: &AtomicUsize) -> Option<(usize, u32)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    ARCHITECTURES
        .get(at)
        .map(|architecture| (at, *architecture))
}

/// The code of an architecture beside the sources: by way of its PTX where that is wanted too.
fn compile(toolkit: &Toolkit, folder: &Path, architecture: u32) -> Result<String, String> {
    let mut from = ALL.to_owned();
    if architecture == PTX {
        let mut nvcc = nvcc(toolkit, folder);
        nvcc.arg("-ptx")
            .arg(format!("-arch=compute_{architecture}"))
            .args(["-o", &ptx(), &from]);
        said("nvcc for PTX", &mut nvcc)?;
        from = ptx();
    }
    let mut nvcc = nvcc(toolkit, folder);
    nvcc.args(["-cubin", "-Xptxas", "-v,-warn-spills"])
        .arg(format!("-arch=sm_{architecture}"))
        .args(["-o", &code(architecture), &from]);
    said(&format!("nvcc for sm_{architecture}"), &mut nvcc)
}

/// The host's compiler only reads the sources, so that any version does.
fn nvcc(toolkit: &Toolkit, folder: &Path) -> Command {
    let host = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let mut nvcc = toolkit.program("nvcc");
    nvcc.current_dir(folder)
        .args(["-ccbin", &host, "-allow-unsupported-compiler"])
        .args(["-O3", "-std=c++17"]);
    nvcc
}

fn join(toolkit: &Toolkit, folder: &Path) -> Result<Vec<u8>, String> {
    let mut fatbinary = toolkit.program("fatbinary");
    fatbinary
        .current_dir(folder)
        .args(["-64", "--compress-all", "--compress-mode=size"])
        .arg(format!("--create={FATBIN}"))
        .arg(format!("--image3=kind=ptx,sm={PTX},file={}", ptx()));
    for architecture in ARCHITECTURES {
        let code = code(architecture);
        fatbinary.arg(format!("--image3=kind=elf,sm={architecture},file={code}"));
    }
    said("fatbinary", &mut fatbinary)?;
    let joined = folder.join(FATBIN);
    fs::read(&joined).map_err(|error| format!("{}: {error}", joined.display()))
}

fn code(architecture: u32) -> String {
    format!("sm_{architecture}.cubin")
}

fn ptx() -> String {
    format!("compute_{PTX}.ptx")
}

/// What a program says; all of it is the error if it fails.
fn said(what: &str, command: &mut Command) -> Result<String, String> {
    let output = command
        .output()
        .map_err(|error| format!("{what}: cannot start {:?}: {error}", command.get_program()))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    Err(format!("{what} failed ({}):\n{text}", output.status))
}
