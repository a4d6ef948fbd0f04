//! Whether a policy is called at all: after repeated faults it is left alone, and tried again after a pause that grows. Pure: the
//! time is an argument.
//!
//! ```text
//!           enough faults, and a large enough share of the calls
//!   serving ───────────────────────────────▶ set aside ──── pause over ───▶ trial (one call)
//!      ▲                                          ▲                          │        │
//!      │                                          └── it failed: twice the pause      │
//!      └───────────────────────── it went well ──────────────────────────────────────┘
//! ```

use std::time::Duration;

/// When a policy is set aside, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultRule {
    /// This many faults within `window`…
    pub faults: u32,
    pub window: Duration,
    /// …that are at least this share of the calls in it: so that one client with a poisonous request cannot stop a policy that works
    /// for all others.
    pub share_percent: u32,
    pub first_pause: Duration,
    pub max_pause: Duration,
}

impl Default for FaultRule {
    fn default() -> Self {
        Self {
            faults: 5,
            window: Duration::from_secs(10),
            share_percent: 50,
            first_pause: Duration::from_secs(1),
            max_pause: Duration::from_secs(300),
        }
    }
}

/// A trial that did not report back after this long is given to another call. Far above any deadline.
const TRIAL_LOST_NS: u64 = 30_000_000_000;

/// Leave to call the guest; handed back with the call's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leave {
    Call,
    Trial,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Serving {
        window_from_ns: u64,
        calls_then: u64,
        faults: u32,
    },
    SetAside {
        until_ns: u64,
    },
    Trial {
        since_ns: u64,
    },
}

#[derive(Debug)]
pub(crate) struct Health {
    state: State,
    /// The last pause, kept while it serves again until it did so for as long as that pause: a relapse begins where it left off.
    pause_ns: u64,
    resumed_ns: u64,
}

