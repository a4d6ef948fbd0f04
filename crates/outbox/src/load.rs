//! A load for benchmarks: so many callers append records of one size and wait for each, for a while.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::{AppendError, Outbox};

#[derive(Clone, Copy, Debug)]
pub struct LoadSpec {
    pub record_bytes: usize,
    /// Callers that append at once, each waiting for its receipt before the next.
    pub callers: usize,
    pub duration: Duration,
}

#[derive(Clone, Debug)]
pub struct LoadResult {
    /// Records that were acknowledged as durable.
    pub appended: u64,
    /// Appends that were refused because the outbox or its disk was full; each caller then pauses.
    pub refused: u64,
    pub elapsed: Duration,
    /// Every append's time from call to receipt, sorted.
    pub latencies: Vec<Duration>,
}

impl LoadResult {
    pub fn per_second(&self) -> f64 {
        self.appended as f64 / self.elapsed.as_secs_f64()
    }

    /// `percent` of 0 to 100. Zero when nothing was appended.
    pub fn percentile(&self, percent: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        let at = (last as f64 * percent / 100.0).round() as usize;
        self.latencies.get(at).copied().unwrap_or_default()
    }
}

/// A record that looks like an access record: a JSON object, half of it noise, so that compression has honest work.
pub fn record(len: usize, seed: u64) -> Bytes {
    let mut text = String::with_capacity(len);
    text.push_str(
        "{\"v\":1,\"route\":\"models\",\"method\":\"POST\",\"path\":\"/v1/score\",\"noise\":\"",
    );
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while text.len() + 2 < len {
        // xorshift64: any cheap noise will do.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(&format!("{state:016x}aaaaaaaaaaaaaaaa"));
    }
    text.truncate(len.saturating_sub(2));
    text.push_str("\"}");
    Bytes::from(text)
}

/// Runs the load. Stops early only when the outbox is closed or refuses the record's size.
pub async fn run(outbox: &Outbox, spec: LoadSpec) -> Result<LoadResult, AppendError> {
    let started = Instant::now();
    let refused = Arc::new(AtomicU64::new(0));
    let mut callers = JoinSet::new();
    for caller in 0..spec.callers as u64 {
        let (outbox, refused) = (outbox.clone(), refused.clone());
        callers.spawn(async move {
            let body = record(spec.record_bytes, caller + 1);
            let mut latencies = Vec::new();
            while started.elapsed() < spec.duration {
                let call = Instant::now();
                match outbox.append(body.clone()).await {
                    Ok(_) => latencies.push(call.elapsed()),
                    Err(error) if error.is_retryable() => {
                        refused.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(done) = callers.join_next().await {
        latencies.extend(done.unwrap_or(Err(AppendError::Closed))?);
    }
    let elapsed = started.elapsed();
    latencies.sort_unstable();
    Ok(LoadResult {
        appended: latencies.len() as u64,
        refused: refused.load(Ordering::Relaxed),
        elapsed,
        latencies,
    })
}
