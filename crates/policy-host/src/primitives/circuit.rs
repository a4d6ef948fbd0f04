//! The circuit of one key as a pure state machine: time comes in, nothing goes out but what it decided.
//!
//! ```text
//!            rate over the threshold             open-for passed: the next call probes
//!   closed ─────────────────────────▶ open ─────────────────────────▶ half-open
//!     ▲                                ▲         a probe failed           │ │
//!     │                                └──────────────────────────────────┘ │
//!     └─────────────────────────── all probes passed ───────────────────────┘
//! ```
//!
//! Invariant: a result counts only in the state in which its call was admitted (`generation`), so late answers of an earlier time can
//! neither open nor close it.

use super::SpecError;
use crate::clock::NANOS_PER_MS;

/// The window moves in tenths: old calls leave it in ten steps.
const BUCKETS: usize = 10;
/// Longest window and pause: an hour; longer is an outage for a person to look at.
pub const MAX_SPAN_MS: u64 = 3_600_000;
/// Most probes: they are sent at something believed broken.
pub const MAX_PROBES: u32 = 1000;
/// What a caller is told to wait while all probes are out.
const PROBE_WAIT_MS: u64 = 100;

/// What a breaker enforces; checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CircuitSpec {
    window_ns: u64,
    min_calls: u32,
    /// Zero: not looked at.
    failure_rate: f32,
    slow_call_us: u64,
    /// Zero: not looked at.
    slow_rate: f32,
    open_for_ns: u64,
    probes: u32,
}

/// A breaker's specification as a policy states it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RawCircuitSpec {
    pub window_ms: u64,
    pub min_calls: u32,
    pub failure_rate: f32,
    pub slow_call_ms: u64,
    pub slow_rate: f32,
    pub open_for_ms: u64,
    pub probes: u32,
}

impl CircuitSpec {
    pub(crate) fn new(raw: RawCircuitSpec) -> Result<Self, SpecError> {
        let rate_ok = |rate: f32| (0.0..=1.0).contains(&rate);
        if raw.window_ms < BUCKETS as u64 || raw.window_ms > MAX_SPAN_MS {
            return Err(SpecError("`window` must be 10 ms to 1 hour"));
        }
        if raw.min_calls == 0 {
            return Err(SpecError("`min-calls` must be at least 1"));
        }
        if !rate_ok(raw.failure_rate) || !rate_ok(raw.slow_rate) {
            return Err(SpecError(
                "`failure-rate` and `slow-rate` must be 0 (not looked at) to 1",
            ));
        }
        if raw.failure_rate == 0.0 && raw.slow_rate == 0.0 {
            return Err(SpecError(
                "one of `failure-rate` and `slow-rate` must be above 0",
            ));
        }
        if raw.slow_rate > 0.0 && raw.slow_call_ms == 0 {
            return Err(SpecError("`slow-rate` needs a `slow-call` above 0"));
        }
        if raw.open_for_ms == 0 || raw.open_for_ms > MAX_SPAN_MS {
            return Err(SpecError("`open-for` must be 1 ms to 1 hour"));
        }
        if raw.probes == 0 || raw.probes > MAX_PROBES {
            return Err(SpecError("`probes` must be 1 to 1000"));
        }
        Ok(Self {
            window_ns: raw.window_ms * NANOS_PER_MS,
            min_calls: raw.min_calls,
            failure_rate: raw.failure_rate,
            slow_call_us: raw.slow_call_ms.saturating_mul(1000),
            slow_rate: raw.slow_rate,
            open_for_ns: raw.open_for_ms * NANOS_PER_MS,
            probes: raw.probes,
        })
    }

    fn is_slow(&self, latency_us: u64) -> bool {
        self.slow_rate > 0.0 && latency_us >= self.slow_call_us
    }

