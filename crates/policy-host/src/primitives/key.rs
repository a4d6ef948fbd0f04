//! Keys of limiters and gates as 128 keyed bits: a fixed size whatever a client sends, and a client cannot aim at another's key.

use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct KeyHash {
    low: u64,
    high: u64,
}

impl KeyHash {
    /// `count` shards, a power of two.
    pub(crate) fn shard(self, count: usize) -> usize {
        // `low` picks the bucket within a shard, so the shard comes from the other half.
        (self.high as usize) & (count - 1)
    }
}

/// Two independently keyed SipHash: 64 bits each.
#[derive(Debug, Default)]
pub(crate) struct KeyHasher {
    first: RandomState,
    second: RandomState,
}

impl KeyHasher {
    pub(crate) fn hash(&self, key: &str) -> KeyHash {
        self.of(key)
    }

    /// Two lists never hash the same bytes: each part ends with one that is in no text.
    pub(crate) fn hash_list(&self, parts: &[&str]) -> KeyHash {
        self.of(parts)
    }

    fn of<T: Hash + ?Sized>(&self, key: &T) -> KeyHash {
        KeyHash {
            low: self.first.hash_one(key),
            high: self.second.hash_one(key),
        }
    }
}

/// For maps whose keys are hashes already.
#[derive(Debug, Default)]
pub(crate) struct TakeHash(u64);

impl Hasher for TakeHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, part: u64) {
        self.0 ^= part;
    }
}

pub(crate) type Hashed = BuildHasherDefault<TakeHash>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_key_hashes_alike_and_others_differ() {
        let hasher = KeyHasher::default();
        assert_eq!(hasher.hash("a"), hasher.hash("a"));
        assert_ne!(hasher.hash("a"), hasher.hash("b"));
        assert_ne!(hasher.hash("a").low, hasher.hash("a").high);
        assert_ne!(hasher.hash_list(&["ab", ""]), hasher.hash_list(&["a", "b"]));
    }
}
