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
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

#[derive(Debug, Serialize)]
pub struct Ratio {
    pub of: f64,
    pub to: String,
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
    let mut bench = "";
    for row in rows {
        if row.bench != bench {
            bench = row.bench;
            println!("\n{bench}");
        }
        let ratio = row
            .ratio
            .as_ref()
            .map(|ratio| format!("{:.2} × {}", ratio.of, ratio.to))
            .unwrap_or_default();
        println!(
            "  {:<width$}  {:>12} {:<14} {ratio:<34} {}",
            row.what,
            figure(row.value),
            row.unit,
            row.note
        );
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
