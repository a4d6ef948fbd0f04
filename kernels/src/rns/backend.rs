//! The `cpu` backend with this rotation in place of its own: the reference that other devices are held against.

use std::sync::Arc;

use fhe::{EvaluationKey, ParamSet};
use rayon::prelude::*;

use super::key::RnsKey;
use super::rotation::rotate;
use crate::backend::*;
use crate::cpu::{CpuBackend, CpuKey, Switched, check_lookups};

pub struct RnsBackend {
    cpu: CpuBackend,
}

pub struct RnsCpuKey {
    cpu: Arc<CpuKey>,
    rotation: Option<RnsKey>,
}

impl RnsBackend {
    pub fn new(cpu: CpuBackend) -> Self {
        Self { cpu }
    }
}

fn of_cpu(keys: &[Arc<RnsCpuKey>]) -> Vec<Arc<CpuKey>> {
    keys.iter().map(|key| key.cpu.clone()).collect()
}

impl Backend for RnsBackend {
    type Key = RnsCpuKey;

    fn name(&self) -> String {
        format!("reference, exact, {} threads", self.cpu.threads())
    }

    fn expand_for(&self, key: &EvaluationKey, needed: ParamSet) -> Result<RnsCpuKey, KernelError> {
        let rotation = match needed {
            ParamSet::Linear => None,
            ParamSet::Bootstrap => {
                let standard = key.bootstrap()?.par_decompress_into_lwe_bootstrap_key();
                Some(self.cpu.install(|| RnsKey::new(standard.as_ref())))
            }
        };
        Ok(RnsCpuKey {
            cpu: Arc::new(self.cpu.expand_for(key, needed)?),
            rotation,
        })
    }

    fn expanded_bytes(&self, needed: ParamSet) -> usize {
        let rotation = match needed {
            ParamSet::Linear => 0,
            ParamSet::Bootstrap => RnsKey::BYTES,
        };
        self.cpu.expanded_bytes(needed) + rotation
    }

    fn ring_linear(
        &self,
        inputs: &[RingInput<'_>],
        sums: &[RingSum<'_>],
    ) -> Result<LweBatch, KernelError> {
        self.cpu.ring_linear(inputs, sums)
    }

    fn linear(&self, inputs: &LweBatch, sums: &[LweSum<'_>]) -> Result<LweBatch, KernelError> {
        self.cpu.linear(inputs, sums)
    }

    fn hide(
        &self,
        keys: &[Arc<RnsCpuKey>],
        batch: &mut LweBatch,
        flooding: &[u32],
        seed: [u8; 32],
    ) -> Result<(), KernelError> {
        self.cpu.hide(&of_cpu(keys), batch, flooding, seed)
    }

    fn keyswitch(
        &self,
        keys: &[Arc<RnsCpuKey>],
        batch: &LweBatch,
    ) -> Result<SmallBatch, KernelError> {
        self.cpu.keyswitch(&of_cpu(keys), batch)
    }

    fn bootstrap(
        &self,
        keys: &[Arc<RnsCpuKey>],
        batch: &SmallBatch,
        tables: &[&Table],
        uses: &[u32],
        reads: &[Read],
    ) -> Result<LweBatch, KernelError> {
        let of_input = check_lookups(batch, tables, uses, reads)?;
        let one = |input: usize| -> Result<Vec<u64>, KernelError> {
            let key = keys
                .get(batch.keys[input] as usize)
                .ok_or(KernelError::Shape("there is no such key"))?;
            let key = key.rotation.as_ref().ok_or(KernelError::NoBootstrapKey)?;
            let table = tables[uses[input] as usize];
            let switched = Switched::new(batch.ciphertext(input));
            let turned = rotate(key, &table.polynomial(), switched.turns(), switched.body());
            let wanted = reads[of_input[input].clone()].iter();
            Ok(wanted
                .flat_map(|read| {
                    let words = turned.extract(read.coefficient as usize);
                    words.map(|word| read.kept(word))
                })
                .collect())
        };
        let parts: Vec<Vec<u64>> = self.cpu.install(|| {
            let all = (0..batch.len()).into_par_iter();
            all.map(one).collect::<Result<_, KernelError>>()
        })?;
        let keys = reads.iter().map(|read| batch.keys[read.input as usize]);
        Ok(LweBatch {
            keys: keys.collect(),
            words: parts.concat(),
        })
    }
}
