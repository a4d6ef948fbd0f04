//! What `policy test` tells: a line per exchange, every difference with what was expected and what came, a summary. Or all of it as JSON.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::expect::Mismatch;

/// Lines shown of a long text, on each side.
const MAX_LINES: usize = 40;

#[derive(Default, Serialize)]
pub(super) struct Report {
    passed: bool,
    exchanges: u64,
    failed: u64,
    elapsed_us: u64,
    pub(super) files: Vec<FileReport>,
}

#[derive(Serialize)]
pub(super) struct FileReport {
    file: String,
    module: String,
    exchanges: Vec<StepReport>,
}

#[derive(Serialize)]
pub(super) struct StepReport {
    pub name: String,
    pub times: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<Failed>,
}

#[derive(Serialize)]
pub(super) struct Failed {
    /// The first repetition that failed.
    pub at: u64,
    /// How many did.
    pub times: u64,
    /// Of the first one.
    pub mismatches: Vec<Mismatch>,
}

impl FileReport {
    pub(super) fn new(file: &Path, module: &Path, exchanges: Vec<StepReport>) -> Self {
        Self {
            file: file.display().to_string(),
            module: module.display().to_string(),
            exchanges,
        }
    }
}

impl Report {
    /// Counts, once all files are there.
    pub(super) fn finish(&mut self, elapsed: Duration) {
        let steps = || self.files.iter().flat_map(|file| &file.exchanges);
        let failed = steps()
            .filter_map(|step| step.failed.as_ref())
            .map(|failed| failed.times)
            .sum();
        (self.exchanges, self.failed) = (steps().map(|step| step.times).sum(), failed);
        self.passed = self.failed == 0;
        self.elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    }

    pub(super) fn failed(&self) -> u64 {
        self.failed
    }

    pub(super) fn exchanges(&self) -> u64 {
        self.exchanges
    }

    pub(super) fn json(&self) -> String {
        // Texts and numbers only: it cannot fail.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for file in &self.files {
            text += &format!("{} ({})\n", file.file, file.module);
            file.exchanges.iter().for_each(|step| step.tell(&mut text));
        }
        let files = match self.files.len() {
            1 => "1 file".to_owned(),
            files => format!("{files} files"),
        };
        let exchanges = if self.exchanges == 1 {
            "1 exchange"
        } else {
            &format!("{} exchanges", self.exchanges)
        };
        let result = match self.failed {
            0 => "all as expected".to_owned(),
            failed => format!("{failed} not as expected"),
        };
        text + &format!(
            "\n{exchanges} in {files}: {result} ({:.1} ms)\n",
            self.elapsed_us as f64 / 1000.0
        )
    }
}

impl StepReport {
    fn tell(&self, text: &mut String) {
        let times = if self.times == 1 {
            String::new()
        } else {
            format!(" ({} times)", self.times)
        };
        let Some(failed) = &self.failed else {
            *text += &format!("  ok    {}{times}\n", self.name);
            return;
        };
        let which = match (self.times, failed.times) {
            (1, _) => String::new(),
            (all, failed_times) => format!(
                " ({failed_times} of {all} times, first the {})",
                ordinal(failed.at)
            ),
        };
        *text += &format!("  FAIL  {}{which}\n", self.name);
        failed
            .mismatches
            .iter()
            .for_each(|mismatch| mismatch.tell(text));
    }
}

fn ordinal(number: u64) -> String {
    let ending = match (number % 10, number % 100) {
        (1, rest) if rest != 11 => "st",
        (2, rest) if rest != 12 => "nd",
        (3, rest) if rest != 13 => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

impl Mismatch {
    fn tell(&self, text: &mut String) {
        let short = |text: &str| text.lines().count() <= 1 && text.len() <= 100;
        if short(&self.expected) && short(&self.got) {
            *text += &format!(
                "          {}: expected {}, got {}\n",
                self.what, self.expected, self.got
            );
            return;
        }
        *text += &format!("          {}: - expected, + got\n", self.what);
        difference(&self.expected, &self.got, text);
    }
}

/// The lines that differ, between those at the beginning and the end that are the same.
fn difference(expected: &str, got: &str, text: &mut String) {
    let (left, right): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), got.lines().collect());
    let same = left
        .iter()
        .zip(&right)
        .take_while(|(left, right)| left == right)
        .count();
    let (left_rest, right_rest) = (&left[same..], &right[same..]);
    let pairs = left_rest.iter().rev().zip(right_rest.iter().rev());
    let end = pairs.take_while(|(left, right)| left == right).count();
    let mut lines = |sign: char, lines: &[&str]| {
        for line in lines.iter().take(MAX_LINES) {
            // Writing into a text cannot fail.
            let _ = writeln!(text, "            {sign} {line}");
        }
        if lines.len() > MAX_LINES {
            let _ = writeln!(
                text,
                "            {sign} … and {} lines more",
                lines.len() - MAX_LINES
            );
        }
    };
    lines(' ', &left[same.saturating_sub(2)..same]);
    lines('-', &left_rest[..left_rest.len() - end]);
    lines('+', &right_rest[..right_rest.len() - end]);
    lines(' ', &left_rest[left_rest.len() - end..][..end.min(2)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_marked() {
        let mut text = String::new();
        difference("a\nb\nc\nd\ne\nf", "a\nb\nc\nX\ne\nf", &mut text);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(lines, ["b", "c", "- d", "+ X", "e", "f"]);
        text.clear();
        difference("a\na", "a", &mut text);
        assert_eq!(
            text.lines().map(str::trim).collect::<Vec<_>>(),
            ["a", "- a"]
        );
    }

    #[test]
    fn the_repetition_that_failed_is_named() {
        assert_eq!(
            [1, 2, 3, 4, 11, 12, 13, 21, 112].map(ordinal).join(" "),
            "1st 2nd 3rd 4th 11th 12th 13th 21st 112th"
        );
    }
}
