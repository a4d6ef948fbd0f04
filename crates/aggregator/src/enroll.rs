//! Epochs: one per life of a site's outbox, issued in ascending order by conditional create.
//!
//! The same incarnation always gets the same epoch; a new one gets a higher epoch, which fences the older.

use edge_types::{Epoch, Incarnation, SiteId};
use serde::{Deserialize, Serialize};
use sync_wire::{EnrollReply, EnrollRequest, Problem, ProblemKind};

use crate::layout;
use crate::metrics;
use crate::reply::store_problem;
use crate::store::{Created, Store, StoreError};

/// A site is made anew a few times in its life; a thousand means that it loses its outbox at every start.
pub const MAX_EPOCHS: usize = 1000;

/// Largest epoch that a site may claim to have had: far above any real one, far below overflow.
const MAX_KNOWN_EPOCH: u64 = 1 << 32;

const MAX_EPOCH_BYTES: u64 = 4 << 10;

/// Contents of an epoch's object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochRecord {
    pub site: SiteId,
    pub epoch: Epoch,
    pub incarnation: Incarnation,
    /// When it was issued, by the clock of the aggregator that did: data, never an order.
    pub issued_ms: u64,
}

/// The epochs of a site, ascending.
pub fn epochs(store: &dyn Store, site: &SiteId) -> Result<Vec<Epoch>, StoreError> {
    Ok(store
        .list(&layout::epochs_dir(site))?
        .iter()
        .filter_map(|name| layout::parse_epoch(name))
        .collect())
}

/// What an epoch's object says; `None` if it was never issued.
pub fn read(
    store: &dyn Store,
    site: &SiteId,
    epoch: Epoch,
) -> Result<Option<EpochRecord>, StoreError> {
    let name = layout::epoch(site, epoch);
    let Some(bytes) = store.read(&name, MAX_EPOCH_BYTES)? else {
        return Ok(None);
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| StoreError::Damaged {
            name,
            reason: error.to_string(),
        })
}

/// The epoch of this outbox: the one it has, or a new one.
pub fn enroll(
    store: &dyn Store,
    site: &SiteId,
    request: &EnrollRequest,
    now_ms: u64,
) -> Result<EnrollReply, Problem> {
    if request
        .known_epoch
        .is_some_and(|known| !(1..=MAX_KNOWN_EPOCH).contains(&known.0))
    {
        return Err(Problem::new(
            ProblemKind::BadRequest,
            "known_epoch is out of range",
        ));
    }
    // Each turn that does not return has seen another aggregator issue an epoch in between.
    for _ in 0..MAX_EPOCHS {
        let issued = epochs(store, site).map_err(|e| store_problem(&e))?;
        for epoch in issued.iter().rev() {
            let record = read(store, site, *epoch).map_err(|e| store_problem(&e))?;
            if record.is_some_and(|record| record.incarnation == request.incarnation) {
                metrics::enrolled(false);
                return Ok(EnrollReply { epoch: *epoch });
            }
        }
        if issued.len() >= MAX_EPOCHS {
            return Err(Problem::new(
                ProblemKind::Unavailable,
                format!(
                    "this site has had {MAX_EPOCHS} outboxes: is its data directory lost at every start?"
                ),
            ));
        }
        let epoch = choose(&issued, request.known_epoch);
        let record = EpochRecord {
            site: site.clone(),
            epoch,
            incarnation: request.incarnation,
            issued_ms: now_ms,
        };
        let bytes = serde_json::to_vec(&record)
            .map_err(|error| Problem::new(ProblemKind::Unavailable, error.to_string()))?;
        let created = store
            .create(&layout::epoch(site, epoch), &bytes)
            .map_err(|e| store_problem(&e))?;
        if created == Created::New {
            tracing::info!(%site, %epoch, incarnation = %request.incarnation, "epoch issued");
            metrics::enrolled(true);
            return Ok(EnrollReply { epoch });
        }
    }
    Err(Problem::new(
        ProblemKind::Unavailable,
        "too many enrolments of this site at once",
    ))
}

/// The epoch to issue next (pure). An outbox that had one before a store was lost gets it back, if it is still free:
/// its sealed batches carry that number.
fn choose(issued: &[Epoch], known: Option<Epoch>) -> Epoch {
    let highest = issued.last().copied().unwrap_or(Epoch(0));
    match known {
        Some(known) if !issued.contains(&known) => known,
        Some(_) | None => highest.next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::local::LocalStore;

    fn request(incarnation: u8, known_epoch: Option<u64>) -> EnrollRequest {
        EnrollRequest {
            incarnation: Incarnation([incarnation; 16]),
            known_epoch: known_epoch.map(Epoch),
        }
    }

    fn check(steps: &[(EnrollRequest, u64)]) {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path(), 0).unwrap();
        let site = SiteId::new("mill-7").unwrap();
        for (request, expected) in steps {
            let reply = enroll(&store, &site, request, 0).unwrap();
            assert_eq!(reply.epoch, Epoch(*expected), "{request:?}");
        }
    }

    #[test]
    fn the_same_outbox_keeps_its_epoch_and_a_new_one_gets_a_higher() {
        check(&[
            (request(1, None), 1),
            (request(1, None), 1),
            (request(2, None), 2),
            (request(1, None), 1),
            (request(1, Some(1)), 1),
            (request(3, None), 3),
        ]);
    }

    #[test]
    fn a_lost_epoch_is_given_again_unless_another_has_it() {
        check(&[
            (request(1, Some(5)), 5),
            (request(2, None), 6),
            (request(3, Some(6)), 7),
            (request(4, Some(3)), 3),
        ]);
    }

    #[test]
    fn absurd_claims_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path(), 0).unwrap();
        let site = SiteId::new("mill-7").unwrap();
        for known in [0, u64::MAX] {
            let problem = enroll(&store, &site, &request(1, Some(known)), 0).unwrap_err();
            assert_eq!(problem.kind(), Some(ProblemKind::BadRequest));
        }
    }

    #[test]
    fn outboxes_that_enrol_at_once_get_different_epochs() {
        let dir = tempfile::tempdir().unwrap();
        let site = SiteId::new("mill-7").unwrap();
        let mut epochs: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|index| {
                    let (dir, site) = (dir.path(), &site);
                    scope.spawn(move || {
                        let store = LocalStore::open(dir, 0).unwrap();
                        enroll(&store, site, &request(index, None), 0)
                            .unwrap()
                            .epoch
                            .0
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        epochs.sort_unstable();
        assert_eq!(epochs, (1..=8).collect::<Vec<_>>());
    }
}
