//! What `veilgate infer` prints: each row's results side by side, then what it cost.

use std::time::Duration;

use fhe::Score;

use super::super::keys::size;
use super::{RowResult, Run};

/// Rows shown on a terminal; `--json` has all of them.
const SHOWN: usize = 10;

/// Computed once, printed in either form.
struct Summary {
    latency_ms: [f64; 3],
    longest_ms: f64,
    requests_per_s: f64,
    rows_per_s: f64,
    up: usize,
    down: usize,
    waits: usize,
    /// Share of rows with the right label: (encrypted, clear).
    accuracy: (Option<f64>, Option<f64>),
    /// Rows whose encrypted label is not the one in the clear.
    mismatches: Option<usize>,
    largest_error: Option<f64>,
}

impl Summary {
    fn of(run: &Run) -> Self {
        let mut latencies: Vec<Duration> =
            run.requests.iter().map(|request| request.latency).collect();
        latencies.sort();
        let seconds = run.took.as_secs_f64().max(1e-9);
        let label = |scores: &[Score]| run.program.label(scores).map(str::to_owned);
        let compared = || {
            run.rows
                .iter()
                .filter_map(|row| Some((row, row.clear.as_ref()?)))
        };
        let any_clear = compared().next().is_some();
        let differ = compared()
            .filter(|(row, clear)| label(&row.scores) != label(clear))
            .count();
        let errors = compared().flat_map(|(row, clear)| {
            row.scores
                .iter()
                .zip(clear)
                .map(|(a, b)| (a.value - b.value).abs())
        });
        Self {
            latency_ms: [0.50, 0.95, 0.99].map(|part| percentile(&latencies, part)),
            longest_ms: percentile(&latencies, 1.0),
            requests_per_s: run.requests.len() as f64 / seconds,
            rows_per_s: run.rows.len() as f64 / seconds,
            up: run.requests.iter().map(|request| request.up).sum(),
            down: run.requests.iter().map(|request| request.down).sum(),
            waits: run.requests.iter().map(|request| request.waits).sum(),
            accuracy: (
                accuracy(run, |row| label(&row.scores)),
                accuracy(run, |row| row.clear.as_ref().and_then(|clear| label(clear))),
            ),
            mismatches: any_clear.then_some(differ),
            largest_error: errors.reduce(f64::max),
        }
    }
}

/// The smallest latency that so much of all requests did not exceed.
fn percentile(sorted: &[Duration], part: f64) -> f64 {
    let index = (sorted.len() as f64 * part).ceil() as usize;
    sorted
        .get(index.saturating_sub(1))
        .map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

/// `None` without right answers, or without labels to compare with them.
fn accuracy(run: &Run, label: impl Fn(&RowResult) -> Option<String>) -> Option<f64> {
    let labels = run.labels.as_ref()?;
    let found: Vec<bool> = run
        .rows
        .iter()
        .zip(labels)
        .filter_map(|(row, right)| Some(label(row)? == *right))
        .collect();
    if found.is_empty() {
        return None;
    }
    Some(found.iter().filter(|right| **right).count() as f64 / found.len() as f64)
}

pub(super) fn print_text(run: &Run) {
    let summary = Summary::of(run);
    print_rows(run);
    let per_row = |bytes: usize| size((bytes / run.rows.len().max(1)) as u64);
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    println!();
    if let (Some(encrypted), clear) = summary.accuracy {
        let clear = clear.map_or(String::new(), |clear| {
            format!(", in the clear {}", percent(clear))
        });
        println!("right label     encrypted {}{clear}", percent(encrypted));
    }
    if let (Some(mismatches), Some(error)) = (summary.mismatches, summary.largest_error) {
        let bound = run
            .program
            .noise
            .score_error
            .iter()
            .copied()
            .fold(0.0, f64::max);
        println!(
            "differences     {mismatches} labels; scores by at most {error:.4} (at most {bound:.4} is promised)"
        );
    }
    let [p50, p95, p99] = summary.latency_ms;
    println!(
        "latency         half within {p50:.1} ms, 95 % within {p95:.1} ms, 99 % within {p99:.1} ms"
    );
    println!(
        "throughput      {:.1} requests/s, {:.1} rows/s, {} requests in flight",
        summary.requests_per_s, summary.rows_per_s, run.concurrency
    );
    println!(
        "sent            {} up and {} down for each row; the evaluation key was {}, once",
        per_row(summary.up),
        per_row(summary.down),
        size(run.key_bytes)
    );
    if summary.waits > 0 {
        println!(
            "the gateway was busy {} times, and was asked again",
            summary.waits
        );
    }
}

fn print_rows(run: &Run) {
    println!(
        "{} (version {}), {} rows",
        run.program.name,
        run.program.version,
        run.rows.len()
    );
    println!(
        "{:>5}  {:<24} {:<24} right answer",
        "row", "encrypted", "in the clear"
    );
    for (index, row) in run.rows.iter().enumerate().take(SHOWN) {
        let clear = row
            .clear
            .as_ref()
            .map_or("-".to_owned(), |scores| words(run, scores));
        let right = run
            .labels
            .as_ref()
            .and_then(|labels| labels.get(index))
            .map_or("-", String::as_str);
        println!(
            "{:>5}  {:<24} {clear:<24} {right}",
            index + 1,
            words(run, &row.scores)
        );
    }
    if run.rows.len() > SHOWN {
        println!(
            "       … and {} more (--json has all)",
            run.rows.len() - SHOWN
        );
    }
}

fn words(run: &Run, scores: &[Score]) -> String {
    let values: Vec<String> = scores
        .iter()
        .map(|score| format!("{:.3}", score.value))
        .collect();
    match run.program.label(scores) {
        Some(label) => format!("{label} ({})", values.join(", ")),
        None => values.join(", "),
    }
}

pub(super) fn print_json(run: &Run) {
    let summary = Summary::of(run);
    let [p50, p95, p99] = summary.latency_ms;
    let side = |scores: &[Score]| {
        let values: Vec<f64> = scores.iter().map(|score| score.value).collect();
        serde_json::json!({ "scores": values, "label": run.program.label(scores) })
    };
    let rows: Vec<_> = run
        .rows
        .iter()
        .enumerate()
        .map(|(index, row)| {
            serde_json::json!({
                "row": index + 1,
                "encrypted": side(&row.scores),
                "clear": row.clear.as_ref().map(|clear| side(clear)),
                "right": run.labels.as_ref().and_then(|labels| labels.get(index)),
            })
        })
        .collect();
    let report = serde_json::json!({
        "program": run.program.name,
        "version": run.program.version,
        "digest": run.program.digest,
        "params": run.program.params,
        "key": run.key_id.to_string(),
        "rows": run.rows.len(),
        "requests": run.requests.len(),
        "concurrency": run.concurrency,
        "seconds": run.took.as_secs_f64(),
        "accuracy": { "encrypted": summary.accuracy.0, "clear": summary.accuracy.1 },
        "mismatches": summary.mismatches,
        "score_error": { "largest": summary.largest_error, "promised": run.program.noise.score_error },
        "latency_ms": { "p50": p50, "p95": p95, "p99": p99, "max": summary.longest_ms },
        "requests_per_s": summary.requests_per_s,
        "rows_per_s": summary.rows_per_s,
        "bytes": { "up": summary.up, "down": summary.down, "key": run.key_bytes },
        "busy_waits": summary.waits,
        "results": rows,
    });
    println!("{report}");
}
