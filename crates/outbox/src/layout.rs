//! Names and places: which file is what. Pure.

use std::path::{Path, PathBuf};

use edge_types::{Digest, Incarnation};

/// The directories and files of one outbox.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub root: PathBuf,
    pub segments: PathBuf,
    pub batches: PathBuf,
    /// Batches that the aggregator refused for good.
    pub dead: PathBuf,
    /// Damaged files, kept for whoever wants to look.
    pub quarantine: PathBuf,
    pub store: PathBuf,
    pub lock: PathBuf,
    pub reserve: PathBuf,
}

pub(crate) const IDENTITY_NAME: &str = "identity.json";

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
            segments: root.join("segments"),
            batches: root.join("batches"),
            dead: root.join("dead"),
            quarantine: root.join("quarantine"),
            store: root.join("db"),
            lock: root.join("lock"),
            reserve: root.join("reserve"),
        }
    }

    pub(crate) fn witness(&self, slot: usize) -> PathBuf {
        self.root.join(format!("witness-{slot}"))
    }

    pub(crate) fn segment(&self, id: SegmentId) -> PathBuf {
        self.segments.join(id.file_name())
    }

    pub(crate) fn batch(&self, no: u64, hash: Digest) -> PathBuf {
        self.batches.join(batch_file_name(no, hash))
    }
}

/// A segment's name. The ordinal orders segments and is never used twice; two may start at one sequence number when the first
/// of them failed before anything in it was durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentId {
    pub ordinal: u32,
    pub first_seq: u64,
}

impl SegmentId {
    pub(crate) fn file_name(self) -> String {
        format!("{:010}-{:020}.seg", self.ordinal, self.first_seq)
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (ordinal, first_seq) = name.strip_suffix(".seg")?.split_once('-')?;
        let id = Self {
            ordinal: ordinal.parse().ok()?,
            first_seq: first_seq.parse().ok()?,
        };
        (id.first_seq >= 1 && id.file_name() == name).then_some(id)
    }

    /// What its checksums start from: known to whoever has the name and the incarnation, so a damaged header costs nothing.
    pub(crate) fn salt(self, incarnation: Incarnation) -> u32 {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"veilgate segment salt");
        hasher.update(&incarnation.0);
        hasher.update(&self.ordinal.to_le_bytes());
        hasher.update(&self.first_seq.to_le_bytes());
        let hash = hasher.finalize();
        let [a, b, c, d, ..] = *hash.as_bytes();
        u32::from_le_bytes([a, b, c, d])
    }
}

pub(crate) fn batch_file_name(no: u64, hash: Digest) -> String {
    format!("{no:020}-{hash}.vgb")
}

pub(crate) fn parse_batch_file_name(name: &str) -> Option<(u64, Digest)> {
    let (no, hash) = name.strip_suffix(".vgb")?.split_once('-')?;
    let (no, hash) = (no.parse().ok()?, hash.parse().ok()?);
    (no >= 1 && batch_file_name(no, hash) == name).then_some((no, hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_nothing_else_does() {
        let id = SegmentId {
            ordinal: 7,
            first_seq: 99,
        };
        assert_eq!(SegmentId::parse(&id.file_name()), Some(id));
        let hash = Digest::of(b"x");
        assert_eq!(
            parse_batch_file_name(&batch_file_name(3, hash)),
            Some((3, hash))
        );
        for other in [
            "",
            "1-1.seg",
            "0000000007-00000000000000000099.seg.tmp",
            "x.vgb",
        ] {
            assert_eq!(SegmentId::parse(other), None, "{other}");
            assert_eq!(parse_batch_file_name(other), None, "{other}");
        }
    }
}
