//! What was measured: a line for a person as soon as it is known, or one JSON object a line (benches/README.md).

use std::time::Duration;

use kernels::measure::Measured;
use serde::Serialize;

use super::ceiling::Ceiling;

/// One figure.
#[derive(Serialize)]
pub(super) struct Figure {
    pub bench: &'static str,
    /// `lookups`, `sums` or `model`.
    pub figure: &'static str,
    pub what: String,
    /// Ciphertexts, or rows, of one call.
    pub batch: usize,
    /// Distinct keys among them.
    pub keys: usize,
    pub per_second: f64,
    pub unit: &'static str,
    pub p50_ms: f64,
    pub best_ms: f64,
    /// The first call: keys are brought to where they are needed in it.
    pub first_ms: f64,
    pub calls: usize,
    /// Results that were decrypted, and how many of them were wrong.
    pub checked: usize,
    pub mismatches: usize,
    pub ceiling: Option<Bound>,
}

#[derive(Serialize)]
pub(super) struct Bound {
    name: String,
    per_second: f64,
    /// What part of it was reached.
    reached: f64,
}

/// What a figure is of.
pub(super) struct Of {
    pub figure: &'static str,
    pub what: String,
    pub batch: usize,
    pub keys: usize,
    pub unit: &'static str,
    /// Of its unit, in one call.
    pub of_call: usize,
}

impl Figure {
    pub fn new(of: Of, measured: &Measured, ceiling: Option<Ceiling>) -> Self {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let per_second = measured.per_second(of.of_call);
        Self {
            bench: "fhe",
            figure: of.figure,
            what: of.what,
            batch: of.batch,
            keys: of.keys,
            per_second,
            unit: of.unit,
            p50_ms: ms(measured.median()),
            best_ms: ms(measured.best()),
            first_ms: ms(measured.first),
            calls: measured.times.len() + 1,
            checked: measured.checked,
            mismatches: measured.mismatches,
            ceiling: ceiling.map(|ceiling| Bound {
                reached: per_second / ceiling.per_second,
                name: ceiling.name,
                per_second: ceiling.per_second,
            }),
        }
    }
}

/// What the figures are of, told before them.
#[derive(Serialize)]
pub(super) struct Machine {
    pub bench: &'static str,
    pub figure: &'static str,
    pub version: &'static str,
    pub backend: String,
    pub processor: Option<String>,
    pub seconds: u64,
    pub fused_per_second: f64,
    pub word_multiply_adds_per_second: f64,
    pub memory_bytes_per_second: f64,
}

/// How many keys there are to measure with.
#[derive(Serialize)]
pub(super) struct Made {
    pub bench: &'static str,
    pub figure: &'static str,
    pub keys: usize,
    pub seconds: f64,
}

#[derive(Serialize)]
struct Skipped<'a> {
    bench: &'static str,
    figure: &'static str,
    what: &'a str,
    why: &'a str,
}

/// Where lines go; counts what was wrong.
pub(super) struct Report {
    json: bool,
    pub mismatches: usize,
}

const WIDTH: usize = 46;

impl Report {
    pub fn new(json: bool) -> Self {
        Self {
            json,
            mismatches: 0,
        }
    }

    fn line(&self, of: &impl Serialize, text: impl FnOnce() -> String) {
        match self.json {
            // These hold numbers and text alone, which always can be written.
            true => println!("{}", serde_json::to_string(of).unwrap_or_default()),
            false => println!("{}", text()),
        }
    }

    pub fn machine(&self, machine: &Machine) {
        self.line(machine, || {
            format!(
                "{}\n{:.0} G f64 multiply-adds/s, {:.1} G word multiply-adds/s in the cache, {:.1} GB/s from memory\n",
                machine.backend,
                machine.fused_per_second / 1e9,
                machine.word_multiply_adds_per_second / 1e9,
                machine.memory_bytes_per_second / 1e9,
            )
        });
    }

    pub fn made(&self, made: &Made) {
        self.line(made, || {
            let Made { keys, seconds, .. } = made;
            let plural = if *keys == 1 { "" } else { "s" };
            let what = format!("{keys} key{plural} made and expanded");
            format!(
                "{what:<WIDTH$}{seconds:.1} s\n\n{:<WIDTH$}{:>12} {:<10}{:>9}{:>9}{:>9}{:>12}  of the ceiling",
                "", "a second", "", "p50 ms", "best ms", "first ms", "wrong"
            )
        });
    }

    pub fn figure(&mut self, figure: &Figure) {
        self.mismatches += figure.mismatches;
        self.line(figure, || {
            let wrong = format!("{}/{}", figure.mismatches, figure.checked);
            let ceiling = figure.ceiling.as_ref().map_or_else(
                || "not known of this device".to_owned(),
                |bound| {
                    let Bound {
                        name,
                        per_second,
                        reached,
                    } = bound;
                    format!("{:.0} % of {per_second:.0} ({name})", reached * 100.0)
                },
            );
            format!(
                "{:<WIDTH$}{:>12} {:<10}{:>9}{:>9}{:>9}{wrong:>12}  {ceiling}",
                figure.what,
                short(figure.per_second),
                figure.unit,
                short(figure.p50_ms),
                short(figure.best_ms),
                short(figure.first_ms),
            )
        });
    }

    pub fn skipped(&self, what: &str, why: &str) {
        let skipped = Skipped {
            bench: "fhe",
            figure: "skipped",
            what,
            why,
        };
        self.line(&skipped, || format!("{what:<WIDTH$}left out: {why}"));
    }
}

/// Three digits.
fn short(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
