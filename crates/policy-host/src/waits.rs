//! What one call of a policy that may wait can still do, and until when; and the WASI that its guest sees.

use std::time::Duration;

use tokio::time::Instant;

use crate::host::wasi::Wasi;

/// Requests that one call of a hook may begin: a decision that needs more is a service of its own.
pub(crate) const MAX_CALLS: u32 = 8;
/// Records that one call of a hook may append; each is an fsync shared with others.
pub(crate) const MAX_APPENDS: u32 = 8;
/// Questions to the store of shared limits in one call of a hook; each can be about many limits.
pub(crate) const MAX_STEPS: u32 = 32;
/// Requests of one policy under way at the same time, those that nobody waits for included.
pub(crate) const MAX_IN_FLIGHT: usize = 64;

pub(crate) struct Waits {
    /// False while the instance is started: its runtime is then not the gateway's, and nothing outside can be asked.
    pub(crate) serving: bool,
    pub(crate) calls_left: u32,
    pub(crate) appends_left: u32,
    pub(crate) steps_left: u32,
    /// What the guest asks for ends here, so that it learns of a timeout while it can still decide.
    pub(crate) until: Instant,
    pub(crate) wasi: Option<Box<Wasi>>,
}

impl Waits {
    pub(crate) fn new(wasi: Option<Box<Wasi>>) -> Self {
        Self {
            serving: false,
            calls_left: 0,
            appends_left: 0,
            steps_left: 0,
            until: Instant::now(),
            wasi,
        }
    }

    pub(crate) fn begin(&mut self, max_wait: Duration) {
        self.calls_left = MAX_CALLS;
        self.appends_left = MAX_APPENDS;
        self.steps_left = MAX_STEPS;
        self.until = Instant::now() + max_wait - max_wait / 10;
    }

    /// How long a request may take that is given this timeout; 0: as long as the call has.
    pub(crate) fn timeout(&self, asked_ms: u64) -> Duration {
        let left = self.until.saturating_duration_since(Instant::now());
        match asked_ms {
            0 => left,
            ms => Duration::from_millis(ms).min(left),
        }
    }
}

/// Takes one from a budget.
pub(crate) fn spend(left: &mut u32) -> bool {
    match left.checked_sub(1) {
        Some(rest) => {
            *left = rest;
            true
        }
        None => false,
    }
}
