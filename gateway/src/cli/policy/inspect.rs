//! `veilgate policy inspect`: what a module is and what it would have to be granted, before it is trusted with anything. Nothing of it is
//! run, and no configuration is needed.

use std::path::{Path, PathBuf};

use policy_host::{Compiled, HostConfig, Inspection, ModuleKind, PolicyHost};
use serde_json::json;

use super::super::Failure;

/// Larger files are no policies: the gateway would not load them either.
const MAX_BYTES: u64 = 256 << 20;
/// Of one page of linear memory.
const PAGE_BYTES: u64 = 64 << 10;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The module
    #[arg(value_name = "FILE.wasm")]
    module: PathBuf,
    /// One JSON document instead of text
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let wasm = read(&args.module)?;
    let config = HostConfig {
        workers: 1,
        max_policies: 1,
        compiler: crate::cli::compile::program(),
        ..HostConfig::default()
    };
    let limit = config.max_module_bytes;
    let host = PolicyHost::new(config).map_err(|error| Failure::new(error.to_string()))?;
    let found = host.inspect(&wasm);
    print!(
        "{}",
        if args.json {
            as_json(&args.module, &found)
        } else {
            text(&args.module, &found)
        }
    );
    match problem(&found, limit) {
        Some(problem) => Err(Failure::new(format!(
            "{} cannot be a policy: {problem}",
            args.module.display()
        ))),
        None => Ok(()),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let unreadable = |cause: String| {
        Failure::wrong_input(format!("{}: cannot be read: {cause}", path.display()))
    };
    let meta = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
    if meta.len() > MAX_BYTES {
        return Err(unreadable(format!(
            "it has more than {MAX_BYTES} bytes; is this a module?"
        )));
    }
    std::fs::read(path).map_err(|error| unreadable(error.to_string()))
}

/// Why the gateway would refuse it.
fn problem(found: &Inspection, limit: usize) -> Option<String> {
    match (&found.kind, &found.compiled) {
        (ModuleKind::Neither { why }, _) => Some(why.clone()),
        (_, Some(Err(error))) => Some(format!("it does not compile: {error}")),
        _ if found.bytes > limit => {
            Some(format!("it has {} bytes, more than {limit}", found.bytes))
        }
        _ => None,
    }
}

fn kind(found: &Inspection) -> String {
    match &found.kind {
        ModuleKind::Component { contract } => {
            format!("component on version {contract} of the contract")
        }
        ModuleKind::ProxyWasm { abi } => format!("filter on version {abi} of the proxy-wasm ABI"),
        ModuleKind::Neither { why } => format!("neither a policy nor a filter: {why}"),
    }
}

fn list(items: &[String]) -> String {
    if items.is_empty() {
        "none".to_owned()
    } else {
        items.join(", ")
    }
}

fn runs(found: &Inspection) -> &'static str {
    if found.waits {
        "on a bounded pool of instances of its own: its calls may wait"
    } else {
        "on the worker's own instance: its calls never wait"
    }
}

fn kib(bytes: u64) -> String {
    format!("{} KiB", bytes.div_ceil(1024))
}

fn text(path: &Path, found: &Inspection) -> String {
    let mut text = format!("{}\n", path.display());
    let mut line = |what: &str, value: &str| text.push_str(&format!("  {what:<9} {value}\n"));
    line("kind", &kind(found));
    if !matches!(found.kind, ModuleKind::Neither { .. }) {
        contract(found, &mut line);
    }
    line("size", &format!("{} bytes", found.bytes));
    match &found.compiled {
        Some(Ok(Compiled { bytes, took })) => {
            line(
                "compiled",
                &format!("{} in {} ms", kib(*bytes as u64), took.as_millis()),
            );
        }
        Some(Err(error)) => line(
            "compiled",
            &format!(
                "it does not compile: {}",
                error.lines().next().unwrap_or_default()
            ),
        ),
        None => {}
    }
    if !found.memories.is_empty() {
        line("memory", &memory(&found.memories));
    }
    line("digest", &format!("blake3:{}", found.digest));
    text
}

/// What it does with the contract, and would need for it.
fn contract(found: &Inspection, line: &mut impl FnMut(&str, &str)) {
    line("hooks", &list(&found.hooks));
    let mut label = "imports";
    for import in &found.imports {
        line(std::mem::take(&mut label), import);
    }
    if found.imports.is_empty() {
        line(label, "none");
    }
    let grants = match (&found.kind, &found.grants[..]) {
        // SDKs import every function that they declare: the imports do not tell.
        (ModuleKind::ProxyWasm { .. }, _) => {
            "by what it calls: \"kv\" (shared data, queues), \"http-call\" (proxy_http_call), \"limits\" and \"breakers\" (foreign functions)".to_owned()
        }
        (_, []) => "none needed".to_owned(),
        (_, grants) => format!("grants = [\"{}\"]", grants.join("\", \"")),
    };
    line("grants", &grants);
    if found.grants.iter().any(|grant| grant == "http-call") {
        line(
            "calls",
            "it calls upstreams: name those that it may in `calls`",
        );
    }
    line(
        "WASI",
        if found.wasi {
            "imported; the host gives it an empty one"
        } else {
            "none"
        },
    );
    line("runs", runs(found));
    match &found.direct {
        Some(Ok(())) => line("called", "directly"),
        Some(Err(why)) => {
            line(
                "called",
                &format!("through the component model, which costs more: {why}"),
            );
        }
        None => {}
    }
}

fn memory(memories: &[u64]) -> String {
    let total: u64 = memories
        .iter()
        .fold(0, |sum, bytes| sum.saturating_add(*bytes));
    let place = match memories.len() {
        1 => String::new(),
        several => format!(" in {several} memories"),
    };
    format!(
        "{} ({} pages{place}) when an instance begins",
        kib(total),
        total / PAGE_BYTES
    )
}

fn as_json(path: &Path, found: &Inspection) -> String {
    let (kind, version, why) = match &found.kind {
        ModuleKind::Component { contract } => ("component", Some(contract), None),
        ModuleKind::ProxyWasm { abi } => ("proxy-wasm", Some(abi), None),
        ModuleKind::Neither { why } => ("neither", None, Some(why)),
    };
    let compiled = found.compiled.as_ref();
    let sound = compiled.and_then(|compiled| compiled.as_ref().ok());
    let document = json!({
        "file": path.display().to_string(),
        "kind": kind,
        "version": version,
        "why": why,
        "hooks": found.hooks,
        "imports": found.imports,
        "grants": found.grants,
        "wasi": found.wasi,
        "waits": found.waits,
        "direct": found.direct.as_ref().map(|direct| direct.is_ok()),
        "not_direct_because": found.direct.as_ref().and_then(|direct| direct.as_ref().err()),
        "bytes": found.bytes,
        "compiled_bytes": sound.map(|compiled| compiled.bytes),
        "compile_us": sound.map(|compiled| u64::try_from(compiled.took.as_micros()).unwrap_or(u64::MAX)),
        "compile_error": compiled.and_then(|compiled| compiled.as_ref().err()),
        "memory_bytes": found.memories,
        "digest": format!("blake3:{}", found.digest),
    });
    format!("{document:#}\n")
}
