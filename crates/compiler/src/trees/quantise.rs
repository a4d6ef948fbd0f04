//! From tables of real numbers to tables of integers whose sums are exact under noise.
//!
//! A score is the sum of *outputs*, one for each lookup that adds to it, in as many *parts* as it takes: each part is one
//! result. More outputs in a part are more noise and a wider range, both of which cost bits of resolution.

use fhe::noise;

/// Of each output, what it adds at each entry, and how often calibration rows read that entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    pub values: Vec<f64>,
    pub counts: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// (output, 1 or -1).
    pub terms: Vec<(usize, i64)>,
    pub bias: i64,
}

/// Of one score: unit · (sum of its parts) + offset.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    pub parts: Vec<Part>,
    pub unit: f64,
    pub offset: f64,
    /// How far it can be from the score that it stands for.
    pub bound: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Quantised {
    pub step_bits: u32,
    /// Of each output.
    pub tables: Vec<Vec<i64>>,
    pub scores: Vec<Score>,
    /// Whether the results, and a score's sum of them, are to be read modulo 2^step_bits.
    pub wraps: bool,
}

impl Quantised {
    /// Whether every table entry, and every sum of them that a result can be, is its own residue modulo 2^step_bits.
    pub fn stays_inside(&self) -> bool {
        // Not the least residue: with a little noise it is read as the greatest.
        let half = 1i64 << (self.step_bits - 1);
        let inside = |part: &Part| {
            let (low, high) = part.ends(|output| &self.tables[output]);
            -half < part.bias + low && part.bias + high < half
        };
        let mut entries = self.tables.iter().flatten();
        let mut parts = self.scores.iter().flat_map(|score| &score.parts);
        entries.all(|entry| (-half..half).contains(entry)) && parts.all(inside)
    }
}

impl Part {
    /// The least and the greatest sum of its terms.
    fn ends<'a>(&self, table: impl Fn(usize) -> &'a [i64]) -> (i64, i64) {
        let ends = self.terms.iter().map(|&(output, sign)| {
            let values = table(output).iter().map(|v| v * sign);
            (values.clone().min().unwrap_or(0), values.max().unwrap_or(0))
        });
        ends.fold((0, 0), |sum, ends| (sum.0 + ends.0, sum.1 + ends.1))
    }
}

/// The finest unit for a sum of `outputs` outputs that is read exactly, in bits of the torus.
pub fn finest_step(outputs: usize) -> u32 {
    let variance = outputs as f64 * noise::bootstrapped();
    let variance = variance + noise::result_rounding(*fhe::program::RESULT_BITS.end());
    let exact = |bits: &u32| {
        noise::log2_p_fail(variance, 2f64.powi(-(*bits as i32) - 1)) <= fhe::params::MAX_LOG2_P_FAIL
    };
    (1..=fhe::program::MAX_STEP_BITS)
        .rev()
        .find(exact)
        .unwrap_or(1)
}

/// One table in integers.
struct Rounded {
    table: Vec<i64>,
    /// What its integers, times the unit, have to be moved by; on the average over the calibration rows.
    offset: f64,
    /// How far an entry can still be off.
    bound: f64,
}

impl Rounded {
    fn width(&self) -> i64 {
        let most = self.table.iter().max().copied().unwrap_or(0);
        most - self.table.iter().min().copied().unwrap_or(0)
    }
}

/// Places of the grid, between two integers, that are tried.
const GRID: u32 = 8;

