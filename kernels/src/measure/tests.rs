use super::*;
use crate::backend::*;
use crate::testing::card::CpuCard;
use crate::{Accelerated, CpuBackend, Gpus};
use fhe::{EvaluationKey, ParamSet};
use std::sync::Arc;

const SHORT: Duration = Duration::from_millis(1);

fn keys<B: Backend>(backend: &B, count: usize) -> Keys<B> {
    make_keys(backend, count, 2, Instant::now() + Duration::from_secs(600)).unwrap()
}

#[test]
fn results_of_several_keys_are_all_looked_at_and_right() {
    let backend = CpuBackend::new(Some(2)).unwrap();
    let keys = keys(&backend, 3);
    assert_eq!(keys.expanded.len(), 3);
    for (batch, of_keys) in [(1, 1), (5, 3)] {
        let shape = Shape {
            batch,
            keys: of_keys,
        };
        let measured = lookups(&backend, &keys, shape, SHORT).unwrap();
        assert_eq!(measured.mismatches, 0, "{shape:?}");
        assert_eq!(measured.checked, batch * (measured.times.len() + 1));
        assert!(measured.per_second(batch) > 0.0);
    }
    let measured = sums(&backend, &keys, 2, SHORT).unwrap();
    assert_eq!(measured.mismatches, 0);
    assert!(measured.checked >= 2 * SUMS);
}

#[test]
fn keys_are_made_until_their_time_is_over_and_one_at_least() {
    let backend = CpuBackend::new(Some(2)).unwrap();
    let made = make_keys(&backend, 9, 1, Instant::now()).unwrap();
    assert_eq!(made.expanded.len(), 1);
}

/// The CPU's, but for one bit of every result.
struct Wrong(CpuBackend);

impl Backend for Wrong {
    type Key = <CpuBackend as Backend>::Key;

    fn name(&self) -> String {
        "wrong".to_owned()
    }
    fn expand_for(&self, key: &EvaluationKey, set: ParamSet) -> Result<Self::Key, KernelError> {
        self.0.expand_for(key, set)
    }
    fn expanded_bytes(&self, set: ParamSet) -> usize {
        self.0.expanded_bytes(set)
    }
    fn ring_linear(
        &self,
        inputs: &[RingInput<'_>],
        sums: &[RingSum<'_>],
    ) -> Result<LweBatch, KernelError> {
        self.0.ring_linear(inputs, sums)
    }
    fn linear(&self, inputs: &LweBatch, sums: &[LweSum<'_>]) -> Result<LweBatch, KernelError> {
        self.0.linear(inputs, sums).map(spoilt)
    }
    fn hide(
        &self,
        keys: &[Arc<Self::Key>],
        batch: &mut LweBatch,
        flooding: &[u32],
        seed: [u8; 32],
    ) -> Result<(), KernelError> {
        self.0.hide(keys, batch, flooding, seed)
    }
    fn keyswitch(
        &self,
        keys: &[Arc<Self::Key>],
        batch: &LweBatch,
    ) -> Result<SmallBatch, KernelError> {
        self.0.keyswitch(keys, batch)
    }
    fn bootstrap(
        &self,
        keys: &[Arc<Self::Key>],
        batch: &SmallBatch,
        tables: &[&Table],
        uses: &[u32],
        reads: &[Read],
    ) -> Result<LweBatch, KernelError> {
        let out = self.0.bootstrap(keys, batch, tables, uses, reads);
        out.map(spoilt)
    }
}

fn spoilt(mut batch: LweBatch) -> LweBatch {
    for words in batch.words.chunks_exact_mut(fhe::params::LWE_WORDS) {
        words[fhe::params::POLYNOMIAL_SIZE] ^= 1 << 60;
    }
    batch
}

#[test]
fn wrong_results_are_counted() {
    let backend = Wrong(CpuBackend::new(Some(2)).unwrap());
    let keys = keys(&backend, 1);
    let shape = Shape { batch: 2, keys: 1 };
    let measured = lookups(&backend, &keys, shape, SHORT).unwrap();
    assert_eq!(measured.mismatches, measured.checked);
    let measured = sums(&backend, &keys, 1, SHORT).unwrap();
    assert_eq!(measured.mismatches, measured.checked);
}

#[test]
fn a_card_that_holds_fewer_keys_than_a_batch_has_is_measured_too() {
    let card = CpuCard::new(2, 4);
    let gpus = Gpus::new(vec![Box::new(card)], |_| {});
    let backend = Accelerated::new(CpuBackend::new(Some(2)).unwrap(), Some(gpus));
    let keys = keys(&backend, 3);
    let shape = Shape { batch: 6, keys: 3 };
    let measured = lookups(&backend, &keys, shape, SHORT).unwrap();
    assert_eq!((measured.mismatches, measured.checked % 6), (0, 0));
}
