//! A closed loop of HTTP requests: so many at once, for so long, each sent when the one before it was answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use examples::client::{Client, Connection, Error, Version};
use hdrhistogram::Histogram;

/// Requests at once: enough to keep a gateway busy on a few cores without queueing latency being all that is seen.
pub const IN_FLIGHT: usize = 16;
/// Connections that HTTP/2 and HTTP/3 spread them over.
const SHARED_CONNECTIONS: usize = 4;
/// What a caller of an API sends, so that policies have something to read.
const FIELDS: &[(&str, &str)] = &[("x-api-key", "bench")];
/// The longest latency that is told apart, in µs.
const LATENCY_US_MAX: u64 = 60_000_000;

pub struct Load {
    pub requests: u64,
    pub wall: Duration,
    pub latency_us: Histogram<u64>,
}

/// Runs the loop on connections that are open; an answer other than 200 ends it as an error, so that no figure is made of failures.
/// After an error they are gone.
pub async fn run(
    connections: &mut Vec<Connection>,
    path: &str,
    length: Duration,
) -> Result<Load, Error> {
    let requests = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut loops = Vec::new();
    for mut connection in std::mem::take(connections) {
        let (path, requests) = (path.to_owned(), Arc::clone(&requests));
        loops.push(tokio::spawn(async move {
            let mut latency = Histogram::<u64>::new_with_max(LATENCY_US_MAX, 3)
                .map_err(|error| Error::of(&error))?;
            while began.elapsed() < length {
                let reply = connection.get(&path, FIELDS).await?;
                if reply.status != 200 {
                    return Err(Error::new(format!(
                        "{path} was answered {} ({})",
                        reply.status,
                        reply.text()
                    )));
                }
                latency.saturating_record(
                    u64::try_from(reply.took.as_micros()).unwrap_or(LATENCY_US_MAX),
                );
                requests.fetch_add(1, Ordering::Relaxed);
            }
            Ok((latency, connection))
        }));
    }
    let mut latency_us =
        Histogram::<u64>::new_with_max(LATENCY_US_MAX, 3).map_err(|error| Error::of(&error))?;
    for one in loops {
        let (latency, connection) = one.await??;
        latency_us.add(latency).map_err(|error| Error::of(&error))?;
        connections.push(connection);
    }
    Ok(Load {
        requests: requests.load(Ordering::Relaxed),
        wall: began.elapsed(),
        latency_us,
    })
}

/// As many as requests are to be in flight.
pub async fn open(client: &Client, version: Version) -> Result<Vec<Connection>, Error> {
    let mut connections = Vec::with_capacity(IN_FLIGHT);
    for number in 0..IN_FLIGHT {
        let shared = if number < SHARED_CONNECTIONS {
            None
        } else {
            Connection::share(&connections[number % SHARED_CONNECTIONS])
        };
        match shared {
            Some(connection) => connections.push(connection),
            None => connections.push(client.connect(version).await?),
        }
    }
    Ok(connections)
}
