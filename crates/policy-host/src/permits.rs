//! What an exchange holds of the shared primitives: breaker permits of its attempts, places in gates.
//!
//! Invariant: each is settled exactly once. A permit is settled with its attempt's outcome, or goes back uncounted; a place in a gate
//! is left when the exchange ends. Both happen by `Drop` at the latest, so a trap or a client that went away cannot leak one.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::decision::AttemptOutcome;
use crate::primitives::{Admission, Breaker, GatePlace, Permit, Settlement};

/// Over all policies and attempts of one exchange.
pub const MAX_PERMITS: usize = 32;
/// Places in gates, over all policies of one exchange.
pub const MAX_PLACES: usize = 16;

#[derive(Default)]
pub(crate) struct Permits {
    held: Vec<Held>,
    places: Vec<GatePlace>,
}

/// What a policy said its breaker is to count as a failure.
#[derive(Debug, Default)]
pub(crate) struct Counting {
    /// Empty: as the host would.
    pub(crate) failures: Vec<RangeInclusive<u16>>,
    pub(crate) ignored_errors: Vec<String>,
}

impl Counting {
    fn is_failure(&self, outcome: &AttemptOutcome) -> bool {
        match (&outcome.error, outcome.status) {
            (Some(error), _) => !self.ignored_errors.contains(error),
            (None, Some(status)) if !self.failures.is_empty() => {
                self.failures.iter().any(|range| range.contains(&status))
            }
            (None, _) => outcome.is_failure(),
        }
    }
}

struct Held {
    attempt: u32,
    counting: Option<Arc<Counting>>,
    /// What a policy said it is to count as, against what the host would count.
    count_as: Option<bool>,
    permit: Permit,
}

impl Permits {
    /// Asks the breaker for leave, which this attempt then holds. With no room for one more permit it says what would be, and takes
    /// nothing.
    pub(crate) fn admit(
        &mut self,
        attempt: u32,
        (breaker, counting): (&Arc<Breaker>, &Option<Arc<Counting>>),
        key: &str,
        now_ns: u64,
    ) -> Admission {
        if self.held.len() >= MAX_PERMITS {
            return breaker.would_admit(key, now_ns);
        }
        let (admission, permit) = breaker.admit(key, now_ns);
        if let Some(permit) = permit {
            self.held.push(Held {
                attempt,
                counting: counting.clone(),
                count_as: None,
                permit,
            });
        }
        admission
    }

    pub(crate) fn count_as(&mut self, attempt: u32, breaker: &Breaker, key: &str, failure: bool) {
        let mine = self
            .held
            .iter_mut()
            .filter(|held| held.attempt == attempt && held.permit.is_of(breaker, key));
        for held in mine {
            held.count_as = Some(failure);
        }
    }

    /// Settles every permit of this attempt.
    pub(crate) fn settle(&mut self, attempt: u32, outcome: &AttemptOutcome, now_ns: u64) {
        for held in self.held.extract_if(.., |held| held.attempt == attempt) {
            let failure = match (held.count_as, &held.counting) {
                (Some(failure), _) => failure,
                (None, Some(counting)) => counting.is_failure(outcome),
                (None, None) => outcome.is_failure(),
            };
            held.permit.settle(
                Settlement {
                    failure,
                    latency_us: outcome.latency_us,
                },
                now_ns,
            );
        }
    }

    /// An attempt that a policy stopped after another had admitted it.
    pub(crate) fn abandon(&mut self, attempt: u32) {
        self.held.retain(|held| held.attempt != attempt);
    }

    pub(crate) fn abandon_attempts(&mut self) {
        self.held.clear();
    }

    pub(crate) fn may_enter(&self) -> bool {
        self.places.len() < MAX_PLACES
    }

    pub(crate) fn keep_place(&mut self, place: GatePlace) {
        self.places.push(place);
    }
}
