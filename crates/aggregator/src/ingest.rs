//! Taking in one batch: everything is verified before a byte of it is stored; a repeat is recognised as one.

use edge_types::{BatchNo, Digest, Epoch, Lane, SiteId};
use sync_wire::{BatchHeader, Problem, ProblemKind, limits};

use crate::metrics::{self, PutOutcome};
use crate::reply::store_problem;
use crate::store::{Created, Store};
use crate::{enroll, layout};

/// The batch that a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchName {
    pub site: SiteId,
    pub epoch: Epoch,
    pub lane: Lane,
    pub batch_no: BatchNo,
}

/// A batch that is durably in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingested {
    pub hash: Digest,
    pub created: Created,
}

/// Verifies and stores a batch.
pub fn ingest(store: &dyn Store, name: &BatchName, bytes: &[u8]) -> Result<Ingested, Problem> {
    let invalid = |reason: String| Problem::new(ProblemKind::InvalidBatch, reason);
    let batch = sync_wire::verify(bytes).map_err(|error| invalid(error.to_string()))?;
    check_name(name, &batch.header).map_err(invalid)?;
    let object = layout::batch(&name.site, name.epoch, name.lane, name.batch_no);
    match epoch_state(store, name, &batch.header)? {
        EpochState::Current => {}
        EpochState::Fenced { newest } => {
            return repeat_or_fenced(store, &object, batch.hash, newest);
        }
    }
    match store
        .create(&object, bytes)
        .map_err(|e| store_problem(&e))?
    {
        Created::New => {
            metrics::stored(bytes.len() as u64, u64::from(batch.header.count));
            Ok(Ingested {
                hash: batch.hash,
                created: Created::New,
            })
        }
        Created::Exists => repeat_or_conflict(store, &object, batch.hash),
    }
}

/// How a problem with a PUT is counted.
pub fn outcome(result: &Result<Ingested, Problem>) -> PutOutcome {
    match result {
        Ok(Ingested {
            created: Created::New,
            ..
        }) => PutOutcome::Stored,
        Ok(Ingested {
            created: Created::Exists,
            ..
        }) => PutOutcome::Same,
        Err(problem) => match problem.kind() {
            Some(ProblemKind::Conflict) => PutOutcome::Conflict,
            Some(ProblemKind::Fenced) => PutOutcome::Fenced,
            Some(ProblemKind::StoreFull) => PutOutcome::Full,
            Some(ProblemKind::Unavailable) | None => PutOutcome::Failed,
            Some(
                ProblemKind::BadRequest
                | ProblemKind::InvalidBatch
                | ProblemKind::TooLarge
                | ProblemKind::WrongSite
                | ProblemKind::NotFound
                | ProblemKind::MethodNotAllowed,
            ) => PutOutcome::Refused,
        },
    }
}

/// A batch may only be stored under the name that its own header gives it.
fn check_name(name: &BatchName, header: &BatchHeader) -> Result<(), String> {
    let meta = &header.meta;
    let differs = |what, header: &dyn std::fmt::Display, path: &dyn std::fmt::Display| {
        Err(format!(
            "the batch's header says {what} {header}, the path says {path}"
        ))
    };
    if meta.site != name.site {
        return differs("site", &meta.site, &name.site);
    }
    if meta.epoch != name.epoch {
        return differs("epoch", &meta.epoch, &name.epoch);
    }
    if meta.lane != name.lane {
        return differs("lane", &meta.lane, &name.lane);
    }
    if meta.batch_no != name.batch_no {
        return differs("batch", &meta.batch_no, &name.batch_no);
    }
    Ok(())
}

enum EpochState {
    Current,
    Fenced { newest: Epoch },
}

fn epoch_state(
    store: &dyn Store,
    name: &BatchName,
    header: &BatchHeader,
) -> Result<EpochState, Problem> {
    let issued = enroll::read(store, &name.site, name.epoch).map_err(|e| store_problem(&e))?;
    let Some(issued) = issued else {
        let detail = format!(
            "epoch {} was never issued by this store: enrol first",
            name.epoch
        );
        return Err(Problem::new(ProblemKind::NotFound, detail));
    };
    if issued.incarnation != header.meta.incarnation {
        let detail = format!("epoch {} was issued to another outbox", name.epoch);
        return Err(Problem::new(ProblemKind::InvalidBatch, detail));
    }
    let newest = enroll::epochs(store, &name.site)
        .map_err(|e| store_problem(&e))?
        .last()
        .copied();
    Ok(match newest {
        Some(newest) if newest > name.epoch => EpochState::Fenced { newest },
        Some(_) | None => EpochState::Current,
    })
}

/// The name is taken: by these very bytes, or by others?
fn repeat_or_conflict(store: &dyn Store, object: &str, hash: Digest) -> Result<Ingested, Problem> {
    match stored_hash(store, object)? {
        Some(stored) if stored == hash => Ok(Ingested {
            hash,
            created: Created::Exists,
        }),
        Some(stored) => Err(Problem::conflict(stored)),
        None => Err(Problem::new(
            ProblemKind::Unavailable,
            "the stored batch cannot be read",
        )),
    }
}

/// An older epoch takes no new batch, but still confirms what it has.
fn repeat_or_fenced(
    store: &dyn Store,
    object: &str,
    hash: Digest,
    newest: Epoch,
) -> Result<Ingested, Problem> {
    match stored_hash(store, object)? {
        Some(stored) if stored == hash => Ok(Ingested {
            hash,
            created: Created::Exists,
        }),
        Some(_) | None => Err(Problem::new(
            ProblemKind::Fenced,
            format!(
                "epoch {newest} was issued to another outbox of this site; this one may send nothing new"
            ),
        )),
    }
}

fn stored_hash(store: &dyn Store, object: &str) -> Result<Option<Digest>, Problem> {
    let stored = store
        .read(object, limits::MAX_BATCH_BYTES as u64)
        .map_err(|e| store_problem(&e))?;
    Ok(stored.map(|bytes| Digest::of(&bytes)))
}

#[cfg(test)]
mod tests;
