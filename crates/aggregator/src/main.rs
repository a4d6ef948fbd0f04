//! `veilgate-aggregator`: arguments → settings → server or query → exit code.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use aggregator::admin;
use aggregator::config::Settings;
use aggregator::counters::{self, CountersArgs};
use aggregator::query::{self, QueryArgs};
use aggregator::server::Aggregator;
use aggregator::store::Store;
use aggregator::store::local::LocalStore;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(
    name = "veilgate-aggregator",
    version,
    about = "The centre that Veilgate sites sync to"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Receive batches from sites and store them
    Serve {
        /// TOML file with the settings below; flags win over it
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        settings: Settings,
    },
    /// Count, list or audit what a store holds; works beside a running server
    Query(QueryArgs),
    /// Adds up the encrypted counters of a stream across sites, each window into a file; works beside a running server
    Counters(CountersArgs),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve { config, settings } => serve(config, settings).map(|()| true),
        Command::Query(args) => {
            query::run(&args, &mut std::io::stdout().lock()).map_err(Into::into)
        }
        Command::Counters(args) => {
            counters::run(&args, &mut std::io::stdout().lock()).map_err(Into::into)
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        // The query has found something wrong, and said what.
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            eprintln!("veilgate-aggregator: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: Option<PathBuf>, flags: Settings) -> Result<(), Box<dyn std::error::Error>> {
    let file = config
        .as_deref()
        .map(Settings::load)
        .transpose()?
        .unwrap_or_default();
    let config = flags.or(file).check()?;
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()),
        )
        .with_writer(std::io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let metrics = admin::install_metrics();
        let store: Arc<dyn Store> =
            Arc::new(LocalStore::open(&config.store, config.min_free_bytes)?);
        let aggregator = Aggregator::start_with(&config, store.clone())?;
        let admin = match config.admin {
            Some(addr) => Some(admin::serve(addr, store, metrics).await?),
            None => None,
        };
        // Before anybody is told that we listen: a stop may follow at once.
        let (mut terminate, mut interrupt) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        announce(aggregator.addr(), admin);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: requests in flight are finished first");
        aggregator.stop().await;
        Ok(())
    })
}

/// One line on standard output, for scripts that wait for it. Nobody has to read it.
fn announce(addr: SocketAddr, admin: Option<SocketAddr>) {
    let admin = admin.map_or(String::new(), |addr| format!(", admin on http://{addr}"));
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "listening on udp {addr}{admin}").and_then(|()| out.flush());
}
