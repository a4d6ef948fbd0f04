//! `veilgate outbox`: a look into an outbox's directory, from its files; the gateway may be running. Given the config, `status` also
//! asks the running gateway what keeps it from sending.

mod running;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ::outbox::inspect;

use super::Failure;
use crate::config;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// What is there: batches and segments; with --config also what stands in the way of sending them
    Status(Which),
    /// Every file, one line each
    Ls(Which),
    /// Reads and checks every byte of every batch and segment
    Verify(Which),
}

#[derive(clap::Args)]
struct Which {
    /// The outbox's directory
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with = "config",
        required_unless_present = "config"
    )]
    dir: Option<PathBuf>,
    /// Or the config file whose [outbox] names it
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// JSON, for scripts
    #[arg(long)]
    json: bool,
}

/// The outbox, and the admin address of its gateway where the config has one.
struct Found {
    dir: PathBuf,
    admin: Option<SocketAddr>,
}

impl Which {
    fn dir(&self) -> Result<PathBuf, Failure> {
        Ok(self.find()?.dir)
    }

    fn find(&self) -> Result<Found, Failure> {
        if let Some(dir) = &self.dir {
            return Ok(Found {
                dir: dir.clone(),
                admin: None,
            });
        }
        let Some(file) = &self.config else {
            return Err(Failure::wrong_input(
                "name the outbox with --dir or --config",
            ));
        };
        let config = config::load(file)?;
        let outbox = config
            .outbox
            .ok_or_else(|| Failure::wrong_input(format!("{} has no [outbox]", file.display())))?;
        Ok(Found {
            dir: outbox.dir,
            admin: config.admin.map(|admin| admin.listen),
        })
    }
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Status(which) => list(&which, false),
        Command::Ls(which) => list(&which, true),
        Command::Verify(which) => verify(&which),
    }
}

fn unreadable(dir: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!(
        "{} cannot be read as an outbox: {error}",
        dir.display()
    ))
}

fn list(which: &Which, every_file: bool) -> Result<(), Failure> {
    let Found { dir, admin } = which.find()?;
    let listing = inspect::ls(&dir).map_err(|error| unreadable(&dir, &error))?;
    if which.json {
        return print_json(&listing);
    }
    let Some(site) = &listing.site else {
        return Err(Failure::new(format!(
            "{} holds no outbox (it has no identity file)",
            dir.display()
        )));
    };
    let incarnation = listing
        .incarnation
        .map(|incarnation| incarnation.to_string())
        .unwrap_or_default();
    println!("outbox of site {site}, incarnation {incarnation}");
    let total = |bytes: &mut dyn Iterator<Item = u64>| bytes.sum::<u64>();
    println!(
        "  segments    {:>6}  {:>12} bytes",
        listing.segments.len(),
        total(&mut listing.segments.iter().map(|line| line.len))
    );
    println!(
        "  batches     {:>6}  {:>12} bytes (waiting, or held after they were acknowledged)",
        listing.batches.len(),
        total(&mut listing.batches.iter().map(|line| line.len))
    );
    println!(
        "  dead        {:>6}  refused by the centre for good",
        listing.dead.len()
    );
    println!(
        "  quarantine  {:>6}  damaged and set aside",
        listing.quarantine.len()
    );
    if let (false, Some(admin)) = (every_file, admin) {
        println!("  sync        {}", running::sync_line(admin));
    }
    if every_file {
        for segment in &listing.segments {
            println!(
                "segment  {:<40} from seq {:>12}  {:>10} bytes",
                segment.name, segment.first_seq, segment.len
            );
        }
        for (kind, line) in listing
            .batches
            .iter()
            .map(|line| ("batch", line))
            .chain(listing.dead.iter().map(|line| ("dead", line)))
        {
            println!("{}", batch_line(kind, line));
        }
    }
    Ok(())
}

fn batch_line(kind: &str, line: &inspect::BatchLine) -> String {
    let range = match (line.first_seq, line.last_seq, line.records) {
        (Some(first), Some(last), Some(records)) => {
            format!("seq {first} to {last}, {records} records")
        }
        _ => "its header cannot be read".to_owned(),
    };
    format!("{kind:<8} {:>12}  {range}, {} bytes", line.no, line.len)
}

fn verify(which: &Which) -> Result<(), Failure> {
    let dir = which.dir()?;
    let found = inspect::verify(&dir).map_err(|error| unreadable(&dir, &error))?;
    if which.json {
        print_json(&found)?;
    } else {
        println!(
            "{} records in {} batches, {} records in {} segments, {} numbers declared missing",
            found.batch_records,
            found.batches,
            found.segment_records,
            found.segments,
            found.gap_records
        );
    }
    if found.problems.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = found
        .problems
        .iter()
        .map(|problem| format!("{}: {}", problem.file, problem.what))
        .collect();
    Err(Failure::new(format!(
        "{} files are not sound:\n  {}",
        lines.len(),
        lines.join("\n  ")
    )))
}

fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| Failure::new(error.to_string()))?;
    println!("{text}");
    Ok(())
}
