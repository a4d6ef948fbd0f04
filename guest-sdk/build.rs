//! Encodes each world of the contract for the section `component-type`, which tells the tool that wraps a core module as a
//! component what the module imports and exports. `export_policy!` puts the chosen world's bytes into the guest.

use std::path::{Path, PathBuf};
use std::{env, fs};

use wit_component::StringEncoding;
use wit_parser::Resolve;

const CONTRACT: &str = "wit/policy.wit";

fn main() {
    println!("cargo::rerun-if-changed={CONTRACT}");
    println!("cargo::rerun-if-changed=build.rs");
    let out = env::var_os("OUT_DIR").map(PathBuf::from);
    let written = out
        .ok_or_else(|| "cargo did not set OUT_DIR".to_owned())
        .and_then(|out| encode_worlds(&out));
    if let Err(message) = written {
        println!("cargo::error={CONTRACT}: {message}");
    }
}

fn encode_worlds(out: &Path) -> Result<(), String> {
    let text = fs::read_to_string(CONTRACT).map_err(|error| error.to_string())?;
    let mut resolve = Resolve::default();
    resolve
        .push_str(CONTRACT, &text)
        .map_err(|error| format!("{error:?}"))?;
    for (id, world) in resolve.worlds.iter() {
        let bytes =
            wit_component::metadata::encode(&resolve, id, StringEncoding::UTF8, None, false)
                .map_err(|error| format!("world {}: {error:#}", world.name))?;
        fs::write(out.join(&world.name), bytes).map_err(|error| error.to_string())?;
    }
    Ok(())
}
