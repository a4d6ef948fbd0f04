//! The witness: how far the outbox had come, in two files written in turn, outside the database and outside the segments.
//!
//! It is written (not synced) after every commit, so that it is exact after a killed process, and synced at every seal and
//! before every deletion, so that a power cut finds it at most that much behind. It is never ahead of what is durable.
//! It keeps numbers from being given twice when the last segment was damaged, and tells a deleted batch from a lost one.

use std::io;

use edge_types::{Digest, Incarnation};

use crate::{
    disk::{Disk, DiskFile},
    layout::Layout,
};

const MAGIC: [u8; 4] = *b"VGW1";
const LEN: usize = 128;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    pub incarnation: Incarnation,
    /// 0: not enrolled.
    pub epoch: u64,
    pub next_seq: u64,
    pub sealed_through: u64,
    pub last_batch: u64,
    pub last_hash: Digest,
    /// Batches up to this number may be gone on purpose.
    pub deleted_through: u64,
    /// The last sequence number in that batch.
    pub deleted_seq: u64,
}

fn encode(marks: &Marks, generation: u64) -> [u8; LEN] {
    let mut out = [0; LEN];
    out[..4].copy_from_slice(&MAGIC);
    let numbers = [
        generation,
        marks.epoch,
        marks.next_seq,
        marks.sealed_through,
        marks.last_batch,
        marks.deleted_through,
        marks.deleted_seq,
    ];
    for (slot, number) in out[4..60].chunks_exact_mut(8).zip(numbers) {
        slot.copy_from_slice(&number.to_le_bytes());
    }
    out[60..76].copy_from_slice(&marks.incarnation.0);
    out[76..108].copy_from_slice(&marks.last_hash.0);
    let crc = crc32c::crc32c(&out[..LEN - 4]);
    out[LEN - 4..].copy_from_slice(&crc.to_le_bytes());
    out
}

fn decode(bytes: &[u8]) -> Option<(u64, Marks)> {
    let bytes: &[u8; LEN] = bytes.first_chunk()?;
    let crc = crc32c::crc32c(&bytes[..LEN - 4]).to_le_bytes();
    if bytes[LEN - 4..] != crc || bytes[..4] != MAGIC {
        return None;
    }
    let number = |i: usize| {
        let at = 4 + 8 * i;
        Some(u64::from_le_bytes(bytes[at..at + 8].try_into().ok()?))
    };
    let marks = Marks {
        epoch: number(1)?,
        next_seq: number(2)?,
        sealed_through: number(3)?,
        last_batch: number(4)?,
        deleted_through: number(5)?,
        deleted_seq: number(6)?,
        incarnation: Incarnation(bytes[60..76].try_into().ok()?),
        last_hash: Digest(bytes[76..108].try_into().ok()?),
    };
    Some((number(0)?, marks))
}

pub(crate) struct Witness {
    files: [Box<dyn DiskFile>; 2],
    generation: u64,
}

impl Witness {
    /// Opens both files and reads the newer of those that are whole.
    pub(crate) fn open(disk: &dyn Disk, layout: &Layout) -> io::Result<(Self, Option<Marks>)> {
        let read = |slot| {
            disk.read(&layout.witness(slot), 0, LEN)
                .ok()
                .and_then(|bytes| decode(&bytes))
        };
        let newest = [read(0), read(1)]
            .into_iter()
            .flatten()
            .max_by_key(|(generation, _)| *generation);
        let open = |slot| disk.open_for_update(&layout.witness(slot));
        let witness = Self {
            files: [open(0)?, open(1)?],
            generation: newest.map_or(0, |(generation, _)| generation),
        };
        Ok((witness, newest.map(|(_, marks)| marks)))
    }

    /// Never overwrites the newest one, so that a torn write leaves that.
    pub(crate) fn write(&mut self, marks: &Marks) -> io::Result<()> {
        self.generation += 1;
        let slot = (self.generation % 2) as usize;
        self.files[slot].write_at(0, &encode(marks, self.generation))
    }

    pub(crate) fn write_synced(&mut self, marks: &Marks) -> io::Result<()> {
        self.write(marks)?;
        let slot = (self.generation % 2) as usize;
        self.files[slot].sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_read_back_and_damage_is_seen() {
        let marks = Marks {
            incarnation: Incarnation([3; 16]),
            epoch: 2,
            next_seq: 101,
            sealed_through: 90,
            last_batch: 7,
            last_hash: Digest::of(b"7"),
            deleted_through: 4,
            deleted_seq: 40,
        };
        let good = encode(&marks, 12);
        assert_eq!(decode(&good), Some((12, marks)));
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bad), None, "bit {bit}");
        }
        assert_eq!(decode(&[0; LEN]), None);
    }
}
