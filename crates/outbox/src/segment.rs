//! Segment files: the header and appending. Reading is in `gather.rs`.
//!
//! Header, 64 bytes: `VGS1`, u16 version, u8 lane, 0, u32 ordinal, u64 first sequence number, u64 created (Unix ms), 16 bytes
//! incarnation, zeros, u32 CRC-32C. It is there so that a directory can be told without any other file.

use std::io;

use edge_types::{Incarnation, Lane};

use crate::{
    disk::{Disk, DiskFile},
    layout::{Layout, SegmentId},
};

pub(crate) const SEGMENT_HEADER_LEN: usize = 64;
const MAGIC: [u8; 4] = *b"VGS1";
const VERSION: u16 = 1;

pub(crate) fn segment_header(id: SegmentId, incarnation: Incarnation, now_ms: u64) -> [u8; 64] {
    let mut header = [0; SEGMENT_HEADER_LEN];
    header[..4].copy_from_slice(&MAGIC);
    header[4..6].copy_from_slice(&VERSION.to_le_bytes());
    header[6] = Lane::Events.wire();
    header[8..12].copy_from_slice(&id.ordinal.to_le_bytes());
    header[12..20].copy_from_slice(&id.first_seq.to_le_bytes());
    header[20..28].copy_from_slice(&now_ms.to_le_bytes());
    header[28..44].copy_from_slice(&incarnation.0);
    let crc = crc32c::crc32c(&header[..60]);
    header[60..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// The incarnation that a header names, when the header is whole.
pub(crate) fn parse_segment_header(header: &[u8]) -> Option<Incarnation> {
    let header: &[u8; SEGMENT_HEADER_LEN] = header.first_chunk()?;
    let whole = header[60..] == crc32c::crc32c(&header[..60]).to_le_bytes()
        && header[..4] == MAGIC
        && header[4..6] == VERSION.to_le_bytes();
    let incarnation = header[28..44].try_into().ok()?;
    whole.then_some(Incarnation(incarnation))
}

/// The segment that is being written. Everything up to `durable_len` is on disk.
pub(crate) struct SegmentWriter {
    pub id: SegmentId,
    pub salt: u32,
    pub durable_len: u64,
    file: Box<dyn DiskFile>,
}

impl SegmentWriter {
    /// Makes the file, its header and its name durable.
    pub(crate) fn create(
        disk: &dyn Disk,
        layout: &Layout,
        id: SegmentId,
        incarnation: Incarnation,
        now_ms: u64,
    ) -> io::Result<Self> {
        let path = layout.segment(id);
        let created = (|| {
            let mut file = disk.create_new(&path)?;
            file.append(&segment_header(id, incarnation, now_ms))?;
            file.sync()?;
            disk.sync_dir(&layout.segments)?;
            Ok(file)
        })();
        match created {
            Ok(file) => Ok(Self {
                id,
                salt: id.salt(incarnation),
                durable_len: SEGMENT_HEADER_LEN as u64,
                file,
            }),
            Err(error) => {
                // Best effort: an empty segment is swept at open.
                let _ = disk.remove(&path);
                Err(error)
            }
        }
    }

    /// One write, one fsync.
    pub(crate) fn commit(&mut self, frames: &[u8]) -> io::Result<()> {
        self.file.append(frames)?;
        self.file.sync()?;
        self.durable_len += frames.len() as u64;
        Ok(())
    }

    /// After a failed commit: cuts off what may be there of it. When that fails too, the next segment's first number tells
    /// readers where this one ends.
    pub(crate) fn cut_to_durable(mut self) -> io::Result<()> {
        self.file.set_len(self.durable_len)?;
        self.file.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_names_its_incarnation_or_nothing() {
        let id = SegmentId {
            ordinal: 1,
            first_seq: 5,
        };
        let good = segment_header(id, Incarnation([9; 16]), 1);
        assert_eq!(parse_segment_header(&good), Some(Incarnation([9; 16])));
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse_segment_header(&bad), None, "bit {bit}");
        }
        assert_eq!(parse_segment_header(&good[..63]), None);
    }
}
