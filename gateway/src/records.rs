//! Records of exchanges into the outbox: the one place that knows both.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use edge_types::Receipt;
use outbox::{AppendError, OpenError, OpenReport, Outbox};

use crate::config::OutboxConfig;
use crate::error::{Kind, ProxyError, RecordFault, Side};
use crate::pipeline::{Append, RecordSink};

/// After the outbox said that it is full, durable routes are refused for so long without asking it (or their upstream) again.
const FULL_FOR: Duration = Duration::from_secs(1);
/// Nobody waits for the record of a window of counters; it is tried again.
#[cfg(feature = "fhe")]
const COUNTERS_WAIT: Duration = Duration::from_secs(5);
/// Segments, where the quota is small: space comes back a segment at a time, so several must fit.
const SEGMENTS_IN_QUOTA: u64 = 4;

/// Opens the outbox. Blocks on the disk.
pub fn open(config: &OutboxConfig) -> Result<(Outbox, OpenReport), OpenError> {
    let mut settings = outbox::OutboxConfig::new(&config.dir, config.site.clone());
    settings.quota_bytes = config.quota_bytes;
    settings.segment_bytes = (config.quota_bytes / SEGMENTS_IN_QUOTA)
        .clamp(outbox::MIN_SEGMENT_BYTES, settings.segment_bytes);
    settings.min_free_bytes = config.min_free_bytes;
    settings.gather = config.commit_wait;
    settings.seal_age = config.seal_after;
    settings.hold = config.hold;
    Outbox::open(settings)
}

/// The outbox as the pipeline sees it.
pub struct OutboxRecords {
    outbox: Outbox,
    began: Instant,
    /// Milliseconds since `began`; 0 for not full.
    full_until: Arc<AtomicU64>,
}

impl OutboxRecords {
    pub fn new(outbox: Outbox) -> Self {
        Self {
            outbox,
            began: Instant::now(),
            full_until: Arc::default(),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl RecordSink for OutboxRecords {
    fn ready(&self) -> Result<(), ProxyError> {
        if self.full_until.load(Ordering::Relaxed) > self.now_ms() {
            return Err(refused(
                RecordFault::Full,
                "the outbox was full a moment ago",
            ));
        }
        Ok(())
    }

    fn append_durable(&self, record: Vec<u8>) -> Append<'_> {
        let outbox = self.outbox.clone();
        // A task of its own: a client that leaves does not take the record back, whether or not it was queued yet.
        let appending = tokio::spawn(async move { outbox.append(Bytes::from(record)).await });
        let full_until = self.full_until.clone();
        let retry_at = self
            .now_ms()
            .saturating_add(u64::try_from(FULL_FOR.as_millis()).unwrap_or(0));
        Box::pin(async move {
            let appended: Result<Receipt, AppendError> =
                appending.await.unwrap_or(Err(AppendError::Closed));
            appended.map_err(|error| {
                let fault = fault_of(&error);
                if fault == RecordFault::Full {
                    full_until.store(retry_at, Ordering::Relaxed);
                }
                refused(fault, "the outbox did not take the record").because(error)
            })
        })
    }

    fn append_lazy(&self, record: Vec<u8>) -> bool {
        match self.outbox.append_later(Bytes::from(record)) {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, kind = error.kind(), "a record was dropped");
                false
            }
        }
    }
}

/// The outbox as the thread of the counters sees it. Needs the runtime that it is made in.
#[cfg(feature = "fhe")]
pub fn counter_sink(outbox: Outbox) -> crate::fhe::CounterSink {
    let runtime = tokio::runtime::Handle::current();
    Arc::new(move |record| {
        let appending = outbox.append(Bytes::from(record));
        let appended =
            runtime.block_on(async { tokio::time::timeout(COUNTERS_WAIT, appending).await });
        match appended {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("it was not on disk within {COUNTERS_WAIT:?}")),
        }
    })
}

fn refused(fault: RecordFault, detail: &'static str) -> ProxyError {
    ProxyError::new(Kind::RecordNotDurable(fault), Side::Gateway, detail)
}

fn fault_of(error: &AppendError) -> RecordFault {
    match error {
        AppendError::Full { .. } | AppendError::DiskFull { .. } => RecordFault::Full,
        AppendError::TooLarge { .. }
        | AppendError::QueueFull
        | AppendError::Io(_)
        | AppendError::Closed => RecordFault::Unavailable,
    }
}
