//! A sensor that asks a gateway whether network flows are attacks, without showing it a flow: keys, encrypted events over
//! HTTP/3, labels that only the sensor can read, each held against the program in the clear.

mod events;
mod gateway;
mod secrecy;
mod sensor;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use examples::client::Error;
use examples::processes::stop_requested;
use examples::rows::Table;

use gateway::Gateway;
use sensor::Sensor;

#[derive(Parser)]
#[command(
    about = "Encrypted network flows, judged by a gateway that cannot read them; `cargo xtask soc` builds what it needs and starts it"
)]
struct Args {
    /// The checkout: examples/models/ is read from it.
    #[arg(long, default_value = ".")]
    root: PathBuf,
    /// Where the veilgate binary is.
    #[arg(long)]
    bin_dir: PathBuf,
    /// How many flows of examples/models/flows-test.csv are sent.
    #[arg(long, default_value_t = 300)]
    events: usize,
    /// Events under way at once.
    #[arg(long, default_value_t = 2)]
    in_flight: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    // Dropped on a stop, the story takes its gateway along.
    let told = tokio::select! {
        told = story(&args) => told,
        () = stop_requested() => Err(Error::new("it was asked to stop")),
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nsoc: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn story(args: &Args) -> Result<(), Error> {
    let bin_dir = std::path::absolute(&args.bin_dir)?;
    let models = args.root.join("examples/models");

    println!(
        "\n1. A gateway, its own process, with the model {}",
        sensor::PROGRAM
    );
    let folder = bin_dir.parent().unwrap_or(&bin_dir).join("soc");
    let gateway = Gateway::start(&bin_dir, folder, &models).await?;
    println!("   https://{} (HTTP/3)", gateway.address);

    println!(
        "\n2. A sensor makes its keys; the gateway is given the one that can compute and cannot decrypt"
    );
    let sensor = Arc::new(Sensor::register(&gateway.client()?, &models).await?);

    println!("\n3. Flows, each an encrypted event");
    let mut flows = Table::read(&models.join("flows-test.csv"), sensor.columns())?;
    flows.rows.truncate(args.events.max(1));
    flows.labels.truncate(flows.rows.len());
    let tally = events::send(&sensor, &gateway.client()?, flows, args.in_flight.max(1)).await?;

    println!("\n4. What the gateway could read");
    let seen = secrecy::look(&sensor, &models)?;
    println!(
        "   a request has {} bytes; {} of them are the same in {} requests of one flow, and just those are the same in \
         requests of {} flows:",
        seen.bytes,
        seen.constant,
        secrecy::REQUESTS,
        secrecy::REQUESTS
    );
    println!(
        "   they name the program, the key and the shape. Nothing of a flow was readable at the gateway."
    );

    tally.print();
    gateway.stop().await?;
    tally.verdict()
}
