//! `cargo xtask test`: policies first (tests load them), every test of the workspace, the client for the browser, then the demo and the page.

use std::path::Path;

use crate::process::{cargo, complete, heading};
use crate::{
    browser, demo, filters, kernels, languages, prerequisites, redis_server, tidy, vulkan, wasm,
};

pub fn run(root: &Path, args: &[String]) -> Result<(), String> {
    if let Some(unknown) = args.first() {
        return Err(format!(
            "`test` takes no argument, and got {unknown:?}; to run one test: cargo test -p PACKAGE NAME"
        ));
    }
    prerequisites::check()?;
    heading("house rules");
    tidy::run(root)?;
    heading("policies (Wasm components)");
    let policies = wasm::build_policies(root)?;
    let directory = policies
        .first()
        .and_then(|policy| policy.path.parent())
        .ok_or("no policy was built")?
        .to_path_buf();
    heading("proxy-wasm filters of others");
    let filters = filters::build(root)?;
    heading("policies in seven languages");
    let languages = languages::build(root)?;
    heading("a Redis server");
    let redis = redis_server::find(root)?;
    heading("CUDA kernels, every architecture");
    let nvrtc = kernels::check(root)?;
    heading("a GPU in software");
    let vulkan = vulkan::find(root)?;
    heading("tests of the workspace");
    let mut tests = vulkan.cargo(root);
    tests
        .args(["test", "--workspace"])
        .env("VEILGATE_POLICIES_DIR", &directory)
        .env("VEILGATE_FILTERS_DIR", &filters)
        .env("VEILGATE_LANGUAGES_DIR", &languages);
    if let Some(redis) = redis {
        tests.env("VEILGATE_REDIS_SERVER", redis);
    }
    if let Some(nvrtc) = nvrtc {
        tests.env("VEILGATE_NVRTC_DIR", nvrtc);
    }
    complete("cargo test", &mut tests)?;
    heading("the gateway without its FHE core still builds");
    complete(
        "cargo check",
        cargo(root).args([
            "check",
            "--quiet",
            "-p",
            "veilgate",
            "--no-default-features",
        ]),
    )?;
    heading("the FHE client compiles for the browser (wasm32-unknown-unknown)");
    wasm::check_fhe_client(root)?;
    heading("the demo, end to end (debug builds of our own code)");
    demo::run(root, &["--dev".to_owned()])?;
    heading("the page that encrypts in the browser");
    browser::check(root)?;
    eprintln!("\nEverything passed. Left out here: nothing that this machine could run.");
    Ok(())
}
