//! Keyswitch and bootstrap: random messages, random tables, every result decrypted.

use std::time::{Duration, Instant};

use fhe::OsEntropy;

use super::secret::{Random, encrypt, nearest, phase};
use super::{Keys, MeasureError, Measured, repeat};
use crate::backend::{Backend, LweBatch, Read, Table, Timings};

/// What a lookup reads, below the padding bit.
const BITS: u32 = 4;
/// Of what it gives: in units of 2^-5 of the torus, below a padding bit too.
const STEP_BITS: u32 = BITS + 1;
/// As a layer of a model has several.
const TABLES: usize = 8;
/// Different ciphertexts, however few one call takes.
const POOL: usize = 64;

/// Of a call.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub batch: usize,
    /// Distinct keys, each of as many ciphertexts as the others or one more.
    pub keys: usize,
}

struct Pool {
    inputs: LweBatch,
    uses: Vec<u32>,
    /// What each should give.
    meant: Vec<u64>,
}

fn pool<B: Backend>(
    keys: &Keys<B>,
    shape: Shape,
    tables: &[Vec<i64>],
    random: &mut Random,
) -> Pool {
    let mut pool = Pool {
        inputs: LweBatch::default(),
        uses: Vec::new(),
        meant: Vec::new(),
    };
    for index in 0..shape.batch.max(POOL).next_multiple_of(shape.batch) {
        let key = index % shape.batch % shape.keys;
        let message = random.below(1 << BITS);
        let table = random.below(tables.len() as u64);
        let plain = message << (63 - BITS);
        encrypt(keys.client(key), plain, random, &mut pool.inputs.words);
        pool.inputs.keys.push(key as u32);
        pool.uses.push(table as u32);
        pool.meant
            .push(tables[table as usize][message as usize] as u64);
    }
    pool
}

/// Calls of this shape for about so long, and one at least.
pub fn lookups<B: Backend>(
    backend: &B,
    keys: &Keys<B>,
    shape: Shape,
    length: Duration,
) -> Result<Measured, MeasureError> {
    let mut random = Random::new(&mut OsEntropy)?;
    let mut entry = |_| random.below(1 << BITS) as i64;
    let tables: Vec<Vec<i64>> = (0..TABLES)
        .map(|_| (0..1 << BITS).map(&mut entry).collect())
        .collect();
    let pool = pool(keys, shape, &tables, &mut random);
    let tables: Vec<Table> = tables
        .iter()
        .map(|entries| Table::new(entries, STEP_BITS))
        .collect::<Result<_, _>>()?;
    let tables: Vec<&Table> = tables.iter().collect();
    let reads = Read::plain(shape.batch);
    let parts = pool.uses.len() / shape.batch;
    let mut turn = 0;
    repeat(length, || {
        let part = turn % parts * shape.batch..(turn % parts + 1) * shape.batch;
        turn += 1;
        let batch = LweBatch {
            words: (part.clone())
                .flat_map(|index| pool.inputs.ciphertext(index))
                .copied()
                .collect(),
            keys: pool.inputs.keys[part.clone()].to_vec(),
        };
        let mut timings = Timings::default();
        let uses = &pool.uses[part.clone()];
        let began = Instant::now();
        let expanded = &keys.expanded[..shape.keys];
        let out = backend.look_up(expanded, &batch, &tables, uses, &reads, &mut timings)?;
        let took = began.elapsed();
        let is_wrong = |&at: &usize| {
            let client = keys.client(batch.keys[at] as usize);
            let found = nearest(phase(client, out.ciphertext(at)), STEP_BITS);
            found != pool.meant[part.start + at]
        };
        let wrong = (0..shape.batch).filter(is_wrong).count();
        Ok((took, shape.batch, wrong))
    })
}
