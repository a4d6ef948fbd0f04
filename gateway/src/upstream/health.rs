//! Whether an endpoint is fit to be picked: failures in a row, a policy's word, active checks.
//!
//! Three reasons to leave an endpoint alone, kept apart: what failures say is a guess, and gives way when nothing else is left;
//! what a policy or an active check says holds. Times are durations since the endpoint was made; all state is atomic, because
//! every pick reads it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::config::HealthConfig;

/// Failures in a row until an endpoint is ejected: one or two are a restart or a bad request.
const EJECT_AFTER: u32 = 5;

/// The first ejection is short, so that a restarted endpoint is found again soon; each further one doubles it.
const FIRST_EJECTION: Duration = Duration::from_secs(2);

/// No ejection by failures lasts longer.
const LONGEST_EJECTION: Duration = Duration::from_secs(60);

/// No policy ejects for longer than a day at a time: a typo in a unit must not lose an endpoint for ever.
const LONGEST_FORCED: Duration = Duration::from_secs(24 * 3600);

/// What a pick may do with an endpoint. Later is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    Usable,
    /// Failed too often: used only if no endpoint is better.
    Suspect,
    /// A policy or an active check excludes it.
    Excluded,
}

/// The health of one endpoint.
#[derive(Debug, Default)]
pub struct Health {
    failures_in_row: AtomicU32,
    ejections_in_row: AtomicU32,
    ejected_until_us: AtomicU64,
    forced_until_us: AtomicU64,
    down: AtomicBool,
    checks_in_row: AtomicU32,
}

impl Health {
    pub fn standing(&self, now: Duration) -> Standing {
        let now = micros(now);
        if self.down.load(Ordering::Relaxed) || self.forced_until_us.load(Ordering::Relaxed) > now {
            Standing::Excluded
        } else if self.ejected_until_us.load(Ordering::Relaxed) > now {
            Standing::Suspect
        } else {
            Standing::Usable
        }
    }

    /// An attempt was answered by a server that works.
    pub fn succeeded(&self) {
        // Nearly always zero already: a plain load keeps the cache line shared between workers.
        if self.failures_in_row.load(Ordering::Relaxed) != 0
            || self.ejections_in_row.load(Ordering::Relaxed) != 0
        {
            self.failures_in_row.store(0, Ordering::Relaxed);
            self.ejections_in_row.store(0, Ordering::Relaxed);
            self.ejected_until_us.store(0, Ordering::Relaxed);
        }
    }

    /// An attempt failed; true if that ejects the endpoint.
    pub fn failed(&self, now: Duration) -> bool {
        let failures = self.failures_in_row.fetch_add(1, Ordering::Relaxed) + 1;
        let suspect = self.ejections_in_row.load(Ordering::Relaxed) > 0;
        // An endpoint that comes back from an ejection has one chance, not five.
        if failures < EJECT_AFTER && !suspect {
            return false;
        }
        if self.standing(now) != Standing::Usable {
            return false;
        }
        let before = self.ejections_in_row.fetch_add(1, Ordering::Relaxed);
        let pause = FIRST_EJECTION
            .saturating_mul(1 << before.min(16))
            .min(LONGEST_EJECTION);
        self.ejected_until_us
            .store(micros(now + pause), Ordering::Relaxed);
        true
    }

    /// A policy's word; zero lifts it.
    pub fn force(&self, now: Duration, pause: Duration) {
        let until = match pause {
            Duration::ZERO => 0,
            pause => micros(now + pause.min(LONGEST_FORCED)),
        };
        self.forced_until_us.store(until, Ordering::Relaxed);
    }

    /// The result of an active check; true if it changed what is thought of the endpoint. One caller at a time.
    pub fn checked(&self, healthy: bool, rules: &HealthConfig) -> bool {
        let down = self.down.load(Ordering::Relaxed);
        if healthy != down {
            // It confirms what is thought already.
            self.checks_in_row.store(0, Ordering::Relaxed);
            return false;
        }
        let needed = if down {
            rules.healthy_after
        } else {
            rules.unhealthy_after
        };
        let in_row = self.checks_in_row.fetch_add(1, Ordering::Relaxed) + 1;
        if in_row < needed {
            return false;
        }
        self.checks_in_row.store(0, Ordering::Relaxed);
        self.down.store(!down, Ordering::Relaxed);
        if healthy {
            self.succeeded();
        }
        true
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn fail(health: &Health, now: u64, times: u32) -> u32 {
        (0..times)
            .map(|_| u32::from(health.failed(secs(now))))
            .sum()
    }

    #[test]
    fn failures_in_a_row_eject_for_a_growing_while() {
        let health = Health::default();
        assert_eq!(fail(&health, 10, EJECT_AFTER - 1), 0);
        health.succeeded();
        assert_eq!(fail(&health, 10, EJECT_AFTER - 1), 0);
        assert_eq!(fail(&health, 10, 1), 1);
        assert_eq!(health.standing(secs(11)), Standing::Suspect);
        assert_eq!(health.standing(secs(12)), Standing::Usable);
        assert_eq!(fail(&health, 12, 1), 1, "one failure after an ejection");
        assert_eq!(health.standing(secs(15)), Standing::Suspect);
        assert_eq!(health.standing(secs(16)), Standing::Usable);
        health.succeeded();
        assert_eq!(fail(&health, 20, 1), 0, "a success forgives");
    }

    #[test]
    fn ejections_have_a_longest() {
        let health = Health::default();
        let mut now = 0;
        for _ in 0..40 {
            fail(&health, now, EJECT_AFTER);
            now += LONGEST_EJECTION.as_secs();
            assert_eq!(health.standing(secs(now)), Standing::Usable);
        }
    }

    #[test]
    fn a_policys_word_holds_until_its_time_or_lifted() {
        let health = Health::default();
        health.force(secs(5), secs(10));
        health.succeeded();
        assert_eq!(health.standing(secs(14)), Standing::Excluded);
        assert_eq!(health.standing(secs(15)), Standing::Usable);
        health.force(secs(20), Duration::from_millis(u64::MAX));
        assert_eq!(health.standing(secs(20 + 24 * 3600)), Standing::Usable);
        health.force(secs(20), Duration::ZERO);
        assert_eq!(health.standing(secs(21)), Standing::Usable);
    }

    #[test]
    fn active_checks_need_several_in_a_row() {
        let health = Health::default();
        let rules = HealthConfig {
            path: "/".into(),
            interval: secs(1),
            timeout: secs(1),
            healthy_after: 2,
            unhealthy_after: 3,
        };
        let mut changes = Vec::new();
        for healthy in [
            false, false, true, false, false, false, false, true, false, true, true,
        ] {
            if health.checked(healthy, &rules) {
                changes.push(health.standing(secs(0)));
            }
        }
        assert_eq!(changes, [Standing::Excluded, Standing::Usable]);
    }
}
