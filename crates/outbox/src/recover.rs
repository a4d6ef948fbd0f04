//! Opening: what the outbox knows is put together from its files, with the database and the witness as helpers.
//!
//! The files are the truth. The database adds what they do not say (acknowledgements, notes) and saves reading headers; the
//! witness keeps numbers from being given twice and tells a deleted batch from a lost one. Any of the two may be missing,
//! behind or damaged. Nothing that may hold a record is removed here; what is damaged moves to quarantine.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    sync::Arc,
    time::Duration,
};

use edge_types::{Epoch, Incarnation};

use crate::{
    aside,
    config::OutboxConfig,
    disk::{Disk, TEMP_SUFFIX},
    error::OpenError,
    identity::Identity,
    layout::{Layout, SegmentId, parse_batch_file_name},
    ledger::Ledger,
    rows::{self, BatchRow, MetaRow, Row, SegmentRow},
    sealed::{self, row_of},
    segment::{SEGMENT_HEADER_LEN, parse_segment_header},
    status::{OpenReport, StoreOpening},
    store::{self, Rows, Store, StoreFault},
    witness::{Marks, Witness},
};

mod batches;
mod segments;

pub(crate) use segments::salvage;

/// Everything that opening found.
pub(crate) struct Recovered {
    pub identity: Identity,
    pub ledger: Ledger,
    pub witness: Witness,
    pub store: Option<Arc<Store>>,
    pub report: OpenReport,
}

/// What the database said, by kind.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub meta: Option<MetaRow>,
    pub segments: BTreeMap<SegmentId, SegmentRow>,
    pub batches: BTreeMap<u64, BatchRow>,
    pub notes: BTreeMap<String, String>,
    pub keys: BTreeSet<Vec<u8>>,
}

pub(crate) fn io_error<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> OpenError + 'a {
    move |source| OpenError::Io {
        action,
        path: path.to_path_buf(),
        source,
    }
}

pub(crate) struct Recovery<'a> {
    pub disk: &'a dyn Disk,
    pub layout: &'a Layout,
    pub config: &'a OutboxConfig,
    pub now_ms: u64,
    pub ledger: Ledger,
    pub known: Known,
    /// The highest of what the witness and the database say.
    pub marks: Option<Marks>,
    pub report: OpenReport,
}

pub(crate) fn recover(
    disk: &dyn Disk,
    layout: &Layout,
    config: &OutboxConfig,
    now_ms: u64,
) -> Result<Recovered, OpenError> {
    for dir in [
        &layout.root,
        &layout.segments,
        &layout.batches,
        &layout.dead,
        &layout.quarantine,
    ] {
        disk.create_dir_all(dir).map_err(io_error("create", dir))?;
        sweep_temporaries(disk, dir)?;
    }
    let (witness, seen) =
        Witness::open(disk, layout).map_err(io_error("open", &layout.witness(0)))?;
    let (identity, is_new) = identity(disk, layout, config, seen, now_ms)?;
    let mut report = OpenReport {
        is_new,
        ..OpenReport::default()
    };
    let (store, known) = open_store(layout, config, identity.incarnation, &mut report);
    let seen = seen.filter(|marks| marks.incarnation == identity.incarnation);
    let mut ledger = Ledger::new(identity.incarnation, config.quota_bytes);
    ledger.epoch = identity.epoch;
    ledger.notes.clone_from(&known.notes);
    let mut recovery = Recovery {
        disk,
        layout,
        config,
        now_ms,
        ledger,
        marks: higher(seen, known.meta),
        known,
        report,
    };
    recovery.adopt_batches()?;
    recovery.adopt_segments()?;
    let Recovery {
        mut ledger,
        known,
        mut report,
        ..
    } = recovery;
    report.batches_pending = ledger.pending.batches;
    report.records_unsealed = ledger.unsealed_records();
    bring_up_store(store.as_deref(), &ledger, &known);
    ledger.changes.clear();
    Ok(Recovered {
        identity,
        ledger,
        witness,
        store,
        report,
    })
}

