//! `veilgate counters public-key`.

use std::path::PathBuf;

use fhe::counters::PublicKey;
use fhe::files;

use crate::cli::Failure;
use crate::cli::keys::unreadable;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The folder with your keys
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// Where to write it
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let client = files::read_client_key(&args.keys).map_err(unreadable)?;
    let failed = |error: fhe::FheError| Failure::new(error.to_string());
    let public = PublicKey::of(&client).map_err(failed)?;
    let output = args.output.display();
    std::fs::write(&args.output, public.as_bytes())
        .map_err(|error| Failure::new(format!("cannot write {output}: {error}")))?;
    println!("public key  {output} (16 KB; give it to whoever counts)");
    println!("its name    {}", public.id());
    Ok(())
}
