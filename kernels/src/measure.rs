//! Figures of a backend as a client would see them: real keys, random messages and tables, every result decrypted and held
//! against what it should be. What `veilgate bench fhe` is made of.

use std::time::{Duration, Instant};

use fhe::FheError;

use crate::backend::KernelError;

mod keys;
mod lookups;
mod secret;
mod sums;

pub use keys::{Keys, make_keys};
pub use lookups::{Shape, lookups};
pub use sums::{SUMS, sums};

#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    #[error(transparent)]
    Fhe(#[from] FheError),
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// What was measured of calls of one shape.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// The first call, in which keys go where they are needed.
    pub first: Duration,
    /// Of all others, in ascending order.
    pub times: Vec<Duration>,
    pub checked: usize,
    pub mismatches: usize,
}

impl Measured {
    pub fn best(&self) -> Duration {
        self.times.first().copied().unwrap_or(self.first)
    }

    pub fn median(&self) -> Duration {
        let middle = self.times.get(self.times.len() / 2);
        middle.copied().unwrap_or(self.first)
    }

    /// Of something that a call does so many of: by the time of all calls but the first, if there are others.
    pub fn per_second(&self, of_call: usize) -> f64 {
        let total: Duration = self.times.iter().sum();
        match self.times.len() {
            0 => of_call as f64 / self.first.as_secs_f64(),
            calls => (of_call * calls) as f64 / total.as_secs_f64(),
        }
    }
}

/// One call, and then others until their time is over. `call` tells how long it took, how many results were looked at, and how
/// many of them were wrong.
pub fn repeat<E>(
    length: Duration,
    mut call: impl FnMut() -> Result<(Duration, usize, usize), E>,
) -> Result<Measured, E> {
    let mut measured = Measured::default();
    let mut count = |outcome: (Duration, usize, usize)| {
        measured.checked += outcome.1;
        measured.mismatches += outcome.2;
        outcome.0
    };
    let first = count(call()?);
    let began = Instant::now();
    let mut times = Vec::new();
    // No call is begun that would end too late.
    while began.elapsed() + first / 2 < length {
        times.push(count(call()?));
    }
    times.sort();
    measured.first = first;
    measured.times = times;
    Ok(measured)
}

#[cfg(test)]
mod tests;
