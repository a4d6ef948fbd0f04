//! Part 5: records that were acknowledged reach the aggregator exactly once, whatever is stopped or killed meanwhile.
//!
//! Acknowledged means that the client has received the response header `veilgate-record`, which names lane and sequence number.
//! The client keeps its own log of these (acknowledged.jsonl); at the end that log is held against the aggregator's `query`.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::site::{SITE, Site};
use crate::summary::Summary;
use examples::client::{Client, Connection, Version};
use examples::processes::output;

/// Connections that post notes at the same time.
const WRITERS: usize = 4;
/// Acknowledged notes before each turn of the story.
const PER_PHASE: usize = 60;
/// A phase in which nothing is acknowledged any more has failed.
const PHASE_TIMEOUT: Duration = Duration::from_secs(60);
/// Batches are sent with backoff: after an outage it may take some seconds until the next attempt.
const SYNC_TIMEOUT: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(250);

/// What the client knows to be durable: the name of each record, with the note it was given for.
struct Log {
    file: Mutex<File>,
    acknowledged: AtomicUsize,
    stop: AtomicBool,
}

pub async fn show(site: &mut Site, summary: &mut Summary) -> Result<(), Failure> {
    let path = site.work.join("acknowledged.jsonl");
    let log = Arc::new(Log {
        file: Mutex::new(File::create(&path)?),
        acknowledged: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
    });
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            Ok(tokio::spawn(write_notes(
                site.client()?,
                writer,
                Arc::clone(&log),
            )))
        })
        .collect::<Result<_, Failure>>()?;

    log.wait_for_more("with everything up").await?;
    site.stop_aggregator().await?;
    println!("   the aggregator is stopped; the gateway goes on serving");
    log.wait_for_more("without the aggregator").await?;
    site.kill_gateway().await?;
    println!(
        "   the gateway is killed (SIGKILL) in mid-traffic, after {} acknowledged records",
        log.count()
    );
    site.start_gateway().await?;
    log.wait_for_more("after the restart").await?;
    site.start_aggregator().await?;
    log.wait_for_more("with everything up again").await?;
    log.stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await?;
    }
    compare(site, &path, summary).await
}

impl Log {
    fn count(&self) -> usize {
        self.acknowledged.load(Ordering::Acquire)
    }

    /// One line for one acknowledged record; the line is written before it is counted.
    fn acknowledge(&self, record: &str, request_id: &str) -> std::io::Result<()> {
        let line = serde_json::json!({ "record": record, "request_id": request_id });
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(file, "{line}")?;
        self.acknowledged.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    async fn wait_for_more(&self, when: &str) -> Result<(), Failure> {
        let (start, began) = (self.count(), Instant::now());
        while self.count() < start + PER_PHASE {
            Failure::unless(began.elapsed() < PHASE_TIMEOUT, || {
                format!(
                    "{when}, only {} records were acknowledged in {} s",
                    self.count() - start,
                    PHASE_TIMEOUT.as_secs()
                )
            })?;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        println!(
            "   {when}: {} more records acknowledged",
            self.count() - start
        );
        Ok(())
    }
}

/// Posts notes until told to stop; a broken connection is made again, an answer without a record's name counts for nothing.
async fn write_notes(client: Client, writer: usize, log: Arc<Log>) {
    let version = if writer.is_multiple_of(2) {
        Version::H3
    } else {
        Version::H2
    };
    let mut connection: Option<Connection> = None;
    while !log.stop.load(Ordering::Relaxed) {
        let outcome = match connection.as_mut() {
            Some(open) => {
                open.post("/notes", "a note worth keeping", &[("x-api-key", "notes")])
                    .await
            }
            None => match client.connect(version).await {
                Ok(open) => {
                    connection = Some(open);
                    continue;
                }
                Err(failure) => Err(failure),
            },
        };
        match outcome {
            Ok(reply) => {
                let names = (
                    reply.header("veilgate-record"),
                    reply.header("x-request-id"),
                );
                if let (Some(record), Some(id)) = names
                    && log.acknowledge(record, id).is_err()
                {
                    return;
                }
            }
            Err(_) => connection = None,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the aggregator has every acknowledged record, and checks that it has each once.
async fn compare(site: &Site, log: &std::path::Path, summary: &mut Summary) -> Result<(), Failure> {
    let acknowledged = read_log(log)?;
    let began = Instant::now();
    loop {
        let stored = stored_records(site).await?;
        let missing = acknowledged
            .keys()
            .filter(|key| !stored.contains_key(*key))
            .count();
        if missing == 0 {
            check(&acknowledged, &stored)?;
            println!(
                "   {} acknowledged, {} at the aggregator ({} of this client, each exactly once), 0 missing, 0 twice",
                acknowledged.len(),
                stored.len(),
                acknowledged.len()
            );
            summary.add(
                "records",
                format!(
                    "{} acknowledged, 0 lost, 0 duplicated, through an outage and a SIGKILL",
                    acknowledged.len()
                ),
            );
            return Ok(());
        }
        Failure::unless(began.elapsed() < SYNC_TIMEOUT, || {
            format!(
                "{missing} of {} acknowledged records had not reached the aggregator after {} s",
                acknowledged.len(),
                SYNC_TIMEOUT.as_secs()
            )
        })?;
        tokio::time::sleep(POLL).await;
    }
}

/// Lane and sequence number: the name that the header gives a record.
type Key = (String, u64);

fn read_log(path: &std::path::Path) -> Result<HashMap<Key, String>, Failure> {
    let mut names = HashMap::new();
    for line in std::fs::read_to_string(path)?.lines() {
        let entry: serde_json::Value = serde_json::from_str(line)?;
        let (record, id) = (
            entry["record"].as_str().unwrap_or_default(),
            entry["request_id"].as_str().unwrap_or_default(),
        );
        let receipt = edge_types::Receipt::parse_header(record)?;
        let twice = names.insert((receipt.lane.to_string(), receipt.seq.0), id.to_owned());
        Failure::unless(twice.is_none(), || {
            format!("the gateway gave the name {record:?} to two records")
        })?;
    }
    Ok(names)
}

/// Every record that the aggregator lists for this site: how often each name occurs, and the request it belongs to.
async fn stored_records(site: &Site) -> Result<HashMap<Key, Vec<String>>, Failure> {
    let mut query = site.aggregator_cli();
    query.args([
        "query", "--store", "store", "--site", SITE, "list", "--json",
    ]);
    let text = output("the aggregator's query", &mut query, false).await?;
    let mut records: HashMap<Key, Vec<String>> = HashMap::new();
    for line in text.lines() {
        let entry: serde_json::Value = serde_json::from_str(line)?;
        let key = (
            entry["lane"].as_str().unwrap_or_default().to_owned(),
            entry["seq"].as_u64().unwrap_or_default(),
        );
        let id = entry["body"]["id"].as_str().unwrap_or_default().to_owned();
        records.entry(key).or_default().push(id);
    }
    Ok(records)
}

fn check(
    acknowledged: &HashMap<Key, String>,
    stored: &HashMap<Key, Vec<String>>,
) -> Result<(), Failure> {
    for ((lane, seq), ids) in stored {
        Failure::unless(ids.len() == 1, || {
            format!(
                "record {lane}/{seq} is at the aggregator {} times",
                ids.len()
            )
        })?;
    }
    for (key, id) in acknowledged {
        let there = stored.get(key).and_then(|ids| ids.first());
        Failure::unless(there == Some(id), || {
            format!(
                "record {}/{} belongs to request {id}, and the aggregator has {there:?} under its name",
                key.0, key.1
            )
        })?;
    }
    Ok(())
}
