//! Looking inside an outbox's directory without opening it: beside a running gateway, or after one. Changes nothing.
//!
//! A running outbox adds and removes files meanwhile: one that is gone when its turn comes is left out.

use std::{io, path::Path};

use edge_types::{BatchNo, Digest, Incarnation, Seq, SiteId};
use serde::Serialize;
use sync_wire::limits::MAX_BATCH_BYTES;

use crate::{
    config::MAX_SEGMENT_BYTES,
    disk::{Disk, RealDisk},
    frame::{Item, Scan},
    identity::Identity,
    layout::{Layout, SegmentId, batch_file_name, parse_batch_file_name},
    sealed::read_header,
    segment::{SEGMENT_HEADER_LEN, parse_segment_header},
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BatchLine {
    pub no: BatchNo,
    pub hash: Digest,
    pub len: u64,
    /// `None` when the header cannot be read.
    pub first_seq: Option<Seq>,
    pub last_seq: Option<Seq>,
    pub records: Option<u32>,
    pub raw_len: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SegmentLine {
    pub name: String,
    pub first_seq: Seq,
    pub len: u64,
}

/// The files of an outbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listing {
    pub site: Option<SiteId>,
    pub incarnation: Option<Incarnation>,
    pub segments: Vec<SegmentLine>,
    pub batches: Vec<BatchLine>,
    pub dead: Vec<BatchLine>,
    pub quarantine: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub file: String,
    pub what: String,
}

/// What reading every byte found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    pub batches: u64,
    pub batch_records: u64,
    pub segments: u64,
    pub segment_records: u64,
    /// Numbers that batches declare missing.
    pub gap_records: u64,
    pub problems: Vec<Problem>,
}

impl Verification {
    fn problem(&mut self, file: &str, what: impl ToString) {
        self.problems.push(Problem {
            file: file.to_string(),
            what: what.to_string(),
        });
    }
}

fn batch_lines(dir: &Path) -> io::Result<Vec<BatchLine>> {
    let mut lines = Vec::new();
    for entry in RealDisk.list(dir)? {
        let Some((no, hash)) = parse_batch_file_name(&entry.name) else {
            continue;
        };
        let header = read_header(&RealDisk, &dir.join(&entry.name), entry.len);
        lines.push(BatchLine {
            no: BatchNo(no),
            hash,
            len: entry.len,
            first_seq: header.as_ref().map(|h| h.first_seq),
            last_seq: header.as_ref().map(|h| h.last_seq),
            records: header.as_ref().map(|h| h.count),
            raw_len: header.as_ref().map(|h| h.raw_len),
        });
    }
    Ok(lines)
}

/// Lists the files, reading headers only.
pub fn ls(dir: &Path) -> io::Result<Listing> {
    let layout = Layout::new(dir);
    let identity = Identity::read(&RealDisk, &layout);
    let segments = RealDisk
        .list(&layout.segments)?
        .into_iter()
        .filter_map(|entry| {
            let id = SegmentId::parse(&entry.name)?;
            Some(SegmentLine {
                name: entry.name,
                first_seq: Seq(id.first_seq),
                len: entry.len,
            })
        })
        .collect();
    let quarantine = RealDisk.list(&layout.quarantine)?;
    Ok(Listing {
        site: identity.as_ref().map(|i| i.site.clone()),
        incarnation: identity.as_ref().map(|i| i.incarnation),
        segments,
        batches: batch_lines(&layout.batches)?,
        dead: batch_lines(&layout.dead)?,
        quarantine: quarantine.into_iter().map(|entry| entry.name).collect(),
    })
}

/// Reads and checks every byte of every batch and segment, and the chain of batches.
pub fn verify(dir: &Path) -> io::Result<Verification> {
    let layout = Layout::new(dir);
    let mut out = Verification::default();
    let listing = ls(dir)?;
    let mut before: Option<(u64, Digest, Seq)> = None;
    for line in &listing.batches {
        let name = batch_file_name(line.no.0, line.hash);
        let bytes = match RealDisk.read(&layout.batches.join(&name), 0, MAX_BATCH_BYTES + 1) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => {
                out.problem(&name, e);
                continue;
            }
        };
        out.batches += 1;
        match sync_wire::verify(&bytes) {
            Ok(batch) => {
                let header = &batch.header;
                out.batch_records += u64::from(header.count);
                out.gap_records += header
                    .gaps
                    .iter()
                    .map(sync_wire::SeqRange::len)
                    .sum::<u64>();
                if batch.hash != line.hash {
                    out.problem(&name, "its hash is not its name");
                }
                if let Some((no, hash, last_seq)) = before
                    && no + 1 == line.no.0
                    && (header.meta.prev_hash != hash || header.first_seq != last_seq.next())
                {
                    out.problem(&name, "does not follow the batch before it");
                }
                before = Some((line.no.0, batch.hash, header.last_seq));
            }
            Err(error) => out.problem(&name, error),
        }
    }
    for (i, line) in listing.segments.iter().enumerate() {
        let bound = listing.segments.get(i + 1).map(|next| next.first_seq.0);
        verify_segment(&layout, &listing, line, bound, &mut out);
    }
    Ok(out)
}

fn verify_segment(
    layout: &Layout,
    listing: &Listing,
    line: &SegmentLine,
    bound: Option<u64>,
    out: &mut Verification,
) {
    let Some(id) = SegmentId::parse(&line.name) else {
        return;
    };
    let max = 2 * MAX_SEGMENT_BYTES as usize;
    let bytes = match RealDisk.read(&layout.segments.join(&line.name), 0, max) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return,
        Err(e) => return out.problem(&line.name, e),
    };
    out.segments += 1;
    let named = parse_segment_header(&bytes);
    if named.is_none() {
        out.problem(&line.name, "damaged header (its records can still be read)");
    }
    let Some(incarnation) = listing.incarnation.or(named) else {
        return out.problem(&line.name, "neither it nor identity.json names the outbox");
    };
    let frames = bytes.get(SEGMENT_HEADER_LEN..).unwrap_or_default();
    let seqs = id.first_seq..bound.unwrap_or(u64::MAX).max(id.first_seq);
    for item in Scan::new(frames, id.salt(incarnation), seqs) {
        match item {
            Item::Frame(_) => out.segment_records += 1,
            Item::Damage { start, end } => {
                out.problem(&line.name, format!("{} damaged bytes", end - start));
            }
            Item::Tail { start } => {
                let len = frames.len() - start;
                out.problem(&line.name, format!("{len} bytes at its end are no records"));
            }
        }
    }
}
