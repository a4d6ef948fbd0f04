//! How work is cut for kernels: pure functions.

use std::ops::Range;

use super::args::{SumGroup, Tile};
use crate::backend::LweSum;
use crate::device::Task;

/// Ciphertexts of a tile of each keyswitch kernel.
pub const TILE_SIZES: [usize; 3] = [1, 8, 32];

/// Tiles for each of [`TILE_SIZES`], for ciphertexts with these keys. Every tile streams its key's part once, and computes
/// for all ciphertexts that it could have.
pub fn tiles(keys: &[u32]) -> [Vec<Tile>; 3] {
    let mut tiles = [const { Vec::new() }; 3];
    let mut first = 0;
    for group in keys.chunk_by(|a, b| a == b) {
        let mut rest = group.len();
        while rest > 0 {
            let size = match rest {
                1 => 0,
                2..=16 => 1,
                _ => 2,
            };
            let count = rest.min(TILE_SIZES[size]);
            tiles[size].push(Tile {
                first: first as u32,
                count: count as u32,
                key: group[0],
            });
            (first, rest) = (first + count, rest - count);
        }
    }
    tiles
}

/// Blocks across the columns of a keyswitch key.
pub const COLUMN_BLOCKS: usize = 4;

/// Words of a mask for each block of a keyswitch, so that so many tiles keep this many multiprocessors busy.
pub fn keyswitch_words(tiles: usize, multiprocessors: usize) -> usize {
    // Blocks for each multiprocessor: enough for their ends not to matter.
    let wanted = 8 * multiprocessors;
    let mut words = fhe::params::POLYNOMIAL_SIZE;
    let blocks = |words| tiles * COLUMN_BLOCKS * fhe::params::POLYNOMIAL_SIZE / words;
    while words > 32 && blocks(words) < wanted {
        words /= 2;
    }
    words
}

/// Blocks for each group of sums: 256 words each.
pub const LINEAR_BLOCKS: usize = fhe::params::LWE_WORDS.div_ceil(256);

/// Sums of a group.
pub const TOGETHER: usize = 8;

/// A matrix as the linear kernel reads it.
#[derive(Debug, Default)]
pub struct Matrix {
    pub groups: Vec<SumGroup>,
    pub inputs: Vec<u32>,
    pub weights: Vec<u64>,
    pub constants: Vec<u64>,
}

/// Puts sums together that follow one another and are over the same ciphertexts; these are numbered from `first_input` on.
pub fn matrix(sums: &[LweSum<'_>], first_input: usize) -> Matrix {
    let inputs = |sum: &LweSum<'_>| {
        let terms = sum.terms.iter();
        let index = |input: &u32| (sum.base + *input as usize - first_input) as u32;
        terms.map(|(input, _)| index(input)).collect::<Vec<u32>>()
    };
    let same = |a: &LweSum<'_>, b: &LweSum<'_>| {
        let mut pairs = a.terms.iter().zip(b.terms);
        a.base == b.base && a.terms.len() == b.terms.len() && pairs.all(|((a, _), (b, _))| a == b)
    };
    let mut matrix = Matrix::default();
    let mut first_sum = 0;
    let chunks = sums.chunk_by(same).flat_map(|group| group.chunks(TOGETHER));
    for group in chunks {
        matrix.groups.push(SumGroup {
            inputs: matrix.inputs.len() as u64,
            weights: matrix.weights.len() as u64,
            terms: group[0].terms.len() as u32,
            first_sum,
            sums: group.len() as u32,
            unused: 0,
        });
        first_sum += group.len() as u32;
        matrix.inputs.extend(inputs(&group[0]));
        for term in 0..group[0].terms.len() {
            let weights = group.iter().map(|sum| sum.terms[term].1 as u64);
            let padding = std::iter::repeat_n(0, TOGETHER - group.len());
            matrix.weights.extend(weights.chain(padding));
        }
        let constants = group.iter().map(|sum| sum.constant);
        matrix.constants.extend(constants);
    }
    matrix
}

/// Sums that are computed together, and the ciphertexts that they are over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SumPiece {
    pub sums: Range<usize>,
    pub inputs: Range<usize>,
}

