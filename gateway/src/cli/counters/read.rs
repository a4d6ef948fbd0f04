//! `veilgate counters read`: the owner's view.

use std::path::PathBuf;

use fhe::counters::{COUNTER_BYTES, CounterCiphertext, Total, TotalValue, read};
use fhe::files;
use serde_json::json;

use super::{read_file, read_schema, wrong};
use crate::cli::Failure;
use crate::cli::keys::unreadable;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The folder with your keys
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// What was counted (JSON)
    #[arg(long, value_name = "FILE")]
    schema: PathBuf,
    /// One JSON object a file, for scripts
    #[arg(long)]
    json: bool,
    /// Sums (VGCT)
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let key = files::read_client_key(&args.keys).map_err(unreadable)?;
    let schema = read_schema(&args.schema)?;
    for path in &args.files {
        let bytes = read_file(path, COUNTER_BYTES)?;
        let counters = CounterCiphertext::from_bytes(&bytes).map_err(|e| wrong(path, &e))?;
        let totals = read(&key, &schema, &counters).map_err(|e| wrong(path, &e))?;
        let header = counters.header();
        if args.json {
            let line = json!({
                "start": header.window.start(),
                "seconds": header.window.seconds(),
                "contributions": header.contributions,
                "totals": totals,
            });
            println!("{line}");
            continue;
        }
        println!(
            "{} s from {}, {} contributions",
            header.window.seconds(),
            header.window.start(),
            header.contributions
        );
        totals.iter().for_each(print);
    }
    Ok(())
}

fn print(total: &Total) {
    match &total.value {
        TotalValue::Total(value) => println!("    {}  {value}", total.name),
        TotalValue::Histogram { edges, buckets } => {
            println!("    {}", total.name);
            let from = std::iter::once(None).chain(edges.iter().map(Some));
            let to = edges.iter().map(Some).chain(std::iter::once(None));
            for ((from, to), count) in from.zip(to).zip(buckets) {
                let range = match (from, to) {
                    (None, Some(to)) => format!("below {to}"),
                    (Some(from), Some(to)) => format!("{from} to {to}"),
                    (Some(from), None) => format!("{from} and above"),
                    (None, None) => "all".to_owned(),
                };
                println!("        {range}  {count}");
            }
        }
    }
}
