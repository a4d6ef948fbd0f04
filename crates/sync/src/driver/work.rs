//! The single pieces of work that the driver sets going, and what comes of each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use edge_types::{BatchNo, Epoch, Lane, SiteId};
use outbox::{BatchAccessError, Outbox};
use parking_lot::Mutex;
use sync_wire::{BatchHeader, EnrollRequest, StateReply};
use transport::H3Error;
use transport::h3client::Connector;

use crate::client::{CallError, Client};
use crate::config::SyncConfig;
use crate::pace::Pacer;
use crate::state::{Event, PutResult};
use crate::survey;

/// The lane that there is.
const LANE: Lane = Lane::Events;

/// Bytes that stand before each record in a batch: length and checksum.
const RECORD_HEADER_BYTES: u64 = 8;

/// What became of a piece of work.
pub enum Done {
    Connected(Box<Client>),
    Lost(H3Error),
    Event(Event),
    Put(SentBatch, PutResult),
}

/// A batch that was sent, or should have been.
#[derive(Debug, Clone, Copy)]
pub struct SentBatch {
    pub no: BatchNo,
    pub sealed_bytes: u64,
    pub record_bytes: u64,
    pub records: u64,
    pub took: Duration,
}

/// Tries the aggregator's addresses in turn.
pub async fn connect(
    connector: Connector,
    config: Arc<SyncConfig>,
    site: SiteId,
    pacer: Arc<Mutex<Pacer>>,
) -> Done {
    let unknown = |reason: String| H3Error::Internal {
        reason: format!("{}: {reason}", config.aggregator),
    };
    let addresses = match tokio::net::lookup_host(&config.aggregator).await {
        Ok(addresses) => addresses,
        Err(error) => return Done::Lost(unknown(format!("the name cannot be looked up: {error}"))),
    };
    let mut last = unknown("the name has no address".to_owned());
    for addr in addresses {
        match connector.connect(addr, &config.server_name).await {
            Ok(connection) => {
                let authority = config.server_name.clone();
                return Done::Connected(Box::new(Client::new(connection, site, authority, pacer)));
            }
            Err(error) => last = error,
        }
    }
    Done::Lost(last)
}

/// Asks for the epoch and has the outbox keep it.
pub async fn enrol(client: Client, outbox: Outbox) -> Done {
    let request = EnrollRequest {
        incarnation: outbox.incarnation(),
        known_epoch: outbox.epoch(),
    };
    let epoch = match client.enrol(&request).await {
        Ok(epoch) => epoch,
        Err(error) => return call_failed(error),
    };
    let kept = tokio::task::spawn_blocking(move || outbox.set_epoch(epoch)).await;
    Done::Event(match kept {
        Ok(Ok(())) => Event::Enrolled,
        Ok(Err(error)) => Event::Blocked {
            reason: error.to_string(),
        },
        Err(error) => Event::Failed {
            retry_after: None,
            reason: error.to_string(),
        },
    })
}

/// Asks what is there, and finds what should be and is not.
pub async fn survey(client: Client, outbox: Outbox) -> Done {
    // Taken before the question: what is confirmed in between must not look like a loss.
    let last_batch = outbox.last_batch();
    let pending: Vec<BatchNo> = outbox
        .pending_batches(BatchNo(0), usize::MAX)
        .iter()
        .map(|batch| batch.no)
        .collect();
    let reply = match client.state().await {
        Ok(reply) => reply,
        Err(error) => return call_failed(error),
    };
    Done::Event(match outbox.epoch() {
        Some(ours) if reply.epoch > ours => Event::Blocked {
            reason: fenced(ours, reply.epoch),
        },
        Some(ours) if reply.epoch == ours => surveyed(&reply, &pending, last_batch),
        Some(_) | None => Event::Failed {
            retry_after: None,
            reason: "the aggregator has forgotten this outbox's epoch".to_owned(),
        },
    })
}