/// Half-written files of an attempt that was cut off: they were never anything.
fn sweep_temporaries(disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
    for entry in disk.list(dir).map_err(io_error("list", dir))? {
        if entry.name.ends_with(TEMP_SUFFIX) {
            let path = dir.join(&entry.name);
            disk.remove(&path).map_err(io_error("remove", &path))?;
        }
    }
    Ok(())
}

fn identity(
    disk: &dyn Disk,
    layout: &Layout,
    config: &OutboxConfig,
    seen: Option<Marks>,
    now_ms: u64,
) -> Result<(Identity, bool), OpenError> {
    if let Some(identity) = Identity::read(disk, layout) {
        if identity.site != config.site {
            return Err(OpenError::OtherSite {
                dir: layout.root.clone(),
                found: identity.site.to_string(),
                wanted: config.site.to_string(),
            });
        }
        return Ok((identity, false));
    }
    let found = identity_of_files(disk, layout, seen)?;
    let is_new = found.is_none();
    let (incarnation, epoch) = match found {
        Some(found) => found,
        None => (new_incarnation(layout)?, None),
    };
    let identity = Identity {
        v: 1,
        site: config.site.clone(),
        incarnation,
        epoch,
        created_ms: now_ms,
    };
    identity
        .write(disk, layout)
        .map_err(io_error("write", &layout.root))?;
    Ok((identity, is_new))
}

fn new_incarnation(layout: &Layout) -> Result<Incarnation, OpenError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| OpenError::Io {
        action: "find random bytes for",
        path: layout.root.clone(),
        source: io::Error::other(e),
    })?;
    Ok(Incarnation(bytes))
}

/// The identity file is missing or damaged: the other files say whose they are.
fn identity_of_files(
    disk: &dyn Disk,
    layout: &Layout,
    seen: Option<Marks>,
) -> Result<Option<(Incarnation, Option<Epoch>)>, OpenError> {
    let list = |dir: &Path| disk.list(dir).map_err(io_error("list", dir));
    for dir in [&layout.batches, &layout.dead] {
        for entry in list(dir)?.iter().rev() {
            if let Some(header) = sealed::read_header(disk, &dir.join(&entry.name), entry.len) {
                return Ok(Some((header.meta.incarnation, Some(header.meta.epoch))));
            }
        }
    }
    if let Some(marks) = seen {
        let epoch = (marks.epoch > 0).then_some(Epoch(marks.epoch));
        return Ok(Some((marks.incarnation, epoch)));
    }
    for entry in list(&layout.segments)? {
        let header = disk.read(&layout.segments.join(&entry.name), 0, SEGMENT_HEADER_LEN);
        if let Some(incarnation) = header.ok().and_then(|bytes| parse_segment_header(&bytes)) {
            return Ok(Some((incarnation, None)));
        }
    }
    Ok(None)
}

/// Opens the database, or a new one in its place, or none: the outbox runs in each case.
fn open_store(
    layout: &Layout,
    config: &OutboxConfig,
    incarnation: Incarnation,
    report: &mut OpenReport,
) -> (Option<Arc<Store>>, Known) {
    let existed = layout.store.exists();
    let reason = match open_and_parse(&layout.store, config.store_timeout, incarnation) {
        Ok((store, known)) => {
            report.store = match (existed, report.is_new) {
                (true, _) => StoreOpening::Opened,
                (false, true) => StoreOpening::Created,
                (false, false) => StoreOpening::Rebuilt {
                    reason: "it was gone".into(),
                },
            };
            return (Some(Arc::new(store)), known);
        }
        Err(fault) => fault.to_string(),
    };
    tracing::warn!(
        reason,
        "outbox database set aside and rebuilt from the files"
    );
    let reopened = store::set_aside(&layout.store, &layout.quarantine)
        .map_err(|e| StoreFault::Failed(e.to_string()))
        .and_then(|_| open_and_parse(&layout.store, config.store_timeout, incarnation));
    match reopened {
        Ok((store, known)) => {
            report.store = StoreOpening::Rebuilt { reason };
            (Some(Arc::new(store)), known)
        }
        Err(fault) => {
            report.store = StoreOpening::Absent {
                reason: fault.to_string(),
            };
            (None, Known::default())
        }
    }
}