impl Output {
    fn ends(&self) -> (f64, f64) {
        let low = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = self
            .values
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max);
        (low, high)
    }

    /// With the integers laid where the values, weighted by how often they are read, lie nearest to them.
    fn rounded(&self, unit: f64) -> Rounded {
        let (low, high) = self.ends();
        debug_assert!(low <= high && unit > 0.0);
        let tried = (0..GRID).map(|at| {
            let zero = low + unit * f64::from(at) / f64::from(GRID);
            self.rounded_around(zero, unit)
        });
        let best = tried.reduce(|best, next| match next.1 < best.1 {
            true => next,
            false => best,
        });
        best.map_or_else(|| self.rounded_around(low, unit).0, |best| best.0)
    }

    fn rounded_around(&self, zero: f64, unit: f64) -> (Rounded, f64) {
        let round = |value: &f64| ((value - zero) / unit).round() as i64;
        let mut table: Vec<i64> = self.values.iter().map(round).collect();
        // As far below 0 as above it, or one more.
        let low = table.iter().min().copied().unwrap_or(0);
        let high = table.iter().max().copied().unwrap_or(0);
        let middle = (low + high + 1).div_euclid(2);
        for integer in &mut table {
            *integer -= middle;
        }
        let left: Vec<f64> = self
            .values
            .iter()
            .zip(&table)
            .map(|(value, integer)| value - unit * *integer as f64)
            .collect();
        // What no row has read may be read all the same.
        let weights: Vec<f64> = self
            .counts
            .iter()
            .map(|count| *count as f64 + 0.5)
            .collect();
        let total: f64 = weights.iter().sum();
        let mean = left.iter().zip(&weights).map(|(l, w)| l * w).sum::<f64>() / total;
        // Numbers that are whole stay so.
        let same = left.iter().all(|value| *value == left[0]);
        let offset = if same { left[0] } else { mean };
        let error = left.iter().zip(&weights);
        let error = error.map(|(l, w)| w * (l - offset).powi(2)).sum::<f64>() / total;
        let bound = left.iter().map(|l| (l - offset).abs()).fold(0.0, f64::max);
        let rounded = Rounded {
            table,
            offset,
            bound,
        };
        (rounded, error)
    }
}

/// What an integer counts in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unit {
    Fixed(f64),
    /// The finest that fits each score, so many times.
    Finest {
        times: f64,
    },
}

/// Multiples of the finest unit: that one may lie badly between the values, and a slightly coarser one well.
pub fn units() -> impl Iterator<Item = Unit> {
    /// A twentieth of a unit is seen in every tenth value or so.
    const STEP: f64 = 1.02;
    (0..).map(|step| Unit::Finest {
        times: STEP.powi(step),
    })
}

/// How many of them are tried.
pub const UNITS: usize = 12;

/// Each score as a sum of outputs with their signs, and what is added to all rows.
pub struct Sums {
    pub terms: Vec<Vec<(usize, i64)>>,
    pub base: Vec<f64>,
    /// Whether all scores must have one unit: where one of them is found from the others.
    pub one_unit: bool,
    /// Whether that one is the last of these.
    pub last_follows: bool,
}

impl Sums {
    /// The scores of a row that reads these entries, before rounding.
    pub fn scores(&self, outputs: &[Output], entries: &[usize]) -> Vec<f64> {
        let value = |(output, sign): &(usize, i64)| {
            *sign as f64 * outputs[*output].values[entries[*output]]
        };
        let score = |(terms, base): (&Vec<_>, &f64)| terms.iter().map(value).sum::<f64>() + base;
        self.terms.iter().zip(&self.base).map(score).collect()
    }

    /// In `parts` parts each, or fewer where a score has fewer outputs. Without a `range` that each part must fit (its
    /// greatest value less its least), the widest that noise allows.
    pub fn quantise(
        &self,
        outputs: &[Output],
        parts: usize,
        unit: Unit,
        range: Option<i64>,
    ) -> Option<Quantised> {
        let split: Vec<Vec<Vec<(usize, i64)>>> = self
            .terms
            .iter()
            .map(|terms| split(terms, parts, outputs))
            .collect();
        let most = split.iter().flatten().map(Vec::len).max().unwrap_or(1);
        let step_bits = finest_step(most);
        // The least value of so many bits would be read as the greatest with a little noise.
        let range = range.unwrap_or((1i64 << step_bits) - 2);
        let mut units: Vec<f64> = match unit {
            Unit::Fixed(unit) => vec![unit; split.len()],
            Unit::Finest { times } => {
                let finest = |parts: &Vec<Vec<(usize, i64)>>| finest_unit(parts, outputs, range);
                split.iter().map(|parts| finest(parts) * times).collect()
            }
        };
        if self.one_unit {
            let most = units.iter().copied().fold(0.0, f64::max);
            units.fill(most);
        }
        let fits = |(parts, unit): (&Vec<Vec<(usize, i64)>>, &f64)| {
            parts
                .iter()
                .all(|part| width(part, outputs, *unit) <= range)
        };
        if !split.iter().zip(&units).all(fits) {
            return None;
        }
        let mut unit_of = vec![1.0; outputs.len()];
        for (terms, unit) in self.terms.iter().zip(&units) {
            for (output, _) in terms {
                unit_of[*output] = *unit;
            }
        }
        let rounded: Vec<Rounded> = outputs
            .iter()
            .zip(&unit_of)
            .map(|(o, u)| o.rounded(*u))
            .collect();
        let scores = split.into_iter().enumerate().map(|(score, parts)| {
            let terms = &self.terms[score];
            let moved = terms
                .iter()
                .map(|(o, sign)| *sign as f64 * rounded[*o].offset);
            let bound = terms.iter().map(|(o, _)| rounded[*o].bound).sum();
            let mut offset = self.base[score] + moved.sum::<f64>();
            let parts = parts.into_iter().map(|terms| {
                let mut part = Part { terms, bias: 0 };
                let (low, high) = part.ends(|output| &rounded[output].table);
                part.bias = centring(low, high);
                offset -= units[score] * part.bias as f64;
                part
            });
            let parts = parts.collect();
            Score {
                parts,
                unit: units[score],
                offset,
                bound,
            }
        });
        let scores = scores.collect();
        Some(Quantised {
            step_bits,
            tables: rounded.into_iter().map(|rounded| rounded.table).collect(),
            scores,
            wraps: false,
        })
    }
}

