//! Writes what a page needs to load a WebAssembly module of ours: an ES module of JavaScript, and the module made ready for it.
//!
//! A program of its own, because nothing else needs its dependencies: `cargo xtask browser` runs it.

use std::path::Path;
use std::process::ExitCode;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [module, folder] = args.as_slice() else {
        eprintln!("usage: browser-pack MODULE.wasm FOLDER");
        return ExitCode::FAILURE;
    };
    match pack(Path::new(module), Path::new(folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("browser-pack: {module}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn pack(module: &Path, folder: &Path) -> Result<(), String> {
    let mut bindgen = Bindgen::new();
    bindgen
        .input_path(module)
        .web(true)
        .and_then(|bindgen| bindgen.typescript(false).generate(folder))
        .map_err(|error| format!("{error:#}"))
}
