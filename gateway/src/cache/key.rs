//! Keys: what makes two requests ask for the same thing, apart from `Vary`. Hashes that nobody can make collide, so that the store
//! need not keep the text.

use std::hash::{BuildHasherDefault, Hasher};

use http::Method;

use super::CacheRequest;

/// A resource, whatever its variants: what an unsafe request invalidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UriKey([u8; 32]);

/// A resource with the policies' key parts, and the body where it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key([u8; 32]);

/// Both keys of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    pub uri: UriKey,
    pub key: Key,
}

/// What a policy called a response, to purge it by: a hash, so that names of any length cost the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag([u8; 16]);

impl Tag {
    pub fn of(name: &str) -> Self {
        let mut tag = [0; 16];
        tag.copy_from_slice(&blake3::hash(name.as_bytes()).as_bytes()[..16]);
        Self(tag)
    }
}

impl Keys {
    pub fn of(request: &CacheRequest<'_>) -> Self {
        let uri = Self::uri_of(request.authority, request.path_and_query);
        if request.key_parts.is_empty() && request.body_digest.is_none() {
            return Self {
                uri,
                key: Key(uri.0),
            };
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&uri.0);
        // HEAD is answered from a stored GET; a POST has a key of its own.
        hasher.update(&[u8::from(*request.method == Method::POST)]);
        for part in request.key_parts {
            field(&mut hasher, part.as_bytes());
        }
        if let Some(digest) = &request.body_digest {
            hasher.update(b"body");
            hasher.update(digest);
        }
        Self {
            uri,
            key: Key(*hasher.finalize().as_bytes()),
        }
    }

    pub fn uri_of(authority: &str, path_and_query: &str) -> UriKey {
        let mut hasher = blake3::Hasher::new();
        if authority.bytes().any(|byte| byte.is_ascii_uppercase()) {
            field(&mut hasher, authority.to_ascii_lowercase().as_bytes());
        } else {
            field(&mut hasher, authority.as_bytes());
        }
        field(&mut hasher, path_and_query.as_bytes());
        UriKey(*hasher.finalize().as_bytes())
    }
}

impl UriKey {
    /// A number for choosing a shard.
    pub fn spread(&self) -> usize {
        usize::from(u16::from_le_bytes([self.0[0], self.0[1]]))
    }
}

impl Key {
    /// A number for choosing a part.
    pub fn spread(&self) -> usize {
        usize::from(self.0[16])
    }

    pub const MIN: Self = Self([0; 32]);
    pub const MAX: Self = Self([0xff; 32]);
}

/// Lengths first, so that two lists of fields never hash the same bytes.
fn field(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

impl std::hash::Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Already a hash: eight bytes of it are spread well enough. Not the first ones, which chose the shard.
        state.write(&self.0[8..16]);
    }
}

/// For maps whose keys are hashes.
pub type ByHash = BuildHasherDefault<Prehashed>;

/// Takes the last eight bytes written as the hash.
#[derive(Default)]
pub struct Prehashed(u64);

impl Hasher for Prehashed {
    fn write(&mut self, bytes: &[u8]) {
        let mut word = [0; 8];
        let len = bytes.len().min(8);
        word[..len].copy_from_slice(&bytes[bytes.len() - len..]);
        self.0 = u64::from_le_bytes(word);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(
        method: Method,
        authority: &str,
        path: &str,
        parts: &[&str],
        body: Option<[u8; 32]>,
    ) -> Key {
        let parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
        let request = CacheRequest {
            method: &method,
            authority,
            path_and_query: path,
            headers: &http::HeaderMap::new(),
            key_parts: &parts,
            body_digest: body,
            bypass: false,
            may_wait: true,
        };
        Keys::of(&request).key
    }

    #[test]
    fn only_the_same_request_has_the_same_key() {
        let different = [
            key(Method::GET, "a.test", "/x", &[], None),
            key(Method::GET, "a.test", "/x?", &[], None),
            key(Method::GET, "a.test/", "x", &[], None),
            key(Method::GET, "b.test", "/x", &[], None),
            key(Method::GET, "a.test", "/x", &["de"], None),
            key(Method::GET, "a.test", "/x", &["d", "e"], None),
            key(Method::GET, "a.test", "/x", &["", "de"], None),
            key(Method::POST, "a.test", "/x", &["de"], None),
            key(Method::POST, "a.test", "/x", &[], Some([1; 32])),
            key(Method::POST, "a.test", "/x", &[], Some([2; 32])),
        ];
        for (at, one) in different.iter().enumerate() {
            for other in &different[at + 1..] {
                assert_ne!(one, other);
            }
        }
        assert_eq!(different[0], key(Method::HEAD, "A.TEST", "/x", &[], None));
        assert_eq!(
            different[4],
            key(Method::HEAD, "a.test", "/x", &["de"], None)
        );
    }
}
