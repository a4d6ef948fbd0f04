//! Two loads of one model: a closed loop, which finds what the gateway can do, and an open one, which finds what clients
//! wait that come at a rate of their own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use examples::client::{Connection, Error};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use super::model::{Model, Outcome};

const LATENCY_US_MAX: u64 = 60_000_000;
/// A refused client of the closed loop waits so long.
const REFUSED: Duration = Duration::from_millis(50);

/// What came of a load, by outcome.
#[derive(Default)]
pub struct Counts {
    pub same: u64,
    pub differ: u64,
    pub refused: u64,
    pub failed: u64,
    /// The first failure's words.
    pub why: Option<String>,
}

impl Counts {
    fn add(&mut self, outcome: &Result<Outcome, Error>) {
        match outcome {
            Ok(Outcome::Same) => self.same += 1,
            Ok(Outcome::Differs) => self.differ += 1,
            Ok(Outcome::Refused(status)) => {
                self.refused += 1;
                self.why.get_or_insert_with(|| format!("answered {status}"));
            }
            Err(error) => {
                self.failed += 1;
                self.why.get_or_insert_with(|| error.to_string());
            }
        }
    }

    fn merge(&mut self, other: Self) {
        self.same += other.same;
        self.differ += other.differ;
        self.refused += other.refused;
        self.failed += other.failed;
        self.why = self.why.take().or(other.why);
    }

    /// Trips that ended with a label.
    pub fn answered(&self) -> u64 {
        self.same + self.differ
    }

    pub fn all(&self) -> u64 {
        self.answered() + self.refused + self.failed
    }
}

pub struct Load {
    pub counts: Counts,
    pub wall: Duration,
    pub latency_us: Histogram<u64>,
}

impl Load {
    pub fn none() -> Result<Self, Error> {
        Ok(Self {
            counts: Counts::default(),
            wall: Duration::ZERO,
            latency_us: histogram()?,
        })
    }

    /// Another turn of the same load.
    pub fn add(&mut self, turn: Self) -> Result<(), Error> {
        self.counts.merge(turn.counts);
        self.wall += turn.wall;
        self.latency_us.add(turn.latency_us).map_err(of)
    }

    pub fn per_second(&self) -> f64 {
        self.counts.answered() as f64 / self.wall.as_secs_f64()
    }

    pub fn ms(&self, quantile: f64) -> f64 {
        self.latency_us.value_at_quantile(quantile) as f64 / 1e3
    }
}

/// On each connection one trip after another.
pub async fn closed(
    model: &Arc<Model>,
    connections: &[Connection],
    length: Duration,
) -> Result<Load, Error> {
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for (client, connection) in connections.iter().enumerate() {
        let (model, mut connection) = (Arc::clone(model), shared(connection)?);
        let step = connections.len();
        clients.spawn(async move {
            let (mut counts, mut latency_us) = (Counts::default(), histogram()?);
            let mut number = client;
            while began.elapsed() < length {
                let sent = Instant::now();
                let outcome = model.trip(&mut connection, number).await;
                counts.add(&outcome);
                match outcome? {
                    Outcome::Refused(_) => tokio::time::sleep(REFUSED).await,
                    Outcome::Same | Outcome::Differs => {
                        latency_us.saturating_record(micros(sent.elapsed()));
                    }
                }
                number += step;
            }
            Ok::<_, Error>((counts, latency_us))
        });
    }
    let (mut counts, mut latency_us) = (Counts::default(), histogram()?);
    while let Some(ended) = clients.join_next().await {
        let (of_one, latency) = ended??;
        counts.merge(of_one);
        latency_us.add(latency).map_err(of)?;
    }
    Ok(Load {
        counts,
        wall: began.elapsed(),
        latency_us,
    })
}

/// Trips that begin at fixed times, whatever became of those before. Each is timed from when it was to begin: what a late
/// start, of the client too, takes from a user is seen.
pub async fn open(
    model: &Arc<Model>,
    connections: &[Connection],
    per_second: f64,
    length: Duration,
) -> Result<Load, Error> {
    let began = Instant::now();
    let count = (length.as_secs_f64() * per_second).max(1.0) as usize;
    let mut trips = JoinSet::new();
    for number in 0..count {
        let intended = began + Duration::from_secs_f64(number as f64 / per_second);
        tokio::time::sleep_until(intended.into()).await;
        let model = Arc::clone(model);
        let mut connection = shared(&connections[number % connections.len()])?;
        trips.spawn(async move {
            let outcome = model.trip(&mut connection, number).await;
            (outcome, intended.elapsed())
        });
    }
    let (mut counts, mut latency_us) = (Counts::default(), histogram()?);
    while let Some(ended) = trips.join_next().await {
        let (outcome, took) = ended?;
        counts.add(&outcome);
        // A refusal is quick and no answer: it counts as an error, and not among the latencies.
        if matches!(outcome, Ok(Outcome::Same | Outcome::Differs)) {
            latency_us.saturating_record(micros(took));
        }
    }
    Ok(Load {
        counts,
        wall: began.elapsed(),
        latency_us,
    })
}

fn shared(connection: &Connection) -> Result<Connection, Error> {
    let shared = connection.share();
    shared.ok_or_else(|| Error::new("a connection that carries one request at a time"))
}

fn histogram() -> Result<Histogram<u64>, Error> {
    Histogram::new_with_max(LATENCY_US_MAX, 3).map_err(of)
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(LATENCY_US_MAX)
}

fn of<E: std::error::Error + 'static>(error: E) -> Error {
    Error::of(&error)
}
