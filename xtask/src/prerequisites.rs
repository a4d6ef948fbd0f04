//! Checks, before anything is built, that the machine has what a build needs, and says how to get what it lacks.

use std::process::{Command, Stdio};

struct Need {
    program: &'static str,
    argument: &'static str,
    why: &'static str,
    cure: &'static str,
}

const NEEDS: &[Need] = &[
    Need {
        program: "rustc",
        argument: "--version",
        why: "the compiler",
        cure: "install Rust 1.95 or newer from https://rustup.rs",
    },
    Need {
        program: "cc",
        argument: "--version",
        why: "aws-lc (TLS) and zstd are C libraries",
        cure: "Debian, Ubuntu: apt-get install build-essential   macOS: xcode-select --install",
    },
    Need {
        program: "c++",
        argument: "--version",
        why: "device code is tested on the CPU",
        cure: "Debian, Ubuntu: apt-get install build-essential   macOS: xcode-select --install",
    },
    Need {
        program: "cmake",
        argument: "--version",
        why: "aws-lc's build may ask for it",
        cure: "Debian, Ubuntu: apt-get install cmake   macOS: brew install cmake",
    },
];

/// What policies in other languages, CUDA kernels and some tests need: without it they are left out, but not in CI.
const FOR_SOME: &[Need] = &[
    Need {
        program: "redis-server",
        argument: "--version",
        why: "limits that gateways share are tested against it",
        cure: "Debian, Ubuntu: apt-get install redis-server   macOS: brew install redis",
    },
    Need {
        program: "python3",
        argument: "--version",
        why: "compilers for C, Zig, Python and CUDA come from PyPI",
        cure: "Debian, Ubuntu: apt-get install python3 python3-pip   macOS: brew install python",
    },
    Need {
        program: "node",
        argument: "--version",
        why: "compilers for JavaScript, TypeScript and AssemblyScript run on it",
        cure: "Debian, Ubuntu: apt-get install nodejs   macOS: brew install node",
    },
    Need {
        program: "npm",
        argument: "--version",
        why: "those compilers come from npm",
        cure: "Debian, Ubuntu: apt-get install npm   macOS: brew install node",
    },
    Need {
        program: "go",
        argument: "version",
        why: "the compiler for Go, 1.24 or newer",
        cure: "https://go.dev/dl   macOS: brew install go",
    },
];

/// Of these programs, those that are not there, in words; empty if all are.
pub fn missing(programs: &[&str]) -> String {
    let lacking = FOR_SOME
        .iter()
        .filter(|need| programs.contains(&need.program) && !answers(need.program, need.argument));
    lacking.map(in_words).collect::<Vec<_>>().join("\n")
}

fn in_words(need: &Need) -> String {
    format!(
        "  {} is missing ({}).\n    {}",
        need.program, need.why, need.cure
    )
}

/// The oldest compiler that builds the workspace (`rust-version` in Cargo.toml).
const RUST_MINOR: u32 = 95;

pub fn check() -> Result<(), String> {
    let missing: Vec<String> = NEEDS
        .iter()
        .filter(|need| !answers(need.program, need.argument))
        .map(in_words)
        .collect();
    if !missing.is_empty() {
        return Err(format!(
            "this machine lacks something the build needs:\n{}",
            missing.join("\n")
        ));
    }
    match rust_minor() {
        Some(minor) if minor < RUST_MINOR => Err(format!(
            "the active Rust is 1.{minor}; Veilgate needs 1.{RUST_MINOR} or newer: run `rustup update stable`"
        )),
        _ => Ok(()),
    }
}

fn answers(program: &str, argument: &str) -> bool {
    Command::new(program)
        .arg(argument)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn rust_minor() -> Option<u32> {
    let output = Command::new("rustc").arg("--version").output().ok()?;
    minor_of(&String::from_utf8(output.stdout).ok()?)
}

fn minor_of(version: &str) -> Option<u32> {
    version
        .split_whitespace()
        .nth(1)?
        .split('.')
        .nth(1)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::minor_of;

    #[test]
    fn reads_the_minor_version_that_rustc_prints() {
        assert_eq!(minor_of("rustc 1.95.0 (59807616e 2026-04-14)"), Some(95));
        assert_eq!(minor_of("rustc 1.101.0-nightly"), Some(101));
        assert_eq!(minor_of("something else"), None);
    }
}
