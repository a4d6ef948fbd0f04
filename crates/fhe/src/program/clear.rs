//! The program in the clear: the definition of the right result.

use super::{Program, nearest_residue};

impl Program {
    /// The integers that an encrypted evaluation of these inputs decrypts to (but for the noise of rounded results).
    /// `None` if `inputs` does not fit the program: too many or too few, or outside of what its intervals allow.
    pub fn evaluate_clear(&self, inputs: &[i64]) -> Option<Vec<i64>> {
        if inputs.len() != self.input_count() {
            return None;
        }
        let mut values = inputs.to_vec();
        for round in self.rounds() {
            values = round
                .sums
                .iter()
                .map(|sum| {
                    let product = |&(input, weight): &(u32, i64)| {
                        weight.checked_mul(*values.get(input as usize)?)
                    };
                    let mut terms = sum.terms.iter().map(product);
                    terms.try_fold(sum.bias, |total, term| total.checked_add(term?))
                })
                .collect::<Option<_>>()?;
            let Some(lookup) = &round.lookup else {
                continue;
            };
            let read = |(sum, shift): (u32, u32)| {
                let entry = lookup.entry_at(*values.get(sum as usize)?);
                let table = lookup
                    .tables
                    .get(*lookup.uses.get(sum as usize)? as usize)?;
                table
                    .get(usize::try_from(entry).ok()? + shift as usize)
                    .copied()
            };
            values = lookup.reads().map(read).collect::<Option<_>>()?;
        }
        if self.file.result.wraps {
            let bits = self.result_step_bits();
            for value in &mut values {
                *value = nearest_residue(*value, bits);
            }
        }
        Some(values)
    }
}
