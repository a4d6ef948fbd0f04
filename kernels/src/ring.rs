//! The masks of seeded ring ciphertexts: expanded here, because a client sends only their seed.

use std::ops::Range;

use fhe::Request;
use fhe::params::POLYNOMIAL_SIZE;
use tfhe::core_crypto::commons::math::random::{RandomGenerator, Seed};
use tfhe::core_crypto::prelude::DefaultRandomGenerator;

use crate::backend::KernelError;

const MASK_BYTES: usize = POLYNOMIAL_SIZE * 8;

/// One mask of 2048 words for each of these rows of the request, row after row, as the client's generator made them. The
/// generator counts, so that rows before them cost nothing.
pub(crate) fn expand_masks(request: &Request, rows: Range<usize>) -> Result<Vec<u64>, KernelError> {
    let mut masks = vec![0; rows.len() * POLYNOMIAL_SIZE];
    let mut generator = RandomGenerator::<DefaultRandomGenerator>::new(Seed(request.seed));
    let children = generator.try_fork(request.rows(), MASK_BYTES);
    let children = children.map_err(|_| KernelError::Shape("a request of no rows"))?;
    let of_rows = children.skip(rows.start);
    for (mask, mut child) in masks.chunks_exact_mut(POLYNOMIAL_SIZE).zip(of_rows) {
        child.fill_slice_with_random_uniform(mask);
    }
    Ok(masks)
}

#[cfg(test)]
mod tests {
    use edge_types::Digest;
    use fhe::{KeyId, ParamSet};
    use tfhe::core_crypto::prelude::*;

    use super::*;

    /// As the library that clients encrypt with expands them.
    fn by_the_library(request: &Request) -> Vec<u64> {
        let seeded = SeededGlweCiphertextList::from_container(
            vec![0u64; request.rows() * POLYNOMIAL_SIZE],
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

    #[test]
    fn rows_have_the_masks_that_the_client_made_wherever_one_begins() {
        let (digest, key) = (Digest([1; 32]), KeyId(Digest([2; 32])));
        let request = Request::new(ParamSet::Linear, digest, key, 77, 1, 30, vec![0; 9]).unwrap();
        let all = by_the_library(&request);
        for rows in [0..9, 0..1, 3..7, 8..9] {
            let part = &all[rows.start * POLYNOMIAL_SIZE..rows.end * POLYNOMIAL_SIZE];
            let masks = expand_masks(&request, rows.clone()).unwrap();
            assert!(masks == part, "{rows:?}");
        }
    }
}