impl Health {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Serving {
                window_from_ns: 0,
                calls_then: 0,
                faults: 0,
            },
            pause_ns: 0,
            resumed_ns: 0,
        }
    }

    /// None: leave it alone.
    pub(crate) fn admit(&mut self, now_ns: u64) -> Option<Leave> {
        match self.state {
            State::Serving { .. } => Some(Leave::Call),
            State::SetAside { until_ns } if now_ns < until_ns => None,
            State::Trial { since_ns } if now_ns < since_ns.saturating_add(TRIAL_LOST_NS) => None,
            State::SetAside { .. } | State::Trial { .. } => {
                self.state = State::Trial { since_ns: now_ns };
                Some(Leave::Trial)
            }
        }
    }

    pub(crate) fn went_well(&mut self, leave: Leave, calls: u64, now_ns: u64) {
        if let (Leave::Trial, State::Trial { .. }) = (leave, self.state) {
            self.state = State::Serving {
                window_from_ns: now_ns,
                calls_then: calls,
                faults: 0,
            };
            self.resumed_ns = now_ns;
        }
    }

    /// `calls`: how many there were so far, this one included. True if it is set aside now and was not before.
    pub(crate) fn failed(
        &mut self,
        rule: &FaultRule,
        leave: Leave,
        calls: u64,
        now_ns: u64,
    ) -> bool {
        match (self.state, leave) {
            (
                State::Serving {
                    window_from_ns,
                    calls_then,
                    faults,
                },
                Leave::Call | Leave::Trial,
            ) => {
                let stale = now_ns.saturating_sub(window_from_ns) > nanos(rule.window);
                let (from, then, faults) = if stale {
                    (now_ns, calls.saturating_sub(1), 1)
                } else {
                    (window_from_ns, calls_then, faults + 1)
                };
                let share = u64::from(faults).saturating_mul(100)
                    >= u64::from(rule.share_percent).saturating_mul(calls.saturating_sub(then));
                self.state = State::Serving {
                    window_from_ns: from,
                    calls_then: then,
                    faults,
                };
                if faults >= rule.faults && share {
                    self.set_aside(rule, now_ns);
                    return true;
                }
                false
            }
            (State::Trial { .. }, Leave::Trial) => {
                self.set_aside(rule, now_ns);
                true
            }
            // Calls that began before it was set aside.
            (State::SetAside { .. }, Leave::Call | Leave::Trial)
            | (State::Trial { .. }, Leave::Call) => false,
        }
    }

    fn set_aside(&mut self, rule: &FaultRule, now_ns: u64) {
        let relapse = self.pause_ns > 0
            && now_ns.saturating_sub(self.resumed_ns) <= nanos(rule.window).max(self.pause_ns);
        let still = matches!(self.state, State::Trial { .. });
        let pause = if relapse || still {
            self.pause_ns.saturating_mul(2)
        } else {
            nanos(rule.first_pause)
        };
        self.pause_ns = pause.clamp(1, nanos(rule.max_pause).max(1));
        self.state = State::SetAside {
            until_ns: now_ns.saturating_add(self.pause_ns),
        };
    }

    pub(crate) fn is_serving(&self) -> bool {
        matches!(self.state, State::Serving { .. })
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn fail(health: &mut Health, times: u32, now: u64) -> bool {
        let leave = health.admit(now).expect("admitted");
        (0..times).any(|n| health.failed(&FaultRule::default(), leave, u64::from(n) + 1, now))
    }

    #[test]
    fn repeated_faults_set_it_aside_and_the_pause_grows_until_a_trial_goes_well() {
        let mut health = Health::new();
        assert!(!fail(&mut health, 4, SECOND));
        assert!(fail(&mut health, 1, SECOND));
        assert_eq!(health.admit(SECOND), None);
        let mut now = SECOND;
        for pause in [1, 2, 4, 8] {
            assert_eq!(health.admit(now + pause * SECOND - 1), None);
            now += pause * SECOND;
            assert_eq!(health.admit(now), Some(Leave::Trial));
            assert_eq!(health.admit(now), None, "one trial at a time");
            assert!(health.failed(&FaultRule::default(), Leave::Trial, 10, now));
        }
        now += 16 * SECOND;
        assert_eq!(health.admit(now), Some(Leave::Trial));
        health.went_well(Leave::Trial, 11, now);
        assert!(health.is_serving());
        // A relapse soon after goes on where it left off.
        assert!((12..=16).any(|calls| health.failed(
            &FaultRule::default(),
            Leave::Call,
            calls,
            now
        )));
        assert_eq!(health.admit(now + 31 * SECOND), None);
        assert_eq!(health.admit(now + 32 * SECOND), Some(Leave::Trial));
    }

    #[test]
    fn the_pause_has_a_ceiling() {
        let mut health = Health::new();
        assert!(fail(&mut health, 5, 0));
        let mut now = 0;
        for _ in 0..40 {
            now += 300 * SECOND;
            assert_eq!(health.admit(now), Some(Leave::Trial));
            health.failed(&FaultRule::default(), Leave::Trial, 1, now);
        }
        assert_eq!(health.admit(now + 300 * SECOND), Some(Leave::Trial));
    }

    #[test]
    fn a_small_share_of_faults_does_not_stop_it() {
        let mut health = Health::new();
        for n in 1..=100 {
            assert!(!health.failed(&FaultRule::default(), Leave::Call, n * 3, SECOND));
        }
        assert!(health.is_serving());
    }

    #[test]
    fn faults_far_apart_do_not_add_up_and_late_reports_change_nothing() {
        let mut health = Health::new();
        for n in 1..20 {
            assert!(!health.failed(&FaultRule::default(), Leave::Call, n, n * 11 * SECOND));
        }
        assert!((20..=24).any(|calls| health.failed(
            &FaultRule::default(),
            Leave::Call,
            calls,
            209 * SECOND
        )));
        health.went_well(Leave::Call, 25, 209 * SECOND);
        assert!(!health.is_serving());
        assert!(!health.failed(&FaultRule::default(), Leave::Call, 25, 209 * SECOND));
        // A trial whose call never reported back is given out again.
        assert_eq!(health.admit(220 * SECOND), Some(Leave::Trial));
        assert_eq!(
            health.admit(220 * SECOND + TRIAL_LOST_NS),
            Some(Leave::Trial)
        );
    }
}
