//! For tests: keys made once, and the client's arithmetic on single ciphertexts.

use std::sync::{Arc, OnceLock};

use fhe::params::*;
use fhe::{ClientKey, Entropy, EvaluationKey, ParamSet, TestEntropy};

pub mod card;

use crate::cpu::CpuKey;
pub use crate::random::Random;
use crate::{Backend, CpuBackend};

pub struct Fixture {
    pub backend: CpuBackend,
    pub clients: Vec<Secret>,
    pub evaluation: Vec<EvaluationKey>,
    pub keys: Vec<Arc<CpuKey>>,
    pub linear: (ClientKey, EvaluationKey),
    pub linear_key: Arc<CpuKey>,
}

/// A client key that can look into single ciphertexts.
pub struct Secret(pub ClientKey);

/// Two clients with bootstraps, and one without.
pub fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let backend = CpuBackend::new(None).unwrap();
        let make = |set, seed| {
            let client = ClientKey::generate(set, &mut TestEntropy(seed)).unwrap();
            let evaluation = client.evaluation_key(&mut TestEntropy(seed + 1)).unwrap();
            (client, evaluation)
        };
        let both = [make(ParamSet::Bootstrap, 10), make(ParamSet::Bootstrap, 20)];
        let linear = make(ParamSet::Linear, 30);
        let keys = both
            .iter()
            .map(|(_, key)| Arc::new(backend.expand(key).unwrap()))
            .collect();
        let linear_key = Arc::new(backend.expand(&linear.1).unwrap());
        let (clients, evaluation) = both
            .into_iter()
            .map(|(client, key)| (Secret(client), key))
            .unzip();
        Fixture {
            backend,
            clients,
            evaluation,
            keys,
            linear,
            linear_key,
        }
    })
}

impl Secret {
    /// With fresh noise, as the client's own encryption has it.
    pub fn encrypt_word(&self, plain: u64, seed: u64) -> Vec<u64> {
        let mut random = Random(seed.wrapping_mul(77) + TestEntropy(5).seed().unwrap() as u64);
        let mut words: Vec<u64> = (0..POLYNOMIAL_SIZE).map(|_| random.next()).collect();
        let product = dot(&words, self.0.large().as_ref());
        let noise = (random.next() >> (64 - GLWE_NOISE_BOUND_LOG2 - 1))
            .wrapping_sub(1 << GLWE_NOISE_BOUND_LOG2);
        words.push(product.wrapping_add(plain).wrapping_add(noise));
        words
    }

    pub fn phase(&self, ciphertext: &[u64]) -> u64 {
        let (mask, body) = ciphertext.split_at(POLYNOMIAL_SIZE);
        body[0].wrapping_sub(dot(mask, self.0.large().as_ref()))
    }

    pub fn small_phase(&self, ciphertext: &[u32]) -> u32 {
        let (mask, body) = ciphertext.split_at(SMALL_DIMENSION);
        let key = self.0.small().unwrap();
        let product = mask
            .iter()
            .zip(key.as_ref())
            .fold(0u32, |sum, (a, s)| sum.wrapping_add(a.wrapping_mul(*s)));
        body[0].wrapping_sub(product)
    }

    /// Modulo 2N.
    pub fn switched_phase<T: tfhe::core_crypto::prelude::ModulusSwitchedLweCiphertext<usize>>(
        &self,
        switched: &T,
    ) -> u32 {
        let key = self.0.small().unwrap();
        let product: usize = switched
            .mask()
            .zip(key.as_ref())
            .map(|(a, &s)| a * s as usize)
            .sum();
        (switched.body() as u32).wrapping_sub(product as u32) % (2 * POLYNOMIAL_SIZE as u32)
    }

    /// Of a whole ring ciphertext: body minus mask times key.
    pub fn ring_phases(&self, ring: &[u64]) -> Vec<u64> {
        let (mask, body) = ring.split_at(POLYNOMIAL_SIZE);
        let mut phases = body.to_vec();
        for (shift, _) in self
            .0
            .large()
            .as_ref()
            .iter()
            .enumerate()
            .filter(|(_, bit)| **bit == 1)
        {
            for (at, word) in mask.iter().enumerate() {
                match at + shift {
                    to if to < POLYNOMIAL_SIZE => phases[to] = phases[to].wrapping_sub(*word),
                    to => {
                        phases[to - POLYNOMIAL_SIZE] =
                            phases[to - POLYNOMIAL_SIZE].wrapping_add(*word)
                    }
                }
            }
        }
        phases
    }
}

fn dot(a: &[u64], b: &[u64]) -> u64 {
    a.iter()
        .zip(b)
        .fold(0, |sum, (a, b)| sum.wrapping_add(a.wrapping_mul(*b)))
}
