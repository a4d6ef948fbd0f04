//! The client's secret key, and the evaluation key that is made from it and given to the gateway.
//!
//! Invariants: a key in memory is of a known set and of that set's exact sizes; an evaluation key is named by the
//! BLAKE3 of its bytes, so that a name cannot be made to fit another key. The layout is in docs/specs/fhe-formats.md.

use std::fmt;

use edge_types::Digest;
use tfhe::core_crypto::commons::math::random::Seed;
use tfhe::core_crypto::prelude::*;

use crate::bytes::{Reader, pack_bits, packed_len, push_u32s, push_u64s, unpack_bits};
use crate::entropy::{Entropy, seeder};
use crate::error::{FheError, Thing};
use crate::params::*;

const CLIENT_MAGIC: &[u8; 4] = b"VGCK";
const EVALUATION_MAGIC: &[u8; 4] = b"VGEK";
const VERSION: u16 = 1;
/// Magic, version, parameter set.
const HEADER_BYTES: usize = 8;
const SEED_BYTES: usize = 16;
const CHECKSUM_BYTES: usize = 32;

const PUBLIC_BYTES: usize = SEED_BYTES + POLYNOMIAL_SIZE * 8;
const KEYSWITCH_WORDS: usize = POLYNOMIAL_SIZE * KS_LEVELS;
const BOOTSTRAP_WORDS: usize = SMALL_DIMENSION * 2 * PBS_LEVELS * POLYNOMIAL_SIZE;

/// The name of an evaluation key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub Digest);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for KeyId {
    type Err = edge_types::DigestError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Whoever has this can read everything encrypted under it. It never leaves the client.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientKey {
    set: ParamSet,
    large: GlweSecretKeyOwned<u64>,
    /// Only of [`ParamSet::Bootstrap`].
    small: Option<LweSecretKeyOwned<u32>>,
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientKey({}, secret)", self.set)
    }
}

impl ClientKey {
    pub fn generate(set: ParamSet, entropy: &mut dyn Entropy) -> Result<Self, FheError> {
        let mut generator =
            SecretRandomGenerator::<DefaultRandomGenerator>::new(Seed(entropy.seed()?));
        let large = allocate_and_generate_new_binary_glwe_secret_key(
            GlweDimension(1),
            PolynomialSize(POLYNOMIAL_SIZE),
            &mut generator,
        );
        let mut generator =
            SecretRandomGenerator::<DefaultRandomGenerator>::new(Seed(entropy.seed()?));
        let small = (set == ParamSet::Bootstrap).then(|| {
            allocate_and_generate_new_binary_lwe_secret_key(
                LweDimension(SMALL_DIMENSION),
                &mut generator,
            )
        });
        Ok(Self { set, large, small })
    }

    pub fn set(&self) -> ParamSet {
        self.set
    }

    pub fn large(&self) -> &GlweSecretKeyOwned<u64> {
        &self.large
    }

    pub fn small(&self) -> Option<&LweSecretKeyOwned<u32>> {
        self.small.as_ref()
    }

    /// Secret: write it to a file that only its owner can read (see [`crate::files`]).
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = header(CLIENT_MAGIC, self.set);
        pack_bits(&mut out, self.large.as_ref(), 1);
        if let Some(small) = &self.small {
            let words: Vec<u64> = small.as_ref().iter().map(|&bit| u64::from(bit)).collect();
            pack_bits(&mut out, &words, 1);
        }
        let checksum = Digest::of(&out);
        out.extend_from_slice(&checksum.0);
        out
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FheError> {
        let thing = Thing::ClientKey;
        let mut reader = Reader::new(thing, bytes);
        let set = read_header(&mut reader, thing, CLIENT_MAGIC)?;
        let small_len = match set {
            ParamSet::Bootstrap => packed_len(SMALL_DIMENSION, 1),
            ParamSet::Linear => 0,
        };
        let body = HEADER_BYTES + packed_len(POLYNOMIAL_SIZE, 1) + small_len;
        reader.expect_total(body + CHECKSUM_BYTES)?;
        if Digest::of(&bytes[..body]).0 != bytes[body..] {
            return Err(FheError::malformed(
                thing,
                "its checksum does not match: the file is damaged",
            ));
        }
        let large = unpack_bits(
            reader.take(packed_len(POLYNOMIAL_SIZE, 1))?,
            POLYNOMIAL_SIZE,
            1,
        );
        let small = match set {
            ParamSet::Bootstrap => {
                let bits = unpack_bits(reader.take(small_len)?, SMALL_DIMENSION, 1);
                Some(LweSecretKey::from_container(
                    bits.iter().map(|&bit| bit as u32).collect(),
                ))
            }
            ParamSet::Linear => None,
        };
        let large = GlweSecretKey::from_container(large, PolynomialSize(POLYNOMIAL_SIZE));
        Ok(Self { set, large, small })
    }

