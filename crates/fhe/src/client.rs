//! The client's side of an evaluation: rows to an encrypted request, an encrypted reply to scores.

use edge_types::Digest;
use tfhe::core_crypto::commons::math::random::Seed;
use tfhe::core_crypto::prelude::*;

use crate::entropy::{Entropy, seeder};
use crate::error::{FheError, Thing};
use crate::keys::{ClientKey, KeyId};
use crate::params::{GLWE_NOISE_BOUND_LOG2, LWE_WORDS, POLYNOMIAL_SIZE};
use crate::public::{PublicProgram, Score};
use crate::wire::{Reply, Request};

/// A client's key, with the name under which the gateway knows its evaluation key.
#[derive(Clone, Debug)]
pub struct Client {
    key: ClientKey,
    id: KeyId,
}

/// What the client keeps of a request until its reply is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    pub bytes: Vec<u8>,
    digest: Digest,
    rows: usize,
}

impl Client {
    pub fn new(key: ClientKey, id: KeyId) -> Self {
        Self { key, id }
    }

    pub fn key_id(&self) -> KeyId {
        self.id
    }

    /// Encodes and encrypts clear rows, each in the order of the program's columns.
    pub fn encrypt_rows(
        &self,
        program: &PublicProgram,
        rows: &[impl AsRef<[f64]>],
        entropy: &mut dyn Entropy,
    ) -> Result<Pending, FheError> {
        let encode = |(index, row): (usize, &_)| program.encode(index, AsRef::<[f64]>::as_ref(row));
        let encoded = rows
            .iter()
            .enumerate()
            .map(encode)
            .collect::<Result<Vec<_>, _>>()?;
        self.encrypt(program, &encoded, entropy)
    }

    /// Encodes and encrypts texts, of a program that takes them: one row each.
    pub fn encrypt_texts(
        &self,
        program: &PublicProgram,
        texts: &[impl AsRef<str>],
        entropy: &mut dyn Entropy,
    ) -> Result<Pending, FheError> {
        let encode =
            |(index, text): (usize, &_)| program.encode_text(index, AsRef::<str>::as_ref(text));
        let encoded = texts
            .iter()
            .enumerate()
            .map(encode)
            .collect::<Result<Vec<_>, _>>()?;
        self.encrypt(program, &encoded, entropy)
    }

    /// Encrypts rows of integers that are encoded already.
    pub fn encrypt(
        &self,
        program: &PublicProgram,
        rows: &[Vec<i64>],
        entropy: &mut dyn Entropy,
    ) -> Result<Pending, FheError> {
        if !self.key.set().serves(program.params) {
            return Err(FheError::WrongParams {
                thing: Thing::ClientKey,
                expected: program.params,
                got: self.key.set(),
            });
        }
        let width = program.input_count();
        if let Some((row, values)) = rows
            .iter()
            .enumerate()
            .find(|(_, values)| values.len() != width)
        {
            let reason = format!(
                "{} encoded values, and the program takes {width}",
                values.len()
            );
            return Err(FheError::Row { row, reason });
        }
        let mask_seed = entropy.seed()?;
        let ring = self.encrypt_ring(rows, program.input_step_bits, mask_seed, entropy.seed()?);
        let bodies = ring
            .as_ref()
            .chunks_exact(POLYNOMIAL_SIZE)
            .flat_map(|body| body[..width].to_vec())
            .collect();
        let request = Request::new(
            self.key.set(),
            program.digest,
            self.id,
            mask_seed,
            width,
            program.input_bits,
            bodies,
        )?;
        let bytes = request.to_bytes();
        Ok(Pending {
            digest: Digest::of(&bytes),
            bytes,
            rows: rows.len(),
        })
    }

    fn encrypt_ring(
        &self,
        rows: &[Vec<i64>],
        step_bits: u32,
        mask_seed: u128,
        noise_seed: u128,
    ) -> SeededGlweCiphertextListOwned<u64> {
        let mut plain = vec![0u64; rows.len() * POLYNOMIAL_SIZE];
        for (target, row) in plain.chunks_exact_mut(POLYNOMIAL_SIZE).zip(rows) {
            // Two's complement and the torus agree: a negative value is a turn less.
            target
                .iter_mut()
                .zip(row)
                .for_each(|(word, &value)| *word = (value as u64) << (64 - step_bits));
        }
        let mut list = SeededGlweCiphertextList::new(
            0u64,
            GlweSize(2),
            PolynomialSize(POLYNOMIAL_SIZE),
            GlweCiphertextCount(rows.len()),
            Seed(mask_seed).into(),
            CiphertextModulus::new_native(),
        );
        let noise = DynamicDistribution::new_t_uniform(GLWE_NOISE_BOUND_LOG2);
        let plain = PlaintextList::from_container(plain);
        encrypt_seeded_glwe_ciphertext_list(
            self.key.large(),
            &mut list,
            &plain,
            noise,
            &mut seeder(noise_seed),
        );
        list
    }

    /// Checks that the reply is to this request, of this program and key, and decrypts it: one list of scores per row.
    pub fn decrypt(
        &self,
        program: &PublicProgram,
        pending: &Pending,
        reply: &[u8],
    ) -> Result<Vec<Vec<Score>>, FheError> {
        let reply = Reply::from_bytes(reply)?;
        let header = &reply.header;
        let belongs = [
            (
                header.request == pending.digest,
                "it answers another request",
            ),
            (
                header.program == program.digest,
                "it is of another program, or another version of it",
            ),
            (
                header.version == program.version,
                "it is of another version of the program",
            ),
            (header.key == self.id, "it is encrypted under another key"),
            (header.rows == pending.rows, "it has another number of rows"),
            (
                header.results_per_row == program.result_count(),
                "it has another number of results",
            ),
            (
                header.bits == program.result.bits,
                "its results are rounded otherwise than the program says",
            ),
        ];
        if let Some((_, reason)) = belongs.iter().find(|(holds, _)| !holds) {
            return Err(FheError::mismatch(Thing::Reply, *reason));
        }
        let phases: Vec<u64> = reply
            .ciphertexts()
            .map(|words| self.phase(&words))
            .collect();
        Ok(phases
            .chunks(header.results_per_row)
            .map(|row| program.scores(row))
            .collect())
    }

    /// Body minus the product of mask and key: the plaintext and its noise.
    fn phase(&self, ciphertext: &[u64]) -> u64 {
        let (mask, body) = ciphertext.split_at(LWE_WORDS - 1);
        let key = self.key.large();
        let product = mask
            .iter()
            .zip(key.as_ref())
            .fold(0u64, |sum, (a, s)| sum.wrapping_add(a.wrapping_mul(*s)));
        body[0].wrapping_sub(product)
    }
}
