//! Telling clients of a server that was killed that their connection is gone (RFC 9000, section 10.3).
//!
//! A server that comes back under the same key answers a packet of an unknown connection with the token that the dead
//! one had promised; the client then reconnects at once instead of waiting for its idle timeout. Tokens and connection
//! ids must therefore not depend on anything that a process draws at its start.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::{CryptoError, HmacKey};
use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig};

/// Long enough that two connections never share an id, short enough for every packet to carry.
const ID_BYTES: usize = 8;

/// A secret from which reset tokens are made: the same for every process with the same private key.
#[derive(Clone, Copy)]
pub struct ResetSeed([u8; 32]);

impl ResetSeed {
    pub fn of_private_key(der: &[u8]) -> Self {
        Self(blake3::derive_key(
            "veilgate transport: QUIC stateless reset tokens, version 1",
            der,
        ))
    }
}

/// An endpoint whose resets outlive its process.
pub fn endpoint_config(seed: ResetSeed) -> EndpointConfig {
    let mut config = EndpointConfig::new(Arc::new(ResetKey(seed.0)));
    config.cid_generator(|| Box::new(RandomIds::default()));
    config
}

struct ResetKey([u8; 32]);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(blake3::keyed_hash(&self.0, data).as_bytes());
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        // `Hash == [u8]` takes the same time wherever they differ.
        if blake3::keyed_hash(&self.0, data) == *signature {
            Ok(())
        } else {
            Err(CryptoError)
        }
    }
}

/// Connection ids without a mark of the process that made them: quinn's own carry one, and drop packets without it
/// unanswered.
#[derive(Default)]
struct RandomIds {
    keyed: RandomState,
    count: u64,
}

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        self.count += 1;
        ConnectionId::new(&self.keyed.hash_one(self.count).to_be_bytes())
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}