    /// The key that the gateway computes with: 16 KB for linear programs alone, 30 MB with bootstraps.
    pub fn evaluation_key(&self, entropy: &mut dyn Entropy) -> Result<EvaluationKey, FheError> {
        let mut out = header(EVALUATION_MAGIC, self.set);
        self.push_public(&mut out, entropy)?;
        if let Some(small) = &self.small {
            self.push_keyswitch(&mut out, small, entropy)?;
            self.push_bootstrap(&mut out, small, entropy)?;
        }
        EvaluationKey::from_bytes(out)
    }

    /// An encryption of zero under the large key.
    fn push_public(&self, out: &mut Vec<u8>, entropy: &mut dyn Entropy) -> Result<(), FheError> {
        let seed = entropy.seed()?;
        let mut zero = SeededGlweCiphertext::new(
            0u64,
            GlweSize(2),
            PolynomialSize(POLYNOMIAL_SIZE),
            Seed(seed).into(),
            CiphertextModulus::new_native(),
        );
        let nothing = PlaintextList::new(0u64, PlaintextCount(POLYNOMIAL_SIZE));
        let noise = DynamicDistribution::new_t_uniform(GLWE_NOISE_BOUND_LOG2);
        encrypt_seeded_glwe_ciphertext(
            &self.large,
            &mut zero,
            &nothing,
            noise,
            &mut seeder(entropy.seed()?),
        );
        out.extend_from_slice(&seed.to_le_bytes());
        push_u64s(out, zero.as_ref());
        Ok(())
    }

    fn push_keyswitch(
        &self,
        out: &mut Vec<u8>,
        small: &LweSecretKeyOwned<u32>,
        entropy: &mut dyn Entropy,
    ) -> Result<(), FheError> {
        let seed = entropy.seed()?;
        let mut key = SeededLweKeyswitchKey::new(
            0u32,
            DecompositionBaseLog(KS_BASE_LOG),
            DecompositionLevelCount(KS_LEVELS),
            LweDimension(POLYNOMIAL_SIZE),
            LweDimension(SMALL_DIMENSION),
            Seed(seed).into(),
            CiphertextModulus::new_native(),
        );
        let noise = DynamicDistribution::<u32>::new_t_uniform(LWE32_NOISE_BOUND_LOG2);
        let large = self.large.as_lwe_secret_key();
        generate_seeded_lwe_keyswitch_key(
            &large,
            small,
            &mut key,
            noise,
            &mut seeder(entropy.seed()?),
        );
        out.extend_from_slice(&seed.to_le_bytes());
        push_u32s(out, key.as_ref());
        Ok(())
    }

    fn push_bootstrap(
        &self,
        out: &mut Vec<u8>,
        small: &LweSecretKeyOwned<u32>,
        entropy: &mut dyn Entropy,
    ) -> Result<(), FheError> {
        let seed = entropy.seed()?;
        let mut key = SeededLweBootstrapKey::new(
            0u64,
            GlweSize(2),
            PolynomialSize(POLYNOMIAL_SIZE),
            DecompositionBaseLog(PBS_BASE_LOG),
            DecompositionLevelCount(PBS_LEVELS),
            LweDimension(SMALL_DIMENSION),
            Seed(seed).into(),
            CiphertextModulus::new_native(),
        );
        let noise = DynamicDistribution::new_t_uniform(GLWE_NOISE_BOUND_LOG2);
        let seeder = &mut seeder(entropy.seed()?);
        // A browser has one thread; everywhere else all cores help.
        #[cfg(target_family = "wasm")]
        generate_seeded_lwe_bootstrap_key(small, &self.large, &mut key, noise, seeder);
        #[cfg(not(target_family = "wasm"))]
        par_generate_seeded_lwe_bootstrap_key(small, &self.large, &mut key, noise, seeder);
        out.extend_from_slice(&seed.to_le_bytes());
        push_u64s(out, key.as_ref());
        Ok(())
    }
}