/// Sums in pieces of at most so many, over at most so many ciphertexts, whose lists take at most so many words. `None`: one alone
/// is more than that.
pub fn sum_pieces(
    sums: &[LweSum<'_>],
    most_inputs: usize,
    most_sums: usize,
    most_words: usize,
) -> Option<Vec<SumPiece>> {
    let mut pieces: Vec<SumPiece> = Vec::new();
    let mut words = 0;
    for (index, sum) in sums.iter().enumerate() {
        let places = sum
            .terms
            .iter()
            .map(|(input, _)| sum.base + *input as usize);
        // A sum of nothing is over whatever is there.
        let there = pieces.last().map_or(0, |last| last.inputs.start);
        let first = places.clone().min().unwrap_or(there);
        let end = places.max().map_or(first, |last| last + 1);
        // A group of its own, at worst.
        let own = 6 + sum.terms.len() * (TOGETHER + 1);
        if end - first > most_inputs || own > most_words {
            return None;
        }
        if let Some(last) = pieces.last_mut() {
            let inputs = last.inputs.start.min(first)..last.inputs.end.max(end);
            let fits = inputs.len() <= most_inputs
                && last.sums.len() < most_sums
                && words + own <= most_words;
            if fits {
                words += own;
                last.sums.end = index + 1;
                last.inputs = inputs;
                continue;
            }
        }
        words = own;
        pieces.push(SumPiece {
            sums: index..index + 1,
            inputs: first..end,
        });
    }
    Some(pieces)
}

/// Tasks in pieces of at most so many ciphertexts and so many results.
pub fn pieces<In, Out>(
    tasks: &[Task<'_, In, Out>],
    ciphertexts: usize,
    most_results: usize,
) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let (mut start, mut results) = (0, 0);
    for (index, task) in tasks.iter().enumerate() {
        if index - start == ciphertexts || results + task.reads.len() > most_results {
            pieces.push(start..index);
            (start, results) = (index, 0);
        }
        results += task.reads.len();
    }
    if start < tasks.len() {
        pieces.push(start..tasks.len());
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_of_one_key_and_as_large_as_their_ciphertexts_are_many() {
        let keys: Vec<u32> = [vec![7; 1], vec![3; 40], vec![9; 17], vec![2; 10]].concat();
        let [ones, eights, full] = tiles(&keys);
        let tile = |first, count, key| Tile { first, count, key };
        assert_eq!(ones, [tile(0, 1, 7)]);
        assert_eq!(eights, [tile(33, 8, 3), tile(58, 8, 2), tile(66, 2, 2)]);
        assert_eq!(full, [tile(1, 32, 3), tile(41, 17, 9)]);
        assert!(tiles(&[]).iter().all(Vec::is_empty));
    }

    #[test]
    fn few_tiles_are_cut_into_more_blocks() {
        assert_eq!(keyswitch_words(1, 132), 32);
        assert_eq!(keyswitch_words(32, 132), 128);
        assert_eq!(keyswitch_words(1000, 132), 2048);
        assert_eq!(keyswitch_words(1, 1), 1024);
    }

    #[test]
    fn sums_over_the_same_ciphertexts_are_together_and_others_are_not() {
        let rows = [[(0u32, 1i64), (2, -1)], [(0, 5), (2, 6)], [(1, 7), (2, 8)]];
        let sum = |base, row: usize| LweSum {
            base,
            terms: &rows[row],
            constant: row as u64,
            key: 0,
        };
        let sums = [sum(0, 0), sum(0, 1), sum(0, 2), sum(4, 0)];
        let matrix = matrix(&sums, 0);
        assert_eq!(matrix.inputs, [0, 2, 1, 2, 4, 6]);
        assert_eq!(matrix.constants, [0, 1, 2, 0]);
        let of: Vec<(u64, u64, u32, u32)> = matrix
            .groups
            .iter()
            .map(|group| (group.inputs, group.weights, group.first_sum, group.sums))
            .collect();
        assert_eq!(of, [(0, 0, 0, 2), (2, 16, 2, 1), (4, 32, 3, 1)]);
        assert_eq!(matrix.weights[..2], [1, 5]);
        assert_eq!(matrix.weights[8..10], [u64::MAX, 6]);
        assert_eq!(matrix.weights.len(), 48);
    }

    #[test]
    fn sums_are_cut_where_their_ciphertexts_are_too_many() {
        let terms: Vec<(u32, i64)> = vec![(0, 1), (3, 1)];
        let sum = |base| LweSum {
            base,
            terms: &terms,
            constant: 0,
            key: 0,
        };
        let sums = [sum(0), sum(0), sum(4), sum(100), sum(1)];
        let piece = |sums, inputs| SumPiece { sums, inputs };
        let all = |inputs, most, words| sum_pieces(&sums, inputs, most, words);
        assert_eq!(
            all(8, 9, 1000),
            Some(vec![
                piece(0..3, 0..8),
                piece(3..4, 100..104),
                piece(4..5, 1..5)
            ])
        );
        assert_eq!(all(200, 9, 1000), Some(vec![piece(0..5, 0..104)]));
        assert_eq!(all(200, 3, 1000).unwrap().len(), 2);
        assert_eq!(all(200, 9, 50).unwrap().len(), 3);
        assert_eq!(all(3, 9, 1000), None);
        assert_eq!(all(200, 9, 20), None);
        assert_eq!(sum_pieces(&[], 1, 1, 1), Some(vec![]));
        let nothing = LweSum {
            base: 99,
            terms: &[],
            constant: 0,
            key: 0,
        };
        assert_eq!(
            sum_pieces(&[nothing, sum(0)], 4, 9, 1000),
            Some(vec![piece(0..2, 0..4)])
        );
    }

    #[test]
    fn pieces_hold_no_more_inputs_and_results_than_they_may() {
        let read = crate::Read {
            input: 0,
            coefficient: 0,
            keep: crate::Read::WHOLE,
        };
        let reads = [read; 4];
        let cut = |counts: &[usize], most| {
            let tasks: Vec<Task<'_, u64, u64>> = counts
                .iter()
                .map(|&count| Task {
                    index: 0,
                    input: &[],
                    key: 0,
                    table: 0,
                    reads: &reads[..count],
                    out: &mut [],
                })
                .collect();
            pieces(&tasks, most, most)
        };
        assert_eq!(cut(&[1, 1, 1, 1, 1], 2), [0..2, 2..4, 4..5]);
        assert_eq!(cut(&[3, 2, 1, 1, 4], 4), [0..1, 1..4, 4..5]);
        assert_eq!(cut(&[0, 0, 0], 2), [0..2, 2..3]);
        assert_eq!(cut(&[], 2), []);
    }
}
