//! What the program measures of itself (`veilgate bench fhe`), as rows: lookups, sums and models beside their ceilings.

use std::process::{Command, Stdio};

use examples::client::Error;
use serde::Deserialize;

use crate::Context;
use crate::report::Row;

/// Enough for all but the largest batches on two cores.
const SECONDS: &str = "60";

/// A line, as far as a row needs it.
#[derive(Deserialize)]
#[serde(tag = "figure", rename_all = "lowercase")]
enum Line {
    Machine { backend: String },
    Keys {},
    Lookups(Figure),
    Sums(Figure),
    Model(Figure),
    Skipped { what: String, why: String },
}

#[derive(Deserialize)]
struct Figure {
    what: String,
    per_second: f64,
    p50_ms: f64,
    checked: usize,
    mismatches: usize,
    ceiling: Option<Ceiling>,
}

#[derive(Deserialize)]
struct Ceiling {
    name: String,
    per_second: f64,
}

pub fn run(context: &Context) -> Result<Vec<Row>, Error> {
    context.say("fhe: what the program measures of itself");
    let output = Command::new(context.bin_dir.join("veilgate"))
        .args(["bench", "fhe", "--json", "--seconds", SECONDS])
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        return Err(Error::new(format!("`veilgate bench fhe` failed:\n{lines}")));
    }
    let mut rows = Vec::new();
    for line in output.stdout.split(|&byte| byte == b'\n') {
        if line.is_empty() {
            continue;
        }
        match serde_json::from_slice(line).map_err(|error| Error::of(&error))? {
            Line::Machine { backend } => context.say(&format!("fhe: {backend}")),
            Line::Keys {} => {}
            Line::Lookups(figure) => rows.push(figure.row("lookups/s")),
            Line::Sums(figure) => rows.push(figure.row("mul-adds/s")),
            Line::Model(figure) => rows.push(figure.row("rows/s")),
            Line::Skipped { what, why } => context.say(&format!("fhe: without {what}: {why}")),
        }
    }
    Ok(rows)
}

impl Figure {
    fn row(self, unit: &'static str) -> Row {
        let note = format!(
            "{:.1} ms a call; {} of {} wrong",
            self.p50_ms, self.mismatches, self.checked
        );
        let row = Row::new("fhe", self.what, self.per_second, unit).note(note);
        match self.ceiling {
            Some(Ceiling { name, per_second }) => row.against(per_second, name),
            None => row,
        }
    }
}