fn surveyed(reply: &StateReply, pending: &[BatchNo], last_batch: BatchNo) -> Event {
    let stored = reply
        .lanes
        .iter()
        .find(|lane| lane.lane == LANE)
        .map_or(&[][..], |lane| &lane.ranges);
    let holes = survey::holes(stored, pending.iter().copied(), last_batch);
    Event::Surveyed {
        store: reply.store_incarnation,
        holes,
    }
}

fn fenced(ours: Epoch, newest: Epoch) -> String {
    format!(
        "another outbox has enrolled under this site's name (epoch {newest}, ours is {ours}). Nothing of ours is \
         accepted any more: give one of the two another site name and certificate"
    )
}

/// Reads a batch from the outbox and sends it.
pub async fn send(client: Client, outbox: Outbox, config: Arc<SyncConfig>, no: BatchNo) -> Done {
    let began = Instant::now();
    let mut sent = SentBatch {
        no,
        sealed_bytes: 0,
        record_bytes: 0,
        records: 0,
        took: Duration::ZERO,
    };
    let (batch, bytes) = match outbox.read_batch(no).await {
        Ok(read) => read,
        Err(BatchAccessError::Unknown(_)) => return Done::Put(sent, PutResult::Gone),
        Err(error @ (BatchAccessError::Io { .. } | BatchAccessError::Append(_))) => {
            return Done::Put(
                sent,
                PutResult::Unreadable {
                    reason: error.to_string(),
                },
            );
        }
    };
    let Some(epoch) = outbox.epoch() else {
        return Done::Put(sent, PutResult::NotEnrolled);
    };
    if let Ok(header) = BatchHeader::parse(&bytes) {
        sent.records = u64::from(header.count);
        sent.record_bytes =
            u64::from(header.raw_len).saturating_sub(RECORD_HEADER_BYTES * sent.records);
    }
    sent.sealed_bytes = bytes.len() as u64;
    let timeout = config.request_timeout + time_on_link(&config, sent.sealed_bytes);
    match client
        .put(epoch, LANE, no, bytes, batch.hash, timeout)
        .await
    {
        Ok(result) => {
            sent.took = began.elapsed();
            Done::Put(sent, result)
        }
        Err(error) => Done::Lost(error),
    }
}

/// What the rate alone asks for, with as many others on the way.
fn time_on_link(config: &SyncConfig, bytes: u64) -> Duration {
    let Some(rate) = config.bytes_per_second else {
        return Duration::ZERO;
    };
    let total = bytes.saturating_mul(config.max_in_flight as u64);
    Duration::from_secs(total / rate.max(1))
}

fn call_failed(error: CallError) -> Done {
    match error {
        CallError::Lost(error) => Done::Lost(error),
        CallError::Failed {
            reason,
            retry_after,
        } => Done::Event(Event::Failed {
            retry_after,
            reason,
        }),
        CallError::Blocked(reason) => Done::Event(Event::Blocked { reason }),
    }
}

/// Counts what became of a batch.
pub fn count(result: &PutResult, sent: &SentBatch) {
    let outcome = match result {
        PutResult::Stored => "stored",
        PutResult::Refused { .. } => "refused",
        PutResult::Conflict { .. } => "conflict",
        PutResult::Blocked { .. } => "blocked",
        PutResult::NotEnrolled => "not_enrolled",
        PutResult::Later { .. } => "later",
        PutResult::Unreadable { .. } => "unreadable",
        PutResult::Gone => "gone",
        PutResult::Failed { .. } => "failed",
    };
    metrics::counter!("gateway_sync_batches_total", "outcome" => outcome).increment(1);
    if *result == PutResult::Stored {
        metrics::counter!("gateway_sync_sealed_bytes_total").increment(sent.sealed_bytes);
        metrics::counter!("gateway_sync_record_bytes_total").increment(sent.record_bytes);
        metrics::counter!("gateway_sync_records_total").increment(sent.records);
        metrics::histogram!("gateway_sync_put_duration_seconds").record(sent.took.as_secs_f64());
    }
}
