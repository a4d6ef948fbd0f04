//! Hooks timed side by side: a guest and its native twin in turns, so that a slow spell of the machine falls on both.

use std::time::{Duration, Instant};

use examples::client::Error;
use policy_host::{Chain, ExchangeContext, Policy};

use super::exchange::{Hook, Subject, Trip};

/// Long enough for the medians to settle; short enough to wait for.
const LENGTH: Duration = Duration::from_millis(900);
/// Calls between two looks at the clock: few, so that the exchanges stay in the processor's cache, and so that the system's
/// scheduler seldom comes between.
const GROUP: usize = 8;
/// Groups of one side before the other has its turn.
const TURN: usize = 64;
/// The other has its turn after this time at the latest: a fresh CPython takes milliseconds.
const LONGEST_TURN: Duration = Duration::from_millis(20);
/// Exchanges whose fuel is counted, and during which nothing is timed.
const COUNTED: u64 = 64;

/// Of all turns, each by the median of its groups: one that was disturbed does not count.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    pub least_us: f64,
    pub median_us: f64,
}

impl Spread {
    fn of(turns: &mut [f64]) -> Self {
        Self {
            median_us: median(turns),
            least_us: turns.first().copied().unwrap_or(f64::NAN),
        }
    }
}

/// What the hooks of one exchange took; only those that were asked for.
pub type Spreads = Vec<(Hook, Spread)>;

/// Sorts them.
fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The hooks that the policy is called at in this exchange, with the fuel of one call.
pub fn hooks_called(
    trip: &Trip,
    policy: &Policy,
    chain: &Chain,
) -> Result<Vec<(Hook, u64)>, Error> {
    let mut called = [(0, 0); Hook::ALL.len()];
    for _ in 0..COUNTED {
        let mut exchange = trip.begin();
        for (hook, (calls, fuel)) in Hook::ALL.into_iter().zip(&mut called) {
            trip.prepare(hook, &mut exchange);
            let before = policy.stats();
            trip.call(hook, chain, &mut exchange);
            let after = policy.stats();
            *calls += after.calls - before.calls;
            *fuel += after.fuel - before.fuel;
        }
    }
    if let Some((kind, _)) = policy.stats().faults.iter().find(|(_, count)| *count > 0) {
        return Err(Error::new(format!(
            "policy {} failed: {kind}",
            policy.name()
        )));
    }
    let hooks = Hook::ALL.into_iter().zip(called);
    let found = hooks.filter(|(_, (calls, _))| *calls > 0);
    Ok(found
        .map(|(hook, (calls, fuel))| (hook, fuel / calls))
        .collect())
}

/// Both on the same exchanges; the hooks are in the order of the exchange.
pub fn side_by_side(trip: &Trip, hooks: &[Hook], subjects: [&dyn Subject; 2]) -> [Spreads; 2] {
    let mut turns = [vec![Vec::new(); hooks.len()], vec![Vec::new(); hooks.len()]];
    let began = Instant::now();
    while began.elapsed() < LENGTH {
        for (subject, turns) in subjects.iter().zip(&mut turns) {
            let mut groups = vec![Vec::with_capacity(TURN); hooks.len()];
            turn(|| group(trip, hooks, *subject, &mut groups));
            for (groups, turns) in groups.iter_mut().zip(turns) {
                turns.push(median(groups));
            }
        }
    }
    turns.map(|side| {
        let spreads = side.into_iter().map(|mut turns| Spread::of(&mut turns));
        hooks.iter().copied().zip(spreads).collect()
    })
}

fn turn(mut group: impl FnMut()) {
    let began = Instant::now();
    for _ in 0..TURN {
        group();
        if began.elapsed() > LONGEST_TURN {
            return;
        }
    }
}

/// One of a group, in µs.
fn each_us(group: Duration) -> f64 {
    group.as_secs_f64() * 1e6 / GROUP as f64
}

/// Some exchanges at once, hook by hook; what a call took goes into the hook's samples.
fn group(trip: &Trip, hooks: &[Hook], subject: &dyn Subject, samples: &mut [Vec<f64>]) {
    let mut exchanges: [ExchangeContext; GROUP] = std::array::from_fn(|_| trip.begin());
    for hook in Hook::ALL {
        for exchange in &mut exchanges {
            trip.prepare(hook, exchange);
        }
        let began = Instant::now();
        for exchange in &mut exchanges {
            trip.call(hook, subject, exchange);
        }
        let took = each_us(began.elapsed());
        if let Some(place) = hooks.iter().position(|one| *one == hook) {
            samples[place].push(took);
        }
    }
}

/// Whole exchanges, each subject's median turn in µs an exchange; what making and dropping an exchange takes is in it.
pub fn exchanges<const N: usize>(trip: &Trip, subjects: [&dyn Subject; N]) -> [f64; N] {
    let mut turns = subjects.map(|_| Vec::new());
    let began = Instant::now();
    while began.elapsed() < LENGTH {
        for (subject, turns) in subjects.iter().zip(&mut turns) {
            let mut groups = Vec::with_capacity(TURN);
            turn(|| {
                let began = Instant::now();
                for _ in 0..GROUP {
                    trip.whole(*subject);
                }
                groups.push(each_us(began.elapsed()));
            });
            turns.push(median(&mut groups));
        }
    }
    turns.map(|mut turns| median(&mut turns))
}
