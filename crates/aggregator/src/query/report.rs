//! Answers for people and for scripts.

use std::io::{self, Write};

use serde_json::{Value, json};
use sync_wire::SeqRange;

use super::QueryError;
use super::audit::StreamAudit;
use super::scan::{self, Filter, Stream};
use crate::store::Store;

/// Every record, one per line.
pub fn list(
    store: &dyn Store,
    filter: &Filter,
    as_json: bool,
    limit: Option<u64>,
    out: &mut dyn Write,
) -> Result<bool, QueryError> {
    let mut out = io::BufWriter::new(out);
    let mut left = limit.unwrap_or(u64::MAX);
    let mut sound = true;
    for stream in scan::streams(store, filter)? {
        for batch in scan::batches(store, &stream)? {
            let batch = batch?;
            let content = match batch.content {
                Ok(content) => content,
                Err(error) => {
                    sound = false;
                    eprintln!("{} batch {}: {error}", describe(&stream), batch.batch_no);
                    continue;
                }
            };
            for record in content.records() {
                if left == 0 {
                    out.flush()?;
                    return Ok(sound);
                }
                left -= 1;
                let Stream { site, epoch, lane } = &stream;
                if as_json {
                    let line = json!({
                        "site": site, "epoch": epoch, "lane": lane, "seq": record.seq, "batch": batch.batch_no,
                        "outbox": content.header.meta.incarnation.tag(), "body": body(record.body),
                    });
                    writeln!(out, "{line}")?;
                } else {
                    let body = String::from_utf8_lossy(record.body);
                    writeln!(
                        out,
                        "{site} {epoch} {lane} {} {} {body}",
                        record.seq, batch.batch_no
                    )?;
                }
            }
        }
    }
    out.flush()?;
    Ok(sound)
}

/// A record's JSON as it is; anything else as a string of hex digits under `hex`.
fn body(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        json!({ "hex": hex })
    })
}

/// All that is known, whatever the question.
pub fn json(audits: &[StreamAudit], out: &mut dyn Write) -> io::Result<()> {
    let total = |count: fn(&StreamAudit) -> u64| audits.iter().map(count).sum::<u64>();
    let answer = json!({
        "batches": total(|a| a.batches),
        "records": total(|a| a.records),
        "distinct_records": total(|a| a.distinct_records),
        "record_bytes": total(|a| a.record_bytes),
        "stored_bytes": total(|a| a.stored_bytes),
        "complete": audits.iter().all(StreamAudit::is_complete),
        "sound": audits.iter().all(StreamAudit::is_sound),
        "streams": audits,
    });
    writeln!(out, "{answer}")
}

pub fn count(audits: &[StreamAudit], out: &mut dyn Write) -> io::Result<()> {
    if audits.is_empty() {
        return writeln!(out, "no batches");
    }
    writeln!(
        out,
        "{:<24} {:>5} {:<7} {:>8} {:>10} {:>10} {:>10} {:>12} {:>12}",
        "site", "epoch", "lane", "batches", "records", "first", "last", "bytes", "stored"
    )?;
    for audit in audits {
        let Stream { site, epoch, lane } = &audit.stream;
        let seq = |seq: Option<edge_types::Seq>| seq.map_or("-".to_owned(), |seq| seq.to_string());
        writeln!(
            out,
            "{:<24} {:>5} {:<7} {:>8} {:>10} {:>10} {:>10} {:>12} {:>12}",
            site.as_str(),
            epoch.0,
            lane.name(),
            audit.batches,
            audit.records,
            seq(audit.first_seq),
            seq(audit.last_seq),
            audit.record_bytes,
            audit.stored_bytes
        )?;
    }
    let (records, batches): (u64, u64) = audits.iter().fold((0, 0), |(r, b), audit| {
        (r + audit.records, b + audit.batches)
    });
    writeln!(out, "{records} records in {batches} batches")?;
    damage(audits, out)
}

pub fn gaps(audits: &[StreamAudit], out: &mut dyn Write) -> io::Result<()> {
    for audit in audits {
        let name = describe(&audit.stream);
        write_ranges(out, &name, "missing", &audit.missing)?;
        write_ranges(
            out,
            &name,
            "declared lost by the site",
            &audit.declared_lost,
        )?;
        write_ranges(out, &name, "stored more than once", &audit.duplicates)?;
        for (first, last) in &audit.missing_batches {
            writeln!(out, "{name}: batches missing: {first} to {last}")?;
        }
        if audit.is_complete() && audit.declared_lost.is_empty() {
            let last = audit.last_seq.map_or(0, |seq| seq.0);
            writeln!(out, "{name}: 1 to {last}, each once")?;
        }
    }
    if audits.is_empty() {
        writeln!(out, "no batches")?;
    }
    Ok(())
}

pub fn verify(audits: &[StreamAudit], out: &mut dyn Write) -> io::Result<()> {
    for audit in audits {
        for batch in &audit.chain_breaks {
            writeln!(
                out,
                "{}: batch {batch} does not follow the batch before it",
                describe(&audit.stream)
            )?;
        }
        if audit.is_sound() {
            let (batches, records) = (audit.batches, audit.records);
            writeln!(
                out,
                "{}: {batches} batches, {records} records, all sound",
                describe(&audit.stream)
            )?;
        }
    }
    damage(audits, out)?;
    gaps(audits, out)
}

fn damage(audits: &[StreamAudit], out: &mut dyn Write) -> io::Result<()> {
    for audit in audits {
        for batch in &audit.damaged {
            writeln!(
                out,
                "{}: batch {}: {}",
                describe(&audit.stream),
                batch.batch,
                batch.reason
            )?;
        }
    }
    Ok(())
}

fn write_ranges(
    out: &mut dyn Write,
    name: &str,
    what: &str,
    ranges: &[SeqRange],
) -> io::Result<()> {
    for range in ranges {
        writeln!(
            out,
            "{name}: {what}: {} to {} ({})",
            range.first,
            range.last,
            range.len()
        )?;
    }
    Ok(())
}

fn describe(stream: &Stream) -> String {
    format!("{} epoch {} {}", stream.site, stream.epoch, stream.lane)
}