fn open_and_parse(
    dir: &Path,
    timeout: Duration,
    incarnation: Incarnation,
) -> Result<(Store, Known), StoreFault> {
    let (store, rows) = Store::open(dir, timeout)?;
    match parse_rows(&rows, incarnation) {
        Some(known) => Ok((store, known)),
        None => {
            store.close(timeout);
            Err(StoreFault::Failed("it belongs to another outbox".into()))
        }
    }
}

/// Damaged rows are left out: the files say the same. `None` when the rows are another outbox's.
fn parse_rows(rows: &Rows, incarnation: Incarnation) -> Option<Known> {
    let mut known = Known::default();
    for (key, value) in rows {
        known.keys.insert(key.clone());
        match rows::parse(key, value) {
            Some(Row::Meta(meta)) => known.meta = Some(meta),
            Some(Row::Segment(id, row)) => drop(known.segments.insert(id, row)),
            Some(Row::Batch(no, row)) => drop(known.batches.insert(no, row)),
            Some(Row::Note(name, text)) => drop(known.notes.insert(name, text)),
            None => tracing::warn!("damaged row in the outbox's database left out"),
        }
    }
    let is_foreign = known.meta.is_some_and(|m| m.incarnation != incarnation);
    (!is_foreign).then_some(known)
}

/// Both only ever rise, so the higher of the two is the newer.
fn higher(seen: Option<Marks>, meta: Option<MetaRow>) -> Option<Marks> {
    let meta = meta.map(|m| Marks {
        incarnation: m.incarnation,
        epoch: m.epoch,
        next_seq: m.next_seq,
        sealed_through: m.sealed_through,
        last_batch: m.last_batch,
        last_hash: m.last_hash,
        deleted_through: m.deleted_through,
        deleted_seq: m.deleted_seq,
    });
    let (a, b) = match (seen, meta) {
        (Some(a), Some(b)) => (a, b),
        (a, b) => return a.or(b),
    };
    let newer = if a.last_batch >= b.last_batch { a } else { b };
    let (deleted_through, deleted_seq) =
        (a.deleted_through, a.deleted_seq).max((b.deleted_through, b.deleted_seq));
    Some(Marks {
        next_seq: a.next_seq.max(b.next_seq),
        sealed_through: a.sealed_through.max(b.sealed_through),
        deleted_through,
        deleted_seq,
        ..newer
    })
}

/// Writes what is known now, and takes out what is no longer true.
fn bring_up_store(store: Option<&Store>, ledger: &Ledger, known: &Known) {
    let Some(store) = store else { return };
    let now = ledger.dump();
    let current: BTreeSet<_> = now.iter().map(|(key, _)| key).collect();
    let stale = known.keys.iter().filter(|key| !current.contains(key));
    let mut changes: Vec<_> = stale.map(|key| (key.clone(), None)).collect();
    changes.extend(now);
    store.put(changes);
}

impl Recovery<'_> {
    pub(crate) fn quarantine(&mut self, path: &Path) -> Result<(), OpenError> {
        self.report.quarantined_files += 1;
        aside::quarantine(self.disk, self.layout, path, self.now_ms)
            .map_err(io_error("set aside", path))
    }
}

/// Batch files of a directory: number, hash, length; and the names that are none.
pub(crate) type NamedBatches = (Vec<(u64, edge_types::Digest, u64)>, Vec<String>);

pub(crate) fn list_batches(disk: &dyn Disk, dir: &Path) -> Result<NamedBatches, OpenError> {
    let mut batches = Vec::new();
    let mut others = Vec::new();
    for entry in disk.list(dir).map_err(io_error("list", dir))? {
        match parse_batch_file_name(&entry.name) {
            Some((no, hash)) => batches.push((no, hash, entry.len)),
            None => others.push(entry.name),
        }
    }
    Ok((batches, others))
}

pub(crate) fn header_row(
    disk: &dyn Disk,
    path: &Path,
    no: u64,
    hash: edge_types::Digest,
    len: u64,
    incarnation: Incarnation,
) -> Option<BatchRow> {
    let header = sealed::read_header(disk, path, len)?;
    let is_ours = header.meta.batch_no.0 == no && header.meta.incarnation == incarnation;
    is_ours.then(|| row_of(&header, hash))
}