/// What the gateway needs to compute on a client's ciphertexts. Not secret: it can read nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct EvaluationKey {
    set: ParamSet,
    id: KeyId,
    bytes: Vec<u8>,
}

impl fmt::Debug for EvaluationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EvaluationKey({}, {})", self.set, self.id)
    }
}

impl EvaluationKey {
    /// The exact size of a key of this set, in bytes.
    pub const fn bytes_of(set: ParamSet) -> usize {
        let public = HEADER_BYTES + PUBLIC_BYTES;
        match set {
            ParamSet::Linear => public,
            ParamSet::Bootstrap => {
                public + SEED_BYTES + KEYSWITCH_WORDS * 4 + SEED_BYTES + BOOTSTRAP_WORDS * 8
            }
        }
    }

    /// The largest key there is: the limit of an upload.
    pub const MAX_BYTES: usize = Self::bytes_of(ParamSet::Bootstrap);

    /// Checks everything that can be checked: the format, a known set, and that set's exact size. Every word of it
    /// is then a valid residue, so nothing later can go out of bounds. Whose key it is, it does not say.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, FheError> {
        let thing = Thing::EvaluationKey;
        let mut reader = Reader::new(thing, &bytes);
        let set = read_header(&mut reader, thing, EVALUATION_MAGIC)?;
        reader.expect_total(Self::bytes_of(set))?;
        let id = KeyId(Digest::of(&bytes));
        Ok(Self { set, id, bytes })
    }

    pub fn set(&self) -> ParamSet {
        self.set
    }
    pub fn id(&self) -> KeyId {
        self.id
    }
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn reader_at(&self, at: usize) -> Result<Reader<'_>, FheError> {
        let mut reader = Reader::new(Thing::EvaluationKey, &self.bytes);
        reader.take(at)?;
        Ok(reader)
    }

    /// An encryption of zero under the client's large key: (mask, body), expanded.
    pub fn public_zero(&self) -> Result<GlweCiphertextOwned<u64>, FheError> {
        let mut reader = self.reader_at(HEADER_BYTES)?;
        let seed = Seed(reader.u128()?);
        let modulus = CiphertextModulus::new_native();
        let body = reader.u64s(POLYNOMIAL_SIZE)?;
        let seeded = SeededGlweCiphertext::from_container(body, GlweSize(2), seed.into(), modulus);
        Ok(seeded.decompress_into_glwe_ciphertext())
    }

    pub fn keyswitch(&self) -> Result<SeededLweKeyswitchKeyOwned<u32>, FheError> {
        self.needs_bootstrap()?;
        let mut reader = self.reader_at(HEADER_BYTES + PUBLIC_BYTES)?;
        let seed = Seed(reader.u128()?);
        Ok(SeededLweKeyswitchKey::from_container(
            reader.u32s(KEYSWITCH_WORDS)?,
            DecompositionBaseLog(KS_BASE_LOG),
            DecompositionLevelCount(KS_LEVELS),
            LweSize(SMALL_WORDS),
            seed.into(),
            CiphertextModulus::new_native(),
        ))
    }

    pub fn bootstrap(&self) -> Result<SeededLweBootstrapKeyOwned<u64>, FheError> {
        self.needs_bootstrap()?;
        let mut reader =
            self.reader_at(HEADER_BYTES + PUBLIC_BYTES + SEED_BYTES + KEYSWITCH_WORDS * 4)?;
        let seed = Seed(reader.u128()?);
        Ok(SeededLweBootstrapKey::from_container(
            reader.u64s(BOOTSTRAP_WORDS)?,
            GlweSize(2),
            PolynomialSize(POLYNOMIAL_SIZE),
            DecompositionBaseLog(PBS_BASE_LOG),
            DecompositionLevelCount(PBS_LEVELS),
            seed.into(),
            CiphertextModulus::new_native(),
        ))
    }

    fn needs_bootstrap(&self) -> Result<(), FheError> {
        match self.set {
            ParamSet::Bootstrap => Ok(()),
            got => Err(FheError::WrongParams {
                thing: Thing::EvaluationKey,
                expected: ParamSet::Bootstrap,
                got,
            }),
        }
    }
}

