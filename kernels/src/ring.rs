//! The masks of seeded ring ciphertexts: expanded here, because a client sends only their seed.

use fhe::Request;
use fhe::params::POLYNOMIAL_SIZE;
use tfhe::core_crypto::commons::math::random::Seed;
use tfhe::core_crypto::prelude::*;

/// One mask of 2048 words for each row of the request, row after row, as the client's generator made them.
pub(crate) fn expand_masks(request: &Request) -> Vec<u64> {
    let bodies = vec![0u64; request.rows() * POLYNOMIAL_SIZE];
    let seeded = SeededGlweCiphertextList::from_container(
        bodies,
        GlweSize(2),
        PolynomialSize(POLYNOMIAL_SIZE),
        Seed(request.seed).into(),
        CiphertextModulus::new_native(),
    );
    let full = seeded
        .decompress_into_glwe_ciphertext_list()
        .into_container();
    full.chunks_exact(2 * POLYNOMIAL_SIZE)
        .flat_map(|glwe| &glwe[..POLYNOMIAL_SIZE])
        .copied()
        .collect()
}
