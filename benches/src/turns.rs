//! Gateways measured side by side: each gets the same load in turns, so that a slow spell of the machine falls on all of them.

use std::time::Duration;

use examples::client::{Client, Connection, Error, Version};

use crate::{cpu, load};

/// Short, so that a slow spell is over before all sides had their turn, or falls on all of them.
const TURN: Duration = Duration::from_millis(200);
const WARM_UP: Duration = Duration::from_millis(500);

/// One gateway of a comparison.
pub struct Side<'a> {
    pub client: &'a Client,
    pub process: u32,
}

/// What one side's turns came to, together.
#[derive(Default)]
pub struct Sum {
    pub requests: u64,
    pub wall: Duration,
    pub p50_us: u64,
    pub p99_us: u64,
    /// CPU µs per request of each turn.
    cpu_us: Vec<f64>,
}

impl Sum {
    pub fn per_second(&self) -> f64 {
        self.requests as f64 / self.wall.as_secs_f64()
    }

    /// The median over the turns: one that was disturbed does not count.
    pub fn cpu_us(&self) -> Option<f64> {
        quartiles(self.cpu_us.clone()).map(|[_, median, _]| median)
    }

    /// CPU µs per request beyond those of another side, round by round: the quartiles.
    pub fn added_us(&self, base: &Self) -> Option<[f64; 3]> {
        let rounds = self.cpu_us.iter().zip(&base.cpu_us);
        quartiles(rounds.map(|(side, base)| side - base).collect())
    }
}

fn quartiles(mut values: Vec<f64>) -> Option<[f64; 3]> {
    values.sort_by(f64::total_cmp);
    let at = |quarter: usize| values.get(values.len() * quarter / 4).copied();
    Some([at(1)?, at(2)?, at(3)?])
}

/// The sums are in the order of the sides.
pub async fn compare(
    sides: &[Side<'_>],
    version: Version,
    path: &str,
    turns: u32,
) -> Result<Vec<Sum>, Error> {
    // Opened once: a handshake costs as much as a hundred requests.
    let mut connections = Vec::with_capacity(sides.len());
    for side in sides {
        let mut opened = load::open(side.client, version).await?;
        load::run(&mut opened, path, WARM_UP).await?;
        connections.push(opened);
    }
    let mut sums: Vec<Sum> = sides.iter().map(|_| Sum::default()).collect();
    for _ in 0..turns {
        for ((side, sum), opened) in sides.iter().zip(&mut sums).zip(&mut connections) {
            turn(side.process, opened, path, sum).await?;
        }
    }
    Ok(sums)
}

async fn turn(
    process: u32,
    connections: &mut Vec<Connection>,
    path: &str,
    sum: &mut Sum,
) -> Result<(), Error> {
    let before = cpu::time_of(process);
    let load = load::run(connections, path, TURN).await?;
    if let (Some(before), Some(after)) = (before, cpu::time_of(process)) {
        let cpu = after.saturating_sub(before);
        sum.cpu_us
            .push(cpu.as_secs_f64() * 1e6 / load.requests.max(1) as f64);
    }
    sum.requests += load.requests;
    sum.wall += load.wall;
    // The best turn: the others were disturbed.
    let (p50, p99) = (
        load.latency_us.value_at_quantile(0.5),
        load.latency_us.value_at_quantile(0.99),
    );
    let best = |known: u64, new: u64| if known == 0 { new } else { known.min(new) };
    (sum.p50_us, sum.p99_us) = (best(sum.p50_us, p50), best(sum.p99_us, p99));
    Ok(())
}
