//! What `policy bench` tells: for each hook the least, the median and the 99th percentile of its calls, and what a figure is.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::trial::Samples;

/// What was measured with one test file.
pub(super) struct Figures {
    pub file: String,
    pub module: String,
    pub module_bytes: usize,
    pub exchanges: u64,
    pub elapsed: Duration,
    pub faults: u64,
    /// Linear memory of the instance, after the run.
    pub memory_bytes: usize,
    pub fresh: Vec<Duration>,
    pub hooks: BTreeMap<&'static str, Samples>,
}

pub(super) struct Report(Vec<Figures>);

/// The hooks in the order of a request's trip.
const TRIP: [&str; 10] = [
    "request",
    "request-body",
    "request-chunk",
    "attempt",
    "outcome",
    "response",
    "response-body",
    "response-chunk",
    "complete",
    "tick",
];

/// Least, median, 99th percentile.
struct Spread {
    min: Duration,
    median: Duration,
    p99: Duration,
}

impl Spread {
    fn of(samples: &[Duration]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable();
        let at = |share: usize| {
            let index = (sorted.len() * share / 100).min(sorted.len().saturating_sub(1));
            sorted.get(index).copied().unwrap_or_default()
        };
        Self {
            min: at(0),
            median: at(50),
            p99: at(99),
        }
    }

    fn json(&self) -> Value {
        json!({ "min": nanos(self.min), "median": nanos(self.median), "p99": nanos(self.p99) })
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

fn micros(span: Duration) -> String {
    format!("{:.2}", span.as_nanos() as f64 / 1000.0)
}

const MEANING: &str = "One figure is one call of a hook as the gateway makes it, on a warm instance: the host's share (lending the exchange, arming\n\
     the limits, reading the decision) and what the policy does with the host included; the exchange around it excluded.\n\
     Between two rounds over a file's exchanges a day passes on the policy's clock. Fuel is about one per Wasm instruction,\n\
     and the same on every machine.";

const DEBUG: &str = "This veilgate is a DEBUG BUILD: the host's share takes many times what it takes in a release build.";

impl Report {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn add(&mut self, figures: Figures) {
        self.0.push(figures);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn text(&self) -> String {
        let mut text: String = self.0.iter().map(Figures::text).collect();
        text += MEANING;
        text += "\n";
        if cfg!(debug_assertions) {
            text += DEBUG;
            text += "\n";
        }
        text
    }

    pub(super) fn json(&self) -> String {
        let build = if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        };
        let files: Vec<Value> = self.0.iter().map(Figures::json).collect();
        format!("{:#}\n", json!({ "build": build, "files": files }))
    }
}

impl Figures {
    fn text(&self) -> String {
        let mut text = format!(
            "{} ({}, {} bytes)\n",
            self.file, self.module, self.module_bytes
        );
        text += &format!(
            "  {:<14} {:>9} {:>10} {:>10} {:>10} {:>10}\n",
            "hook", "calls", "min µs", "median µs", "p99 µs", "fuel"
        );
        let place = |hook: &str| TRIP.iter().position(|known| *known == hook);
        let mut hooks: Vec<_> = self.hooks.iter().collect();
        hooks.sort_by_key(|(hook, _)| place(hook));
        for (hook, samples) in hooks {
            let spread = Spread::of(&samples.took);
            let fuel = samples.fuel / samples.calls.max(1);
            text += &format!(
                "  {hook:<14} {:>9} {:>10} {:>10} {:>10} {fuel:>10}\n",
                samples.calls,
                micros(spread.min),
                micros(spread.median),
                micros(spread.p99),
            );
        }
        let fresh = Spread::of(&self.fresh);
        text += &format!(
            "  {:<14} {:>9} {:>10} {:>10} {:>10}\n",
            "fresh instance",
            self.fresh.len(),
            micros(fresh.min),
            micros(fresh.median),
            micros(fresh.p99)
        );
        text += &format!(
            "  memory of an instance: {} KiB\n",
            self.memory_bytes.div_ceil(1024)
        );
        text += &format!(
            "  {} exchanges in {:.1} s",
            self.exchanges,
            self.elapsed.as_secs_f64()
        );
        if self.faults > 0 {
            text += &format!("; {} CALLS FAILED, and are not measured", self.faults);
        }
        text + "\n\n"
    }

    fn json(&self) -> Value {
        let hooks: serde_json::Map<String, Value> = self
            .hooks
            .iter()
            .map(|(hook, samples)| {
                let figures = json!({
                    "calls": samples.calls,
                    "nanos": Spread::of(&samples.took).json(),
                    "fuel": samples.fuel / samples.calls.max(1),
                });
                ((*hook).to_owned(), figures)
            })
            .collect();
        json!({
            "file": self.file,
            "module": self.module,
            "module_bytes": self.module_bytes,
            "exchanges": self.exchanges,
            "elapsed_us": u64::try_from(self.elapsed.as_micros()).unwrap_or(u64::MAX),
            "faults": self.faults,
            "memory_bytes": self.memory_bytes,
            "fresh_instance_nanos": Spread::of(&self.fresh).json(),
            "hooks": hooks,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_of_the_sorted_calls() {
        let samples: Vec<Duration> = (1..=1000).rev().map(Duration::from_micros).collect();
        let spread = Spread::of(&samples);
        assert_eq!(
            [spread.min, spread.median, spread.p99].map(|span| span.as_micros()),
            [1, 501, 991]
        );
        assert_eq!(nanos(Spread::of(&[]).p99), 0);
        assert_eq!(nanos(Spread::of(&[Duration::from_nanos(7)]).p99), 7);
    }
}
