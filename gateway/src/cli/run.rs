//! `veilgate run`: from a config file to a gateway that serves, until it is told to stop.

use std::path::PathBuf;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failure, compile};
use crate::app::{self, Running};
use crate::config::{self, Config};
use crate::reload::Trigger;
use crate::telemetry;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The config file (docs/config.md)
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
    /// What to log, for example `info,veilgate::upstream=debug`; before the environment's VEILGATE_LOG
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let mut config = config::load(&args.config)?;
    config.policy_host.compiler = compile::program();
    telemetry::init_logs(args.log.as_deref())
        .map_err(|error| Failure::new(format!("the log cannot be set up: {error}")))?;
    let metrics = telemetry::install_metrics().map_err(|error| Failure::new(error.to_string()))?;
    let runtime = runtime(&config)?;
    runtime.block_on(async {
        let mut stops = Stops::new()?;
        let name = config.server.name.clone();
        let starting = app::start(config, Some(metrics));
        let running = tokio::select! {
            started = starting => started.map_err(|error| Failure::new(error.to_string()))?,
            () = stops.next() => return Ok(()),
        };
        eprintln!("{name} is listening on");
        for line in running.lines() {
            eprintln!("  {line}");
        }
        stops.serve(&running).await;
        eprintln!("{name} is stopping: exchanges in flight may finish; a second signal stops at once");
        tokio::select! {
            in_time = running.stop() => {
                eprintln!("{name} has stopped{}", if in_time { "" } else { "; some exchanges were cut" });
                Ok(())
            }
            () = stops.next() => Err(Failure::new("stopped at once; exchanges in flight were cut")),
        }
    })
}

fn runtime(config: &Config) -> Result<Runtime, Failure> {
    let mut builder = Builder::new_multi_thread();
    builder.enable_all().thread_name("worker");
    if let Some(workers) = config.server.workers {
        builder.worker_threads(workers);
    }
    builder
        .build()
        .map_err(|error| Failure::new(format!("the runtime cannot be started: {error}")))
}

/// SIGTERM and SIGINT, and SIGHUP, which asks for modules that changed.
struct Stops {
    term: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Stops {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Failure::new(format!("signals cannot be received: {error}")))
        };
        Ok(Self {
            term: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Until a stop is asked for.
    async fn serve(&mut self, running: &Running) {
        loop {
            tokio::select! {
                _ = self.term.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {}
            }
            let reloader = running.reloader().clone();
            // What came of it is in the log.
            tokio::task::spawn_blocking(move || reloader.reload(Trigger::Demand));
        }
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
