//! The owner's public key: an encryption of zero with which anybody can encrypt, and nobody can read.

use std::fmt;

use edge_types::Digest;
use tfhe::core_crypto::commons::math::random::Seed;
use tfhe::core_crypto::prelude::*;

use crate::bytes::{Reader, push_u64s};
use crate::entropy::seeder;
use crate::error::{FheError, Thing};
use crate::keys::ClientKey;
use crate::params::{GLWE_NOISE_BOUND_LOG2, POLYNOMIAL_SIZE, ParamSet};

const MAGIC: &[u8; 4] = b"VGPK";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 8;
const SEED_BYTES: usize = 16;
pub const PUBLIC_KEY_BYTES: usize = HEADER_BYTES + SEED_BYTES + POLYNOMIAL_SIZE * 8;

/// Names the derivation below. Should what tfhe-rs makes of a seed ever change (a test would see it), this must change
/// too: two public keys with one mask and different noise tell more than one does.
const DERIVATION: &str = "veilgate 2026 counters public key v1";

/// The name of a public key: the BLAKE3 of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKeyId(pub Digest);

impl fmt::Display for PublicKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for PublicKeyId {
    type Err = edge_types::DigestError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// A public key, with its mask expanded.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    id: PublicKeyId,
    bytes: Vec<u8>,
    mask: Vec<u64>,
    body: Vec<u64>,
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id)
    }
}

impl PublicKey {
    /// Always the same for one client key, so that its owner knows it again.
    pub fn of(key: &ClientKey) -> Result<Self, FheError> {
        let secret = blake3::derive_key(DERIVATION, &key.to_bytes());
        let mut reader = Reader::new(Thing::ClientKey, &secret);
        let (mask_seed, noise_seed) = (reader.u128()?, reader.u128()?);
        let mut zero = SeededGlweCiphertext::new(
            0u64,
            GlweSize(2),
            PolynomialSize(POLYNOMIAL_SIZE),
            Seed(mask_seed).into(),
            CiphertextModulus::new_native(),
        );
        encrypt_seeded_glwe_ciphertext(
            key.large(),
            &mut zero,
            &PlaintextList::new(0u64, PlaintextCount(POLYNOMIAL_SIZE)),
            DynamicDistribution::new_t_uniform(GLWE_NOISE_BOUND_LOG2),
            &mut seeder(noise_seed),
        );
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&ParamSet::Linear.id().to_le_bytes());
        bytes.extend_from_slice(&mask_seed.to_le_bytes());
        push_u64s(&mut bytes, zero.as_ref());
        Self::from_bytes(bytes)
    }

    /// Checks the format, the set and the exact size; every word is then a valid residue.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, FheError> {
        let thing = Thing::PublicKey;
        let mut reader = Reader::new(thing, &bytes);
        reader.header(MAGIC, VERSION)?;
        super::ciphertext::require_linear(thing, reader.u16()?)?;
        reader.expect_total(PUBLIC_KEY_BYTES)?;
        let seed = Seed(reader.u128()?);
        let body = reader.u64s(POLYNOMIAL_SIZE)?;
        let modulus = CiphertextModulus::new_native();
        let seeded = SeededGlweCiphertext::from_container(body, GlweSize(2), seed.into(), modulus);
        let zero = seeded.decompress_into_glwe_ciphertext();
        let mask = zero.get_mask().as_ref().to_vec();
        let body = zero.get_body().as_ref().to_vec();
        let id = PublicKeyId(Digest::of(&bytes));
        Ok(Self {
            id,
            bytes,
            mask,
            body,
        })
    }

    pub fn id(&self) -> PublicKeyId {
        self.id
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn mask(&self) -> &[u64] {
        &self.mask
    }

    pub(super) fn body(&self) -> &[u64] {
        &self.body
    }
}
