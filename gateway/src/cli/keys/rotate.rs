//! `veilgate keys rotate`: new keys in the place of old ones, at the gateway and on this machine.
//!
//! Whatever stops it, no key is lost: new keys are written before the gateway hears of them, old ones are kept.

use std::path::{Path, PathBuf};

use fhe::files::{self, CLIENT_KEY_FILE, EVALUATION_KEY_FILE};

use super::register::{Wishes, register};
use super::{unreadable, write_new_keys};
use crate::cli::Failure;
use crate::cli::remote::{Target, block_on};

/// Digits of the old key's id in the name of the folder that it is kept in.
const ID_DIGITS: usize = 12;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// The folder with the keys that are to be replaced
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// A folder for the new keys; without it they take the place of the old ones, which are kept in a folder beside
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    wishes: Wishes,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let old = files::read_evaluation_key(&args.keys).map_err(unreadable)?;
    let id = old.id().to_string();
    let next = match &args.out {
        Some(out) => out.clone(),
        None => args.keys.join(format!("next-{}", &id[..ID_DIGITS])),
    };
    // Run again after an interruption, it goes on with the keys that it made.
    let new = match next.join(EVALUATION_KEY_FILE).exists() {
        true => files::read_evaluation_key(&next).map_err(unreadable)?,
        false => write_new_keys(&next, old.set())?,
    };
    block_on(register(&args.target, &new, &args.wishes, Some(old.id())))?;
    if args.out.is_none() {
        let kept = args.keys.join(format!("old-{}", &id[..ID_DIGITS]));
        swap(&args.keys, &next, &kept).map_err(|error| {
            Failure::new(format!(
                "the new key is registered and in {}, but the files could not be moved: {error}",
                next.display()
            ))
        })?;
        println!("The old keys are in {}", kept.display());
    }
    println!("The old key {id} works until its grace at the gateway ends (`veilgate keys list`)");
    Ok(())
}

/// The old keys into `kept`, the new ones out of `next`; nothing is overwritten.
fn swap(dir: &Path, next: &Path, kept: &Path) -> std::io::Result<()> {
    std::fs::create_dir(kept)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(kept, std::fs::Permissions::from_mode(0o700))?;
    }
    for name in [CLIENT_KEY_FILE, EVALUATION_KEY_FILE] {
        std::fs::rename(dir.join(name), kept.join(name))?;
    }
    for name in [CLIENT_KEY_FILE, EVALUATION_KEY_FILE] {
        std::fs::rename(next.join(name), dir.join(name))?;
    }
    std::fs::remove_dir(next)
}
