//! `veilgate doctor`: what this machine computes encrypted rows with, and what would help where a device cannot be used.

use std::path::{Path, PathBuf};

use kernels::survey::{self, Budget, Found, Wanted};
use kernels::{Backend, CpuBackend};
use serde_json::{Value, json};

use super::{Failure, machine};
use crate::config;
use crate::fhe::FheOptions;

#[derive(clap::Args)]
pub(super) struct Args {
    /// What this config's `devices` would choose, instead of the best
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One JSON document instead of text
    #[arg(long)]
    json: bool,
}

/// Everything that is told.
struct Report {
    cpu: String,
    built_with: Vec<&'static str>,
    found: Vec<Found>,
    chosen: Chosen,
}

/// What a gateway would compute with.
struct Chosen {
    /// As it is written in a config.
    asked: &'static str,
    cards: Vec<Card>,
    /// Devices that were found and could not be opened.
    failed: Vec<String>,
    /// It would not start.
    error: Option<String>,
}

struct Card {
    name: String,
    keys: usize,
    batch: usize,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let (wanted, key_bytes) = match &args.config {
        None => (Wanted::Best, None),
        Some(file) => of_config(file)?,
    };
    let cpu = CpuBackend::new(None).map_err(|error| Failure::new(error.to_string()))?;
    let features = [
        ("cuda", cfg!(feature = "cuda")),
        ("wgpu", cfg!(feature = "wgpu")),
    ];
    let built_with = features.into_iter().filter(|(_, is_in)| *is_in);
    let report = Report {
        cpu: cpu.name(),
        built_with: built_with.map(|(name, _)| name).collect(),
        found: survey::survey(),
        chosen: choose(wanted, key_bytes),
    };
    match args.json {
        true => println!("{:#}", report.as_json()),
        false => print!("{}", report.text()),
    }
    Ok(())
}

fn of_config(file: &Path) -> Result<(Wanted, Option<u64>), Failure> {
    let config = config::load(file)?;
    let section = config.fhe.as_ref().ok_or_else(|| {
        Failure::wrong_input(format!(
            "{} has no section [fhe]: a gateway with it computes on nothing that is encrypted",
            file.display()
        ))
    })?;
    let options = FheOptions::from(section);
    Ok((options.devices, options.device_key_memory))
}

fn choose(wanted: Wanted, key_bytes: Option<u64>) -> Chosen {
    let name = |(name, of): &(&'static str, Wanted)| (*of == wanted).then_some(*name);
    let mut chosen = Chosen {
        asked: Wanted::NAMES.iter().find_map(name).unwrap_or_default(),
        cards: Vec::new(),
        failed: Vec::new(),
        error: None,
    };
    let budget = key_bytes.map_or_else(Budget::default, |key_bytes| Budget { key_bytes });
    match survey::open(wanted, budget) {
        Ok(opened) => {
            for device in &opened.devices {
                chosen.cards.push(Card {
                    name: device.name(),
                    keys: device.places(),
                    batch: device.batch(),
                });
            }
            chosen.failed = opened.failed.iter().map(ToString::to_string).collect();
        }
        Err(error) => chosen.error = Some(error.to_string()),
    }
    chosen
}

const COLUMN: usize = 16;

fn line(name: &str, value: &str) -> String {
    format!("{name:<COLUMN$}{value}\n")
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

impl Report {
    fn text(&self) -> String {
        let mut text = line("processor", &machine::processor().unwrap_or_default());
        text += &line("", &self.cpu);
        if let Some(memory) = machine::memory() {
            let (total, free) = (gigabytes(memory.total), gigabytes(memory.available));
            text += &line("memory", &format!("{total}, of which {free} are available"));
        }
        let built_with = match self.built_with.is_empty() {
            true => "no support of GPUs (cargo features `cuda`, `wgpu`)".to_owned(),
            false => format!("support of GPUs by {}", self.built_with.join(" and ")),
        };
        text += &line("built with", &built_with);
        text += "\n";
        if self.found.is_empty() {
            text += &line("GPUs", "none was found");
        }
        for found in &self.found {
            text += &line(found.backend, &found.name);
            for (name, value) in &found.facts {
                text += &line("", &format!("{name}: {value}"));
            }
            if let Some(why) = &found.unusable {
                text += &line("", &format!("not used: {why}"));
            }
        }
        text += "\n";
        text + &self.chosen.text(&self.cpu)
    }

    fn as_json(&self) -> Value {
        let found = |found: &Found| {
            let facts: serde_json::Map<String, Value> = found
                .facts
                .iter()
                .map(|(name, value)| ((*name).to_owned(), json!(value)))
                .collect();
            json!({
                "backend": found.backend,
                "name": found.name,
                "facts": facts,
                "unusable": found.unusable,
            })
        };
        let memory = machine::memory().map(
            |memory| json!({ "total_bytes": memory.total, "available_bytes": memory.available }),
        );
        json!({
            "processor": machine::processor(),
            "cores": machine::cores(),
            "cpu": self.cpu,
            "memory": memory,
            "built_with": self.built_with,
            "devices": self.found.iter().map(found).collect::<Vec<_>>(),
            "chosen": self.chosen.as_json(),
        })
    }
}

impl Chosen {
    fn text(&self, cpu: &str) -> String {
        let mut text = line("devices", &format!("\"{}\"", self.asked));
        if let Some(error) = &self.error {
            return text + &line("", &format!("a gateway would not start: {error}"));
        }
        for failed in &self.failed {
            text += &line("", &format!("could not be opened: {failed}"));
        }
        if self.cards.is_empty() {
            text += &line("", &format!("bootstraps on the CPU: {cpu}"));
        }
        for card in &self.cards {
            let Card { name, keys, batch } = card;
            text += &line("", &format!("bootstraps on {name}"));
            text += &line(
                "",
                &format!("room for {keys} keys; up to {batch} ciphertexts at once"),
            );
        }
        text + &line("", &format!("sums alone on the CPU: {cpu}"))
    }

    fn as_json(&self) -> Value {
        let card =
            |card: &Card| json!({ "name": card.name, "keys": card.keys, "batch": card.batch });
        json!({
            "asked": self.asked,
            "devices": self.cards.iter().map(card).collect::<Vec<_>>(),
            "failed": self.failed,
            "error": self.error,
        })
    }
}
