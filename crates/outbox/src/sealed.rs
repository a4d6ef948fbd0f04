//! Sealed batches as files: written so that they are there in full or not at all, read back with every byte checked.

use std::{io, path::Path};

use edge_types::{BatchNo, Digest, Epoch, Incarnation, Lane, SiteId};
use sync_wire::{BatchBuilder, BatchHeader, BatchMeta, SealedBatch, limits};

use crate::{
    disk::{self, Disk},
    layout::batch_file_name,
    rows::{BatchRow, BatchState},
};

/// What all batches of an outbox have in common.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub site: SiteId,
    pub incarnation: Incarnation,
    pub epoch: Epoch,
}

impl Origin {
    /// Seals and writes a batch file; when this returns it is durable.
    pub(crate) fn seal(
        &self,
        disk: &dyn Disk,
        dir: &Path,
        builder: BatchBuilder,
        no: u64,
        prev_hash: Digest,
        oldest_ms: u64,
    ) -> io::Result<BatchRow> {
        let meta = BatchMeta {
            site: self.site.clone(),
            incarnation: self.incarnation,
            epoch: self.epoch,
            lane: Lane::Events,
            batch_no: BatchNo(no),
            prev_hash,
            oldest_ms,
        };
        let SealedBatch {
            header,
            bytes,
            hash,
        } = builder.seal(meta).map_err(io::Error::other)?;
        disk::write_whole(disk, dir, &batch_file_name(no, hash), &bytes)?;
        Ok(row_of(&header, hash))
    }
}

pub(crate) fn row_of(header: &BatchHeader, hash: Digest) -> BatchRow {
    BatchRow {
        hash,
        len: header.batch_len() as u64,
        first_seq: header.first_seq.0,
        last_seq: header.last_seq.0,
        count: header.count,
        oldest_ms: header.meta.oldest_ms,
        state: BatchState::Pending,
    }
}

/// The header of a file that has the right length for it. The body is checked when it is read to be sent.
pub(crate) fn read_header(disk: &dyn Disk, path: &Path, file_len: u64) -> Option<BatchHeader> {
    let front = disk.read(path, 0, limits::MAX_HEADER_BYTES).ok()?;
    let header = BatchHeader::parse(&front).ok()?;
    (header.batch_len() as u64 == file_len).then_some(header)
}

/// The whole file; `None` when it is not what its name says.
pub(crate) fn read_whole(
    disk: &dyn Disk,
    path: &Path,
    hash: Digest,
) -> io::Result<Option<Vec<u8>>> {
    match disk.read(path, 0, limits::MAX_BATCH_BYTES + 1) {
        Ok(bytes) => Ok((Digest::of(&bytes) == hash).then_some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
