//! The aggregator's metrics, each named once.

use metrics::{counter, gauge, histogram};

/// What became of one PUT of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    Stored,
    Same,
    Conflict,
    Fenced,
    Refused,
    Full,
    Failed,
}

impl PutOutcome {
    fn label(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Same => "same",
            Self::Conflict => "conflict",
            Self::Fenced => "fenced",
            Self::Refused => "refused",
            Self::Full => "full",
            Self::Failed => "failed",
        }
    }
}

/// A PUT was answered.
pub fn put(outcome: PutOutcome, seconds: f64) {
    counter!("aggregator_batches_total", "outcome" => outcome.label()).increment(1);
    histogram!("aggregator_put_duration_seconds").record(seconds);
}

/// A batch is newly and durably stored.
pub fn stored(bytes: u64, records: u64) {
    counter!("aggregator_batch_bytes_total").increment(bytes);
    counter!("aggregator_records_total").increment(records);
}

/// An enrolment was answered with an epoch.
pub fn enrolled(new: bool) {
    counter!("aggregator_enrollments_total", "outcome" => if new { "issued" } else { "known" })
        .increment(1);
}

/// A connection's handshake failed.
pub fn handshake_failed() {
    counter!("aggregator_handshake_failures_total").increment(1);
}

/// Connections that are open.
pub fn connections(change: f64) {
    gauge!("aggregator_connections").increment(change);
}
