//! What a program comes to under encryption, without encrypting: noise of the predicted size, drawn from a seed.

use fhe::noise;
use fhe::program::{Lookup, Precision};
use fhe::{Program, PublicProgram, Score};

/// Normally distributed numbers from a seed: SplitMix64, then Box and Muller's transform.
pub(crate) struct Normal {
    state: u64,
}

impl Normal {
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Above 0, at most 1.
    fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        ((z >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    pub fn next(&mut self, sd: f64) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        sd * radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

/// The scores that one row of encoded inputs decrypts to, for one draw of the noise.
pub(crate) fn scores(
    program: &Program,
    public: &PublicProgram,
    inputs: &[i64],
    normal: &mut Normal,
) -> Vec<Score> {
    let fresh = (noise::fresh() + noise::body_rounding(public.input_bits)).sqrt();
    let unit = |step_bits: u32| 2f64.powi(step_bits as i32);
    let sd = fresh * unit(public.input_step_bits);
    let mut values: Vec<f64> = inputs.iter().map(|&v| v as f64 + normal.next(sd)).collect();
    let switched = (noise::keyswitch() + noise::modulus_switch()).sqrt();
    let looked_up = noise::bootstrapped().sqrt();
    for (index, round) in program.rounds().iter().enumerate() {
        let sum = |sum: &fhe::program::Sum| {
            let terms = sum.terms.iter();
            let terms = terms.map(|&(input, weight)| values[input as usize] * weight as f64);
            terms.sum::<f64>() + sum.bias as f64
        };
        let sums: Vec<f64> = round.sums.iter().map(sum).collect();
        let Some(lookup) = &round.lookup else {
            values = sums;
            continue;
        };
        let (read, out) = (
            switched * unit(program.step_bits(index)),
            looked_up * unit(lookup.step_bits),
        );
        let mut look = |(at, shift): (u32, u32)| {
            let noise = match lookup.precision {
                Precision::Exact => 0.0,
                Precision::Rounded => normal.next(read),
            };
            let entry = entry(lookup, sums[at as usize] + noise, shift);
            let table = &lookup.tables[lookup.uses[at as usize] as usize];
            table[entry] as f64 + normal.next(out)
        };
        values = lookup.reads().map(&mut look).collect();
    }
    let sent = noise::result_rounding(public.result.bits).sqrt() * unit(public.result_step_bits);
    let results: Vec<u64> = values
        .iter()
        .map(|value| {
            // To the torus and back: a result that wraps is seen to wrap.
            let turns = (value + normal.next(sent)) / unit(public.result_step_bits);
            ((turns - turns.floor()) * 2f64.powi(64)) as u64
        })
        .collect();
    public.scores(&results)
}

fn entry(lookup: &Lookup, sum: f64, shift: u32) -> usize {
    let last = (1usize << lookup.bits) - 1;
    // `as` saturates at zero; the padding bit keeps everything else within the table.
    let at = (sum / 2f64.powi(lookup.fraction_bits as i32)).round() as usize;
    (at + shift as usize).min(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_normal() {
        let mut normal = Normal::new(1);
        let drawn: Vec<f64> = (0..20_000).map(|_| normal.next(3.0)).collect();
        let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
        let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / drawn.len() as f64;
        assert!(mean.abs() < 0.1, "{mean}");
        assert!((variance - 9.0).abs() < 0.4, "{variance}");
    }
}
