//! Calls the tick hooks of policies, each as often as the operator said.
//!
//! One task per policy: a tick that is due while the last one still runs is left out. Ticks end when the gateway drains.

use std::sync::Arc;
use std::time::Duration;

use policy_host::Policy;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::drain::{Phase, Signal};

/// How often is looked whether a proxy-wasm module wants ticks, while none does.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The ticks of proxy-wasm modules, which set their periods themselves: one task for all of them, until the stop.
pub async fn run_filters(
    policies: impl Fn() -> Vec<Arc<Policy>> + Send + 'static,
    mut stop: Signal,
) {
    loop {
        let ticking: Vec<_> = policies()
            .into_iter()
            .filter_map(|policy| Some((policy.tick_period()?, policy)))
            .collect();
        let shortest = ticking.iter().map(|(period, _)| *period).min();
        let pause = shortest.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN);
        tokio::select! {
            biased;
            () = stop.reached(Phase::Draining) => return,
            () = tokio::time::sleep(pause) => {}
        }
        // Each knows which of its VMs are due.
        for (_, policy) in ticking {
            policy.on_tick().await;
        }
    }
}

/// Until the stop. `policy` names the one in force at each tick; the first comes when `every` has passed.
pub async fn run(
    policy: impl Fn() -> Option<Arc<Policy>> + Send + 'static,
    every: Duration,
    mut stop: Signal,
) {
    let mut due = interval_at(Instant::now() + every, every);
    due.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            biased;
            () = stop.reached(Phase::Draining) => return,
            _ = due.tick() => {}
        }
        if let Some(policy) = policy().filter(|policy| policy.has_tick_hook()) {
            policy.on_tick().await;
        }
    }
}
