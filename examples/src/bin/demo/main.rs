//! The demo: an aggregator, a gateway and a small service on one machine, and the whole trip through them on real data.
//! Each part of the story is a module; this file is its table of contents.

mod durable;
mod policies;
mod protocols;
mod scoring;
mod site;
mod summary;
mod workdir;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use examples::processes::stop_requested;

use site::Site;
use summary::Summary;
use workdir::Workdir;

#[derive(Parser)]
#[command(
    about = "Runs the whole trip on this machine; `cargo xtask demo` builds what it needs and starts it"
)]
struct Args {
    /// The checkout: edge-configs/ and examples/models/ are read from it.
    #[arg(long, default_value = ".")]
    root: PathBuf,
    /// Where the veilgate, veilgate-aggregator and demo-upstream binaries are.
    #[arg(long)]
    bin_dir: PathBuf,
    /// Where the built policies (*.wasm) are.
    #[arg(long)]
    policies: PathBuf,
    /// Leave everything running at the end, until Ctrl-C.
    #[arg(long)]
    keep: bool,
}

/// What stopped the demo, in words for the person who started it.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// A condition the demo exists to show, and which did not hold.
    pub fn unless(holds: bool, message: impl FnOnce() -> String) -> Result<(), Self> {
        if holds { Ok(()) } else { Err(Self(message())) }
    }
}

impl<E: std::error::Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(examples::client::Error::of(&error).to_string())
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    // Dropped on a stop, the story takes its processes along.
    let told = tokio::select! {
        told = story(&args) => told,
        () = stop_requested() => Err(Failure::new("it was asked to stop")),
    };
    let ended = match told {
        Ok(site) => {
            if args.keep {
                println!(
                    "\nEverything is still running; try for example\n  {}\nCtrl-C ends it.",
                    site.curl_line()
                );
                stop_requested().await;
            }
            site.stop().await
        }
        Err(failure) => Err(failure),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(message)) => {
            eprintln!("\nThe demo stopped: {message}");
            ExitCode::FAILURE
        }
    }
}

/// A heading for one part of the story.
fn part(number: u32, text: &str) {
    println!("\n{number}. {text}");
}

async fn story(args: &Args) -> Result<Site, Failure> {
    let began = Instant::now();
    let folder = args.bin_dir.parent().unwrap_or(&args.bin_dir).join("demo");
    let mut summary = Summary::default();

    part(
        1,
        "An aggregator, a gateway and a small HTTP service, each its own process",
    );
    let work = Workdir::prepare(&args.root, std::path::absolute(folder)?, &args.policies)?;
    let mut site = Site::start(work, std::path::absolute(&args.bin_dir)?).await?;

    part(2, "One port, three protocols");
    protocols::show(&site, &mut summary).await?;

    part(
        3,
        "Four policies, each a sandboxed Wasm module, on every request",
    );
    policies::show(&mut site, &mut summary).await?;

    part(
        4,
        "Scoring on encrypted data, over HTTP/3: the gateway computes on what it cannot read",
    );
    scoring::show(&site, &mut summary).await?;

    part(
        5,
        "Offline first: the aggregator away, the gateway killed in mid-traffic, and nothing lost",
    );
    durable::show(&mut site, &mut summary).await?;

    summary.print(&site, began.elapsed());
    Ok(site)
}
