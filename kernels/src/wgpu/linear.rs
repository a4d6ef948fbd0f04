//! Sums of weighted ciphertexts on the device.

use bytemuck::{Pod, Zeroable};
use fhe::params::LWE_WORDS;

use super::gpu::Gpu;
use super::memory::TERMS;
use crate::backend::{LweBatch, LweSum};
use crate::device::DeviceError;
use crate::wgsl::THREADS;

/// As linear.wgsl has them.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Row {
    constant: u64,
    sum: u32,
    first: u32,
    end: u32,
    more: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Term {
    weight: u64,
    input: u32,
    spare: u32,
}

/// What one dispatch computes.
#[derive(Default)]
struct Part {
    rows: Vec<Row>,
    terms: Vec<Term>,
}

/// Sums in parts whose terms have room together. One with more terms than that is in several parts.
fn parts(sums: &[LweSum<'_>], room: usize) -> Vec<Part> {
    let mut parts = vec![Part::default()];
    for (index, sum) in sums.iter().enumerate() {
        let mut rest = sum.terms;
        let mut more = 0;
        loop {
            let last = parts.len() - 1;
            let part = &mut parts[last];
            let (taken, left) = rest.split_at(rest.len().min(room - part.terms.len()));
            let first = part.terms.len() as u32;
            part.terms.extend(taken.iter().map(|&(input, weight)| Term {
                weight: weight as u64,
                input: sum.base as u32 + input,
                spare: 0,
            }));
            part.rows.push(Row {
                constant: sum.constant,
                sum: index as u32,
                first,
                end: part.terms.len() as u32,
                more,
            });
            if left.is_empty() {
                break;
            }
            (rest, more) = (left, 1);
            parts.push(Part::default());
        }
    }
    parts
}

pub fn sums(
    gpu: &Gpu,
    inputs: &LweBatch,
    sums: &[LweSum<'_>],
    out: &mut [u64],
) -> Result<(), DeviceError> {
    if sums.is_empty() {
        return Ok(());
    }
    gpu.write(&gpu.buffers.inputs, [&inputs.words[..]].into_iter())?;
    let mut encoder = gpu.encoder();
    for (index, part) in parts(sums, TERMS).iter().enumerate() {
        // What is written goes before what is submitted: parts before must be on their way.
        if index > 0 {
            gpu.submit(std::mem::replace(&mut encoder, gpu.encoder()));
        }
        gpu.write(&gpu.buffers.rows, [&part.rows[..]].into_iter())?;
        gpu.write(&gpu.buffers.terms, [&part.terms[..]].into_iter())?;
        let groups = [LWE_WORDS.div_ceil(THREADS), part.rows.len(), 1];
        let mut pass = Gpu::pass(&mut encoder);
        gpu.pipelines
            .linear
            .dispatch(&gpu.receipt, &mut pass, &gpu.bound.linear, &[], groups);
    }
    let words = sums.len() * LWE_WORDS;
    gpu.finish(encoder, &gpu.buffers.results, words, |results: &[u64]| {
        out[..words].copy_from_slice(results);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_with_many_terms_go_in_parts() {
        let terms: Vec<(u32, i64)> = (0..7).map(|i| (i, 1)).collect();
        let sum = |len: usize| LweSum {
            base: 10,
            terms: &terms[..len],
            constant: 5,
            key: 0,
        };
        let parts = parts(&[sum(3), sum(0), sum(7), sum(1)], 4);
        let rows: Vec<Vec<_>> = parts
            .iter()
            .map(|part| {
                part.rows
                    .iter()
                    .map(|r| (r.sum, r.first, r.end, r.more))
                    .collect()
            })
            .collect();
        let expected = [
            vec![(0, 0, 3, 0), (1, 3, 3, 0), (2, 3, 4, 0)],
            vec![(2, 0, 4, 1)],
            vec![(2, 0, 2, 1), (3, 2, 3, 0)],
        ];
        assert_eq!(rows, expected);
        let inputs = parts
            .iter()
            .flat_map(|part| part.terms.iter().map(|t| t.input));
        assert_eq!(
            inputs.collect::<Vec<_>>(),
            [10, 11, 12, 10, 11, 12, 13, 14, 15, 16, 10]
        );
    }
}
