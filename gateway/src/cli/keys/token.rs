//! `veilgate keys token`: a bearer token, printed once, and the lines for the gateway's config, which hold its hash alone.

use fhe::{Entropy, OsEntropy};

use crate::cli::Failure;
use crate::fhe::{Tenant, TokenHash};

/// Tells people, and tools that look for secrets in the wrong places, what it is.
const PREFIX: &str = "vgt_";

#[derive(clap::Args)]
pub(super) struct Args {
    /// The tenant that the token is for
    #[arg(long, value_name = "NAME")]
    tenant: String,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let tenant: Tenant = args
        .tenant
        .parse()
        .map_err(|error| Failure::wrong_input(format!("--tenant {:?}: {error}", args.tenant)))?;
    let half = || {
        OsEntropy
            .seed()
            .map_err(|error| Failure::new(error.to_string()))
    };
    // 256 bits: its hash cannot be turned back by trying.
    let token = format!("{PREFIX}{:032x}{:032x}", half()?, half()?);
    println!("The token, for the client; it is shown this once:");
    println!();
    println!("{token}");
    println!();
    println!("For the gateway's config:");
    println!();
    println!("[[fhe.tenant]]");
    println!("name = \"{tenant}\"");
    println!("token_hash = \"{}\"", TokenHash::of(&token));
    Ok(())
}
