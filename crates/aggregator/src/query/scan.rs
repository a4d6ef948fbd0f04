//! Walking through a store: its streams, and the batches of one in order.

use edge_types::{BatchNo, Epoch, Lane, SiteId};
use sync_wire::{BatchError, Decoded, limits};

use crate::layout;
use crate::store::{Store, StoreError};

/// Which streams to look at; absent means all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub site: Option<SiteId>,
    pub lane: Option<Lane>,
    pub epoch: Option<Epoch>,
}

/// One lane of one outbox.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Stream {
    pub site: SiteId,
    pub epoch: Epoch,
    pub lane: Lane,
}

/// A batch as it lies in the store.
pub struct StoredBatch {
    pub batch_no: BatchNo,
    pub bytes: u64,
    pub content: Result<Decoded, BatchError>,
}

/// The streams that hold batches, by site, epoch and lane.
pub fn streams(store: &dyn Store, filter: &Filter) -> Result<Vec<Stream>, StoreError> {
    let mut streams = Vec::new();
    for site in store
        .list(layout::SITES)?
        .into_iter()
        .filter_map(|name| SiteId::new(name).ok())
    {
        if filter.site.as_ref().is_some_and(|wanted| *wanted != site) {
            continue;
        }
        let epochs = store.list(&layout::batch_epochs_dir(&site))?;
        for epoch in epochs
            .iter()
            .filter_map(|name| layout::parse_epoch_dir(name))
        {
            if filter.epoch.is_some_and(|wanted| wanted != epoch) {
                continue;
            }
            let lanes = Lane::ALL
                .into_iter()
                .filter(|lane| filter.lane.is_none_or(|wanted| wanted == *lane));
            streams.extend(lanes.map(|lane| Stream {
                site: site.clone(),
                epoch,
                lane,
            }));
        }
    }
    Ok(streams)
}

/// The batches of a stream, ascending, each read when it is asked for.
pub fn batches<'a>(
    store: &'a dyn Store,
    stream: &'a Stream,
) -> Result<impl Iterator<Item = Result<StoredBatch, StoreError>> + 'a, StoreError> {
    let names = store.list(&layout::batches_dir(
        &stream.site,
        stream.epoch,
        stream.lane,
    ))?;
    let numbers = names
        .into_iter()
        .filter_map(|name| layout::parse_batch(&name));
    Ok(numbers.map(move |batch_no| read(store, stream, batch_no)))
}

fn read(store: &dyn Store, stream: &Stream, batch_no: BatchNo) -> Result<StoredBatch, StoreError> {
    let name = layout::batch(&stream.site, stream.epoch, stream.lane, batch_no);
    let bytes = store
        .read(&name, limits::MAX_BATCH_BYTES as u64)?
        .ok_or_else(|| StoreError::Damaged {
            name,
            reason: "it was listed and is gone: batches are never removed by this program"
                .to_owned(),
        })?;
    Ok(StoredBatch {
        batch_no,
        bytes: bytes.len() as u64,
        content: sync_wire::verify(&bytes),
    })
}