/// Evenly, by count and by range.
pub fn split(terms: &[(usize, i64)], parts: usize, outputs: &[Output]) -> Vec<Vec<(usize, i64)>> {
    let parts = parts.min(terms.len()).max(1);
    let most = terms.len().div_ceil(parts);
    let range = |term: &(usize, i64)| {
        let (low, high) = outputs[term.0].ends();
        high - low
    };
    let mut order = terms.to_vec();
    order.sort_by(|a, b| range(b).total_cmp(&range(a)));
    let mut split = vec![(0f64, Vec::new()); parts];
    for term in order {
        let open = split.iter_mut().filter(|(_, terms)| terms.len() < most);
        if let Some((total, terms)) = open.min_by(|a, b| a.0.total_cmp(&b.0)) {
            *total += range(&term);
            terms.push(term);
        }
    }
    let sorted = split.into_iter().map(|(_, mut terms)| {
        terms.sort_unstable();
        terms
    });
    sorted.collect()
}

fn width(part: &[(usize, i64)], outputs: &[Output], unit: f64) -> i64 {
    let widths = part.iter().map(|(o, _)| outputs[*o].rounded(unit).width());
    widths.sum()
}

/// The unit that all values of these outputs are whole multiples of, but for what they have in common; if they are.
fn whole_unit(parts: &[Vec<(usize, i64)>], outputs: &[Output]) -> Option<f64> {
    /// Of a unit: what counts as whole after the rounding of f64.
    const NEAR: f64 = 1e-6;
    let own = parts.iter().flatten().map(|(output, _)| &outputs[*output]);
    let steps = own.flat_map(|output| {
        let (low, _) = output.ends();
        output.values.iter().map(move |value| value - low)
    });
    let mut steps: Vec<f64> = steps.collect();
    // Sums of the same values in another order differ a little.
    let nothing = NEAR * NEAR * steps.iter().copied().fold(0.0, f64::max);
    steps.retain(|step| *step > nothing);
    let least = steps.iter().copied().reduce(f64::min)?;
    let whole = |step: &f64| {
        let times = step / least;
        (times - times.round()).abs() < NEAR
    };
    steps.iter().all(whole).then_some(least)
}

/// What needs no rounding, if it fits; or else grown a little at a time from what would do without rounding.
fn finest_unit(parts: &[Vec<(usize, i64)>], outputs: &[Output], range: i64) -> f64 {
    let fits = |unit: f64| parts.iter().all(|part| width(part, outputs, unit) <= range);
    if let Some(unit) = whole_unit(parts, outputs).filter(|unit| fits(*unit)) {
        return unit;
    }
    let exact = |part: &Vec<(usize, i64)>| {
        let ends = part.iter().map(|(o, _)| outputs[*o].ends());
        ends.map(|(low, high)| high - low).sum::<f64>() / range as f64
    };
    let mut unit = parts.iter().map(exact).fold(0.0, f64::max);
    if unit <= 0.0 {
        return 1.0;
    }
    while unit.is_finite() && !fits(unit) {
        unit *= 1.01;
    }
    unit
}

/// The bias that puts a range around 0: of an even number of values, one more lies below.
pub fn centring(low: i64, high: i64) -> i64 {
    -(low + high + 1).div_euclid(2)
}
