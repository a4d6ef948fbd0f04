//! How long a row takes, from constants that were measured. The one place that holds them.

use std::num::NonZero;

use fhe::Program;

/// A backend's pace.
pub(super) struct Pace {
    pub backend: &'static str,
    /// Of one lookup (keyswitch and bootstrap) on one core or lane.
    lookup_ms: f64,
    /// Of one ciphertext of dimension 2048 times a weight.
    term_us: f64,
}

/// An x86-64 server core with AVX-512, `kernels` built in release (benches/results/2026-11-26-linux-2-cores-fhe.md); with AVX2
/// alone a lookup takes about twice as long.
pub(super) const CPU: Pace = Pace {
    backend: "cpu, AVX-512",
    lookup_ms: 3.4,
    term_us: 0.4,
};

/// Every backend whose pace is known.
pub(super) const PACES: [Pace; 1] = [CPU];

impl Pace {
    /// One row alone: lookups of a round run side by side, rounds one after the other.
    pub fn latency_ms(&self, program: &Program, threads: usize) -> f64 {
        let waves = |lookups: usize| lookups.div_ceil(threads.max(1));
        let lookups = program.rounds().iter().filter_map(|r| r.lookup.as_ref());
        let waves: usize = lookups.map(|lookup| waves(lookup.uses.len())).sum();
        waves as f64 * self.lookup_ms + self.sums_ms(program)
    }

    /// What a row takes of a core, when many rows keep all of them busy.
    pub fn core_ms(&self, program: &Program) -> f64 {
        program.bootstraps_per_row() as f64 * self.lookup_ms + self.sums_ms(program)
    }

    fn sums_ms(&self, program: &Program) -> f64 {
        program.terms_per_row() as f64 * self.term_us / 1e3
    }
}

/// Of this machine.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}
