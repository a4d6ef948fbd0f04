//! What a site has delivered: a listing of the store.

use edge_types::{Epoch, Lane, SiteId};
use sync_wire::{LaneState, Problem, StateReply};

use crate::reply::store_problem;
use crate::store::{Store, StoreError};
use crate::{enroll, layout};

/// The state of a site's newest epoch.
pub fn state(store: &dyn Store, site: &SiteId, now_ms: u64) -> Result<StateReply, Problem> {
    look(store, site, now_ms).map_err(|error| store_problem(&error))
}

fn look(store: &dyn Store, site: &SiteId, now_ms: u64) -> Result<StateReply, StoreError> {
    let epoch = enroll::epochs(store, site)?
        .last()
        .copied()
        .unwrap_or(Epoch(0));
    let lanes = Lane::ALL
        .into_iter()
        .map(|lane| {
            let names = store.list(&layout::batches_dir(site, epoch, lane))?;
            Ok(LaneState::of_stored(
                lane,
                names.iter().filter_map(|name| layout::parse_batch(name)),
            ))
        })
        .collect::<Result<_, StoreError>>()?;
    Ok(StateReply {
        store_incarnation: store.incarnation(),
        epoch,
        lanes,
        server_time_ms: now_ms,
    })
}
