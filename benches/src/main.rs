//! The benchmarks behind `cargo xtask bench`: one module per boundary, one table at the end (README.md says how to read it).

mod cpu;
mod fhe_binary;
mod fhe_engine;
mod fhe_latency;
mod fhe_levels;
mod fhe_models;
mod fhe_noise;
mod gateway;
mod http;
mod load;
mod outbox_appends;
mod peers;
mod policy;
mod policy_swaps;
mod report;
mod sync_wire;
mod turns;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use examples::client::Error;

use report::Row;

/// As the gateway's program has it: policies are measured as they run there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(
    about = "Veilgate's benchmarks; `cargo xtask bench` builds what they need and starts them"
)]
struct Args {
    /// The checkout.
    #[arg(long, default_value = ".")]
    root: PathBuf,
    /// Where the built binaries are.
    #[arg(long)]
    bin_dir: PathBuf,
    /// Where the built policies (*.wasm) are.
    #[arg(long)]
    policies: PathBuf,
    /// Where the small policies in every language are; `policy` needs them.
    #[arg(long)]
    languages: Option<PathBuf>,
    /// What `peers` compares with: envoy, peer_filter.wasm, peer_policy.wasm.
    #[arg(long)]
    peers: Option<PathBuf>,
    /// A Python that has concrete-python: `fhe-models` compares with it.
    #[arg(long)]
    concrete: Option<PathBuf>,
    /// Also write every figure to this file, one JSON object a line.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Which to run; all, if none is named.
    benches: Vec<Bench>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bench {
    Http,
    Policy,
    Swap,
    Peers,
    Fhe,
    FheLatency,
    FheLevels,
    FheModels,
    Noise,
    Outbox,
    Sync,
}

impl Bench {
    /// Without `peers`, which needs another gateway, and `noise`, which takes minutes.
    const ALL: [Self; 9] = [
        Self::Http,
        Self::Policy,
        Self::Swap,
        Self::Fhe,
        Self::FheLatency,
        Self::FheLevels,
        Self::FheModels,
        Self::Outbox,
        Self::Sync,
    ];
}

/// What every benchmark may need.
pub struct Context {
    pub root: PathBuf,
    pub bin_dir: PathBuf,
    pub policies: PathBuf,
    pub languages: Option<PathBuf>,
    pub peers: Option<PathBuf>,
    pub concrete: Option<PathBuf>,
}

impl Context {
    /// Progress, on standard error: the table alone is on standard output.
    pub fn say(&self, what: &str) {
        eprintln!("   {what}");
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match all(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn all(args: Args) -> Result<(), Error> {
    let context = Context {
        root: args.root,
        bin_dir: std::path::absolute(args.bin_dir)?,
        policies: std::path::absolute(args.policies)?,
        languages: args.languages.map(std::path::absolute).transpose()?,
        peers: args.peers.map(std::path::absolute).transpose()?,
        concrete: args.concrete,
    };
    let chosen = if args.benches.is_empty() {
        Bench::ALL.to_vec()
    } else {
        args.benches
    };
    let mut rows = Vec::new();
    for bench in chosen {
        rows.extend(one(&context, bench).await?);
    }
    report::print(&rows);
    if let Some(file) = args.json {
        let lines = report::json_lines(&rows).map_err(|error| Error::of(&error))?;
        std::fs::write(&file, lines)?;
        eprintln!("\nwritten to {}", file.display());
    }
    Ok(())
}

async fn one(context: &Context, bench: Bench) -> Result<Vec<Row>, Error> {
    match bench {
        Bench::Http => http::run(context).await,
        Bench::Policy => policy::run(context),
        Bench::Swap => policy_swaps::run(context).await,
        Bench::Peers => peers::run(context).await,
        Bench::Fhe => {
            let mut rows = fhe_engine::run(context)?;
            rows.extend(fhe_binary::run(context)?);
            Ok(rows)
        }
        Bench::FheLatency => fhe_latency::run(context).await,
        Bench::FheLevels => fhe_levels::run(context).await,
        Bench::FheModels => fhe_models::run(context),
        Bench::Noise => fhe_noise::run(context),
        Bench::Outbox => outbox_appends::run(context).await,
        Bench::Sync => sync_wire::run(context).await,
    }
}