    /// Whether this many of `calls` are too many to go on.
    fn trips(&self, window: &Window) -> bool {
        let (calls, failures, slow) = window.totals();
        let over = |count: u32, rate: f32| {
            rate > 0.0 && f64::from(count) >= f64::from(rate) * f64::from(calls)
        };
        calls >= self.min_calls
            && ((failures > 0 && over(failures, self.failure_rate))
                || (slow > 0 && over(slow, self.slow_rate)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CircuitState {
    Closed,
    Open,
    HalfOpen,
}

impl CircuitState {
    pub fn label(self) -> &'static str {
        match self {
            CircuitState::Closed => "closed",
            CircuitState::Open => "open",
            CircuitState::HalfOpen => "half_open",
        }
    }
}

/// Whether a call may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    Pass,
    /// One of the few calls that find out whether it works again.
    Probe,
    /// Not now; try again after this long.
    Refuse {
        retry_after_ms: u64,
    },
}

/// How an admitted call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settlement {
    pub(crate) failure: bool,
    pub(crate) latency_us: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed { window: Window },
    Open { until_ns: u64 },
    HalfOpen { out: u32, passed: u32 },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Circuit {
    phase: Phase,
    generation: u64,
    times_opened: u64,
}

impl Circuit {
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Closed {
                window: Window::EMPTY,
            },
            generation: 0,
            times_opened: 0,
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn times_opened(&self) -> u64 {
        self.times_opened
    }

    pub(crate) fn admit(&mut self, spec: &CircuitSpec, now_ns: u64) -> Admission {
        self.half_open_when_due(now_ns);
        match &mut self.phase {
            Phase::Closed { .. } => Admission::Pass,
            Phase::Open { until_ns } => Admission::Refuse {
                retry_after_ms: whole_ms(*until_ns - now_ns),
            },
            Phase::HalfOpen { out, passed } if *out + *passed < spec.probes => {
                *out += 1;
                Admission::Probe
            }
            Phase::HalfOpen { .. } => Admission::Refuse {
                retry_after_ms: PROBE_WAIT_MS,
            },
        }
    }

    /// What `admit` would say, taking nothing.
    pub(crate) fn would_admit(&self, spec: &CircuitSpec, now_ns: u64) -> Admission {
        self.clone().admit(spec, now_ns)
    }

    pub(crate) fn settle(
        &mut self,
        spec: &CircuitSpec,
        generation: u64,
        call: Settlement,
        now_ns: u64,
    ) {
        if generation != self.generation {
            return;
        }
        let slow = spec.is_slow(call.latency_us);
        match &mut self.phase {
            Phase::Closed { window } => {
                window.add(spec, now_ns, call.failure, slow);
                if spec.trips(window) {
                    self.open_until(now_ns + spec.open_for_ns);
                }
            }
            Phase::HalfOpen { .. } if call.failure || slow => {
                self.open_until(now_ns + spec.open_for_ns)
            }
            Phase::HalfOpen { out, passed } => {
                *out = out.saturating_sub(1);
                *passed += 1;
                if *passed >= spec.probes {
                    self.go(Phase::Closed {
                        window: Window::EMPTY,
                    });
                }
            }
            // No call is admitted in it, so none of its generation can end.
            Phase::Open { .. } => {}
        }
    }

    /// A call that was admitted and never came to a result: its probe may be given to another.
    pub(crate) fn abandon(&mut self, generation: u64) {
        if generation == self.generation
            && let Phase::HalfOpen { out, .. } = &mut self.phase
        {
            *out = out.saturating_sub(1);
        }
    }

    pub(crate) fn force(
        &mut self,
        spec: &CircuitSpec,
        state: CircuitState,
        for_ms: u64,
        now_ns: u64,
    ) {
        match state {
            CircuitState::Closed => self.go(Phase::Closed {
                window: Window::EMPTY,
            }),
            CircuitState::HalfOpen => self.go(Phase::HalfOpen { out: 0, passed: 0 }),
            CircuitState::Open => {
                let span = match for_ms {
                    0 => spec.open_for_ns,
                    ms => ms.min(MAX_SPAN_MS) * NANOS_PER_MS,
                };
                self.open_until(now_ns + span);
            }
        }
    }

    pub(crate) fn state(&self, now_ns: u64) -> CircuitState {
        match self.phase {
            Phase::Closed { .. } => CircuitState::Closed,
            Phase::Open { until_ns } if now_ns < until_ns => CircuitState::Open,
            Phase::Open { .. } | Phase::HalfOpen { .. } => CircuitState::HalfOpen,
        }
    }

    pub(crate) fn open_for_ms(&self, now_ns: u64) -> u64 {
        match self.phase {
            Phase::Open { until_ns } => whole_ms(until_ns.saturating_sub(now_ns)),
            Phase::Closed { .. } | Phase::HalfOpen { .. } => 0,
        }
    }

    /// Calls, failures and slow calls in the window.
    pub(crate) fn counts(&self, spec: &CircuitSpec, now_ns: u64) -> (u32, u32, u32) {
        match self.phase {
            Phase::Closed { mut window } => {
                window.advance(spec, now_ns);
                window.totals()
            }
            Phase::Open { .. } | Phase::HalfOpen { .. } => (0, 0, 0),
        }
    }

    /// Whether a fresh circuit would decide the same.
    pub(crate) fn is_idle(&self, spec: &CircuitSpec, now_ns: u64) -> bool {
        self.state(now_ns) == CircuitState::Closed && self.counts(spec, now_ns).0 == 0
    }

    fn half_open_when_due(&mut self, now_ns: u64) {
        if let Phase::Open { until_ns } = self.phase
            && now_ns >= until_ns
        {
            self.go(Phase::HalfOpen { out: 0, passed: 0 });
        }
    }

    fn open_until(&mut self, until_ns: u64) {
        self.times_opened += 1;
        self.go(Phase::Open { until_ns });
    }

    fn go(&mut self, phase: Phase) {
        self.phase = phase;
        self.generation += 1;
    }
}

fn whole_ms(ns: u64) -> u64 {
    ns.div_ceil(NANOS_PER_MS)
}

/// Calls of the last `window`, in tenths of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    index: u64,
    buckets: [Bucket; BUCKETS],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bucket {
    calls: u32,
    failures: u32,
    slow: u32,
}

impl Window {
    const EMPTY: Window = Window {
        index: 0,
        buckets: [Bucket::EMPTY; BUCKETS],
    };

    fn advance(&mut self, spec: &CircuitSpec, now_ns: u64) {
        let index = now_ns / (spec.window_ns / BUCKETS as u64);
        let passed = index.saturating_sub(self.index);
        for step in 1..=passed.min(BUCKETS as u64) {
            self.buckets[((self.index + step) % BUCKETS as u64) as usize] = Bucket::EMPTY;
        }
        if passed > BUCKETS as u64 {
            self.buckets = [Bucket::EMPTY; BUCKETS];
        }
        self.index = self.index.max(index);
    }

    fn add(&mut self, spec: &CircuitSpec, now_ns: u64, failure: bool, slow: bool) {
        self.advance(spec, now_ns);
        let bucket = &mut self.buckets[(self.index % BUCKETS as u64) as usize];
        bucket.calls = bucket.calls.saturating_add(1);
        bucket.failures = bucket.failures.saturating_add(u32::from(failure));
        bucket.slow = bucket.slow.saturating_add(u32::from(slow));
    }

    fn totals(&self) -> (u32, u32, u32) {
        self.buckets
            .iter()
            .fold((0u32, 0u32, 0u32), |(calls, failures, slow), bucket| {
                (
                    calls.saturating_add(bucket.calls),
                    failures.saturating_add(bucket.failures),
                    slow.saturating_add(bucket.slow),
                )
            })
    }
}

impl Bucket {
    const EMPTY: Bucket = Bucket {
        calls: 0,
        failures: 0,
        slow: 0,
    };
}

#[cfg(test)]
mod tests;
