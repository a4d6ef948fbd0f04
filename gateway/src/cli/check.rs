//! `veilgate check`: everything about a config that can be found out without serving: the text, the certificates, the policies
//! with their own configuration, the programs of encrypted scoring.

use std::path::{Path, PathBuf};

use policy_host::Services;
use transport::tls::{Identity, TrustRoots};

use super::{Failure, compile};
use crate::config::{self, Config};
use crate::limits_store;
use crate::listener;
use crate::policies::Policies;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The config file
    #[arg(value_name = "FILE")]
    config: PathBuf,
    /// Only the text: certificates and policy modules need not be there
    #[arg(long)]
    text_only: bool,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let mut config = config::load(&args.config)?;
    config.policy_host.compiler = compile::program();
    let (mut policies, mut computes) = (None, None);
    if !args.text_only {
        let mut problems = problems(&config);
        match Policies::load(&config, Services::default()) {
            Ok(loaded) => policies = Some(loaded),
            Err(error) => problems.push(error.to_string()),
        }
        match devices(&config) {
            Ok(found) => computes = found,
            Err(error) => problems.push(error),
        }
        if !problems.is_empty() {
            let file = args.config.display();
            return Err(Failure::wrong_input(format!(
                "{file} is well-formed, but cannot be used here:\n  {}",
                problems.join("\n  ")
            )));
        }
    }
    print!("{}", summary(&args.config, &config, policies.as_ref()));
    if let Some(computes) = computes {
        println!("  fhe       computes on {computes}");
    }
    Ok(())
}

/// Everything that is wrong but for the policies, so that one run shows it all.
fn problems(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    for listener in &config.listeners {
        if let Some(tls) = &listener.tls
            && let Err(error) = listener::server_tls(tls, listener.protocols)
        {
            problems.push(format!("listener {}: {error}", listener.addr));
        }
    }
    for upstream in &config.upstreams {
        if let Some(ca) = &upstream.tls.ca
            && let Err(error) = TrustRoots::load(ca)
        {
            problems.push(format!("upstream {}: {error}", upstream.name));
        }
    }
    if let Some(store) = &config.limits_store
        && let Err(error) = limits_store::check(store)
    {
        problems.push(error.to_string());
    }
    if let Some(sync) = &config.sync {
        let trust = TrustRoots::load(&sync.ca).err();
        let identity = Identity::load(&sync.cert, &sync.key).err();
        problems.extend(
            [trust, identity]
                .into_iter()
                .flatten()
                .map(|error| format!("[sync]: {error}")),
        );
    }
    #[cfg(feature = "fhe")]
    if let Some(fhe) = &config.fhe
        && let Err(error) = crate::fhe::check_tenants(&crate::fhe::FheOptions::from(fhe))
    {
        problems.push(format!("[fhe]: {error}"));
    }
    #[cfg(feature = "fhe")]
    if let Some(fhe) = &config.fhe
        && let Err(error) = crate::fhe::check_programs(&fhe.programs_dir, fhe.program_memory_bytes)
    {
        problems.push(format!("[fhe]: {error}"));
    }
    problems
}

/// What encrypted scoring would be computed with, if there is any.
#[cfg(feature = "fhe")]
fn devices(config: &Config) -> Result<Option<String>, String> {
    let Some(fhe) = &config.fhe else {
        return Ok(None);
    };
    let found = crate::fhe::check_devices(&crate::fhe::FheOptions::from(fhe));
    let names = found.map_err(|error| error.to_string())?;
    Ok(Some(match names.is_empty() {
        true => "the CPU".to_owned(),
        false => names.join("; "),
    }))
}

#[cfg(not(feature = "fhe"))]
fn devices(_: &Config) -> Result<Option<String>, String> {
    Ok(None)
}

fn summary(file: &Path, config: &Config, policies: Option<&Policies>) -> String {
    let mut text = format!("{}: fine\n", file.display());
    for listener in &config.listeners {
        let tls = if listener.tls.is_some() {
            "TLS"
        } else {
            "plain"
        };
        text += &format!("  listener  {} ({tls})\n", listener.addr);
    }
    for route in &config.routes {
        let policies = if route.policies.is_empty() {
            "no policies".to_owned()
        } else {
            route.policies.join(" → ")
        };
        text += &format!("  route     {}: {policies}\n", route.name);
    }
    for policy in &config.policies {
        if let Some(digest) = policies.and_then(|policies| policies.digest(&policy.name)) {
            text += &format!("  policy    {}: {digest}\n", policy.name);
        }
    }
    for (policy, _) in config
        .policy_uses()
        .into_iter()
        .filter(|(_, uses)| *uses == 0)
    {
        text += &format!("  note      policy {policy} is on no route\n");
    }
    text
}
