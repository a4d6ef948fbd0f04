//! Finds a compiler for wasm32-unknown-unknown, in this order:
//!
//! 1. the active toolchain, if it has the target;
//! 2. `rustup target add`, as on any user's machine; not in CI, nor if `VEILGATE_WASM_TOOLCHAIN=debian`: rustup's server may be out
//!    of reach there, and a toolchain should not be changed;
//! 3. Debian's compiler, unpacked into a cache folder by scripts/wasm32-toolchain.sh, which this crate carries along.
//!
//! `cargo xtask` builds the shipped policies with it, `veilgate policy build` those of anybody.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What policies are compiled for.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// The script that prepares Debian's compiler.
const SCRIPT: &str = "scripts/wasm32-toolchain.sh";
const SCRIPT_TEXT: &str = include_str!("../../../scripts/wasm32-toolchain.sh");

/// The target is 20 MB: on a slow line that takes a minute, and a server that cannot be reached must not hold a build for longer.
const RUSTUP_PATIENCE: Duration = Duration::from_secs(120);

/// A compiler for guests.
#[derive(Debug)]
pub struct Toolchain {
    /// None: the active one.
    pub rustc: Option<PathBuf>,
}

impl Toolchain {
    /// The folder that its libraries lie in.
    pub fn sysroot(&self) -> Option<PathBuf> {
        let path = answer(self.program(), &["--print", "sysroot"])?;
        Some(PathBuf::from(path.trim()))
    }

    fn program(&self) -> &Path {
        self.rustc.as_deref().unwrap_or(Path::new("rustc"))
    }

    fn has_target(&self) -> bool {
        let Some(folder) = answer(
            self.program(),
            &["--print", "target-libdir", "--target", TARGET],
        ) else {
            return false;
        };
        let Ok(mut entries) = std::fs::read_dir(folder.trim()) else {
            return false;
        };
        entries.any(|entry| {
            entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
        })
    }
}

/// A way to get the target that was not tried, or failed, and why.
type Refusal = String;

/// In that order; `scratch` is an existing folder for the script.
pub fn find(scratch: &Path) -> Result<Toolchain, String> {
    let active = Toolchain { rustc: None };
    let wish = std::env::var("VEILGATE_WASM_TOOLCHAIN").unwrap_or_default();
    if !matches!(wish.as_str(), "" | "debian" | "rustup") {
        return Err(format!(
            "VEILGATE_WASM_TOOLCHAIN is {wish:?}; it may be \"debian\" or \"rustup\", or not set"
        ));
    }
    if active.has_target() {
        return Ok(active);
    }
    let from_rustup = match wish.as_str() {
        "debian" => Err("not tried: VEILGATE_WASM_TOOLCHAIN=debian".to_owned()),
        "" if in_ci() => Err("not tried: CI is set".to_owned()),
        _ => add_with_rustup(),
    };
    let Err(rustup) = from_rustup else {
        return Ok(active);
    };
    let debian = match wish.as_str() {
        "rustup" => Err("not tried: VEILGATE_WASM_TOOLCHAIN=rustup".to_owned()),
        _ => prepare_debians(scratch),
    };
    debian.map_err(|debian| {
        format!(
            "no Rust compiler for {TARGET}, which the policies need.\n  \
             rustup target add {TARGET}: {rustup}\n  {SCRIPT} (Debian's compiler, unpacked into a cache): {debian}\n  \
             Either one is enough: run it by hand to see more."
        )
    })
}

fn add_with_rustup() -> Result<(), Refusal> {
    eprintln!("   the active toolchain lacks {TARGET}: rustup target add {TARGET}");
    let child = Command::new("rustup")
        .args(["target", "add", TARGET])
        .stdin(Stdio::null())
        .spawn();
    let mut child = child.map_err(|error| format!("cannot start rustup ({error})"))?;
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => break,
            Ok(Some(status)) => return Err(format!("failed ({status})")),
            Ok(None) if began.elapsed() < RUSTUP_PATIENCE => {
                thread::sleep(Duration::from_millis(200))
            }
            Ok(None) => {
                // it has ended by itself if this fails
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("gave no result in {} s", RUSTUP_PATIENCE.as_secs()));
            }
            Err(error) => return Err(format!("cannot wait for rustup ({error})")),
        }
    }
    let active = Toolchain { rustc: None };
    if active.has_target() {
        Ok(())
    } else {
        Err("succeeded, but the active rustc is not rustup's".to_owned())
    }
}

fn prepare_debians(scratch: &Path) -> Result<Toolchain, Refusal> {
    let script = scratch.join("wasm32-toolchain.sh");
    std::fs::write(&script, SCRIPT_TEXT)
        .map_err(|error| format!("cannot write {}: {error}", script.display()))?;
    let output = Command::new("bash")
        .arg(&script)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot start it ({error})"))?;
    if !output.status.success() {
        return Err(format!(
            "failed ({}); its own lines above say why",
            output.status
        ));
    }
    let path = String::from_utf8_lossy(&output.stdout);
    let toolchain = Toolchain {
        rustc: Some(PathBuf::from(path.trim())),
    };
    if toolchain.has_target() {
        Ok(toolchain)
    } else {
        Err(format!(
            "what it prepared at {} lacks the target",
            path.trim()
        ))
    }
}

/// True where a toolchain is not to be changed.
fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}

fn answer(program: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(args)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
