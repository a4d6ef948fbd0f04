//! What the benchmarks found: one table for people, one JSON object a line for scripts.

use serde::Serialize;

/// One figure. `ratio` says how it stands to another row of the same run: that is what survives a noisy machine.
#[derive(Debug, Serialize)]
pub struct Row {
    pub bench: &'static str,
    pub what: String,
    pub value: f64,
    pub unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Ratio>,
    /// If the row is of calls of one hook: what else is known of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<Call>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

#[derive(Debug, Serialize)]
pub struct Ratio {
    pub of: f64,
    pub to: String,
}

/// One call of a hook; the row's value is its median in µs.
#[derive(Debug, Serialize)]
pub struct Call {
    /// The quickest turn's median.
    pub least_us: f64,
    /// The same logic in native Rust.
    pub native_us: f64,
    pub over_native_us: f64,
    /// About one per Wasm instruction.
    pub fuel: u64,
    /// Linear memory of one instance; zero if none is kept.
    pub memory_bytes: usize,
}

impl Row {
    pub fn new(
        bench: &'static str,
        what: impl Into<String>,
        value: f64,
        unit: &'static str,
    ) -> Self {
        Self {
            bench,
            what: what.into(),
            value,
            unit,
            ratio: None,
            call: None,
            note: String::new(),
        }
    }

    /// Adds how this row's value stands to `base`, named `to`.
    pub fn against(mut self, base: f64, to: impl Into<String>) -> Self {
        if base > 0.0 {
            self.ratio = Some(Ratio {
                of: self.value / base,
                to: to.into(),
            });
        }
        self
    }

    pub fn call(mut self, call: Call) -> Self {
        self.call = Some(call);
        self
    }

    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }
}

pub fn print(rows: &[Row]) {
    let width = rows
        .iter()
        .map(|row| row.what.chars().count())
        .max()
        .unwrap_or(0);
    let mut heading = String::new();
    for row in rows {
        let mine = match row.call {
            Some(_) => call_heading(row.bench, width),
            None => row.bench.to_owned(),
        };
        if mine != heading {
            println!("\n{mine}");
            heading = mine;
        }
        println!("  {:<width$}  {}", row.what, row.rest());
    }
}

fn call_heading(bench: &str, width: usize) -> String {
    let title = format!("{bench}: a call of one hook, µs");
    format!(
        "{title:<width$}    {:>9} {:>9} {:>9} {:>12} {:>9} {:>12}",
        "median", "least", "native", "over native", "fuel", "memory"
    )
}

impl Row {
    /// All but its name.
    fn rest(&self) -> String {
        if let Some(call) = &self.call {
            let memory = match call.memory_bytes {
                0 => "-".to_owned(),
                bytes => format!("{} KiB", bytes.div_ceil(1024)),
            };
            return format!(
                "{:>9.3} {:>9.3} {:>9.3} {:>12.3} {:>9} {memory:>12}",
                self.value, call.least_us, call.native_us, call.over_native_us, call.fuel
            );
        }
        let ratio = self
            .ratio
            .as_ref()
            .map(|ratio| format!("{:.2} × {}", ratio.of, ratio.to))
            .unwrap_or_default();
        let value = figure(self.value);
        format!("{value:>12} {:<14} {ratio:<34} {}", self.unit, self.note)
    }
}

pub fn json_lines(rows: &[Row]) -> serde_json::Result<String> {
    let mut text = String::new();
    for row in rows {
        text.push_str(&serde_json::to_string(row)?);
        text.push('\n');
    }
    Ok(text)
}

/// Three significant digits are more than such a machine can promise.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