fn header(magic: &[u8; 4], set: ParamSet) -> Vec<u8> {
    let mut out = magic.to_vec();
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&set.id().to_le_bytes());
    out
}

fn read_header(
    reader: &mut Reader<'_>,
    thing: Thing,
    magic: &[u8; 4],
) -> Result<ParamSet, FheError> {
    reader.header(magic, VERSION)?;
    let id = reader.u16()?;
    ParamSet::from_id(id).ok_or(FheError::UnknownParams { thing, id })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::TestEntropy;
    use proptest::prelude::*;

    #[test]
    fn client_keys_round_trip_and_damage_is_seen() {
        for set in ParamSet::ALL {
            let key = ClientKey::generate(set, &mut TestEntropy(1)).unwrap();
            let bytes = key.to_bytes();
            assert_eq!(ClientKey::from_bytes(&bytes).unwrap(), key);
            for at in 8..bytes.len() {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1;
                assert!(ClientKey::from_bytes(&damaged).is_err(), "byte {at}");
            }
            let cut = ClientKey::from_bytes(&bytes[..bytes.len() - 1]);
            assert!(matches!(cut, Err(FheError::Truncated { .. })), "{cut:?}");
        }
        assert!(
            !format!(
                "{:?}",
                ClientKey::generate(ParamSet::Linear, &mut TestEntropy(1)).unwrap()
            )
            .contains('[')
        );
    }

    #[test]
    fn an_evaluation_key_is_its_set_and_its_size() {
        let client = ClientKey::generate(ParamSet::Linear, &mut TestEntropy(2)).unwrap();
        let key = client.evaluation_key(&mut TestEntropy(3)).unwrap();
        let bytes = key.as_bytes().to_vec();
        assert_eq!(bytes.len(), EvaluationKey::bytes_of(ParamSet::Linear));
        assert_eq!(
            EvaluationKey::from_bytes(bytes.clone()).unwrap().id(),
            key.id()
        );
        assert!(matches!(key.bootstrap(), Err(FheError::WrongParams { .. })));

        let with = |at: usize, value: u8| {
            let mut changed = bytes.clone();
            changed[at] = value;
            EvaluationKey::from_bytes(changed)
        };
        assert!(matches!(with(0, b'X'), Err(FheError::NotThisFormat(_))));
        assert!(matches!(with(4, 9), Err(FheError::Version { got: 9, .. })));
        assert!(matches!(
            with(6, 77),
            Err(FheError::UnknownParams { id: 77, .. })
        ));
        // A linear key that says it bootstraps is short of 30 MB.
        assert!(matches!(with(6, 1), Err(FheError::Truncated { .. })));
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(matches!(
            EvaluationKey::from_bytes(longer),
            Err(FheError::Oversize { .. })
        ));
        let other = with(100, bytes[100] ^ 1).unwrap();
        assert_ne!(other.id(), key.id());
    }

    #[test]
    fn the_public_zero_decrypts_to_zero() {
        let client = ClientKey::generate(ParamSet::Linear, &mut TestEntropy(4)).unwrap();
        let zero = client
            .evaluation_key(&mut TestEntropy(5))
            .unwrap()
            .public_zero()
            .unwrap();
        let mut plain = PlaintextList::new(0u64, PlaintextCount(POLYNOMIAL_SIZE));
        decrypt_glwe_ciphertext(client.large(), &zero, &mut plain);
        let bound = 1i64 << GLWE_NOISE_BOUND_LOG2;
        assert!(plain.as_ref().iter().all(|&v| (v as i64).abs() <= bound));
        assert!(plain.as_ref().iter().any(|&v| v != 0));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), set in 0u8..4, start in 0usize..3) {
            for (magic, min) in [(CLIENT_MAGIC, 1), (EVALUATION_MAGIC, 2)] {
                if start >= min && bytes.len() > 8 {
                    bytes[..4].copy_from_slice(magic);
                    bytes[4..8].copy_from_slice(&[1, 0, set, 0]);
                }
                prop_assert!(ClientKey::from_bytes(&bytes).is_err());
                prop_assert!(EvaluationKey::from_bytes(bytes.clone()).is_err());
            }
        }
    }
}
