//! `veilgate model install`, `list` and `remove`: what a running gateway serves, changed through its admin listener.

use std::path::PathBuf;

use http::Method;
use serde_json::Value;

use super::admin::Target;
use crate::cli::Failure;

const PATH: &str = "/fhe/programs";

#[derive(clap::Args)]
pub(super) struct Install {
    /// The program's file (*.json)
    #[arg(value_name = "PROGRAM")]
    program: PathBuf,
    #[command(flatten)]
    target: Target,
    /// In place of another program of the same name and version; rows encrypted for that one are refused from then on
    #[arg(long)]
    replace: bool,
}

#[derive(clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    target: Target,
    /// JSON, for scripts
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(super) struct Remove {
    /// The program's name
    #[arg(value_name = "NAME", value_parser = plain_name)]
    name: String,
    /// This version only
    #[arg(id = "only", value_name = "VERSION")]
    version: Option<u32>,
    #[command(flatten)]
    target: Target,
}

/// What stands in a path as it is.
fn plain_name(name: &str) -> Result<String, String> {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    match !name.is_empty() && name.bytes().all(is_plain) {
        true => Ok(name.to_owned()),
        false => Err("a program's name has a-z, 0-9 and `-` only".to_owned()),
    }
}

pub(super) fn install(args: &Install) -> Result<(), Failure> {
    let program = std::fs::read(&args.program)
        .map_err(|error| Failure::wrong_input(format!("{}: {error}", args.program.display())))?;
    let query = if args.replace { "?replace" } else { "" };
    let told = args
        .target
        .ask(&Method::PUT, &format!("{PATH}{query}"), &program)?;
    println!(
        "{}: {} version {}, digest {}",
        text(&told["result"]),
        text(&told["name"]),
        told["version"],
        text(&told["digest"])
    );
    Ok(())
}

pub(super) fn list(args: &List) -> Result<(), Failure> {
    let told = args.target.ask(&Method::GET, PATH, &[])?;
    if args.json {
        println!("{told:#}");
        return Ok(());
    }
    let programs = told["programs"].as_array().map_or(&[][..], Vec::as_slice);
    if programs.is_empty() {
        println!("no program is installed; install one with `veilgate model install PROGRAM`");
    }
    for one in programs {
        println!(
            "{} {}: {}, {} bootstraps a row, digest {}",
            text(&one["name"]),
            one["version"],
            text(&one["params"]),
            one["bootstraps_per_row"],
            text(&one["digest"])
        );
    }
    Ok(())
}

pub(super) fn remove(args: &Remove) -> Result<(), Failure> {
    let version = args.version.map(|version| format!("/{version}"));
    let path = format!("{PATH}/{}{}", args.name, version.unwrap_or_default());
    let told = args.target.ask(&Method::DELETE, &path, &[])?;
    println!("removed {} of {}", told["removed"], args.name);
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}
