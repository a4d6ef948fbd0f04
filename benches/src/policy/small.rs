//! benches/policies in every language: one that does nothing, and one that reads a header.

use std::path::{Path, PathBuf};

use examples::client::Error;
use policy_host::InstanceChoice;

use super::exchange::Subject;
use super::native::{Header, NoOp};
use super::{Bench, agree};
use crate::Context;
use crate::report::Row;

/// (folder, name).
const LANGUAGES: [(&str, &str); 7] = [
    ("rust", "Rust"),
    ("c", "C"),
    ("zig", "Zig"),
    ("assemblyscript", "AssemblyScript"),
    ("go", "Go"),
    ("js", "JavaScript"),
    ("python", "Python"),
];

/// (folder, name, the same natively).
const POLICIES: [(&str, &str, &dyn Twin); 2] =
    [("noop", "no-op", &NoOp), ("header", "header", &Header)];

trait Twin: Subject + Sync {}
impl<T: Subject + Sync> Twin for T {}

pub fn run(context: &Context, bench: &Bench) -> Result<Vec<Row>, Error> {
    let folder = context.languages.as_deref().ok_or_else(|| {
        Error::new("`policy` needs the folder of the small policies: start it with `cargo xtask bench policy`, which builds them")
    })?;
    let mut rows = Vec::new();
    for (language, language_name) in LANGUAGES {
        for (policy, policy_name, twin) in POLICIES {
            let what = format!("{language_name}, {policy_name}");
            let module = module(folder, &format!("{language}-{policy}"));
            if !module.is_file() {
                context.say(&format!("policy: {what}: left out, it was not built"));
                continue;
            }
            context.say(&format!("policy: {what}"));
            rows.extend(one(bench, &what, &module, policy, twin)?);
        }
    }
    Ok(rows)
}

/// As `veilgate policy build` lays it down.
fn module(folder: &Path, name: &str) -> PathBuf {
    folder.join(name).join("build").join(format!("{name}.wasm"))
}

fn one(
    bench: &Bench,
    what: &str,
    module: &Path,
    policy: &str,
    twin: &dyn Twin,
) -> Result<Vec<Row>, Error> {
    let warm = bench.loader.bare(policy, module, InstanceChoice::Warm)?;
    for (tenant, needs_tenant) in [(Some("blue"), false), (Some(""), true), (None, true)] {
        let expected = !needs_tenant || policy == "noop";
        for subject in [twin as &dyn Subject, &warm.chain] {
            if agree::passes(&bench.trip, subject, tenant) != expected {
                let message = format!("{what} answers wrongly for the tenant {tenant:?}");
                return Err(Error::new(message));
            }
        }
    }
    let mut rows = bench.calls(what, &warm, twin)?;
    let fresh = bench
        .loader
        .bare(policy, module, InstanceChoice::PerRequest)?;
    rows.extend(bench.calls(&format!("{what}, a fresh instance"), &fresh, twin)?);
    Ok(rows)
}
