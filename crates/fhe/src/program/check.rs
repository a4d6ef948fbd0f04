//! Everything that must hold before a program is run: limits, indexes, and intervals of every value.

use super::*;
use crate::params::{MAX_LOOKUP_BITS, ParamSet};

fn invalid(place: impl Into<String>, reason: impl Into<String>) -> ProgramError {
    ProgramError::Invalid {
        place: place.into(),
        reason: reason.into(),
    }
}

fn ensure(holds: bool, place: &str, reason: impl FnOnce() -> String) -> Result<(), ProgramError> {
    if holds {
        Ok(())
    } else {
        Err(invalid(place, reason()))
    }
}

fn count(place: &str, got: usize, most: usize) -> Result<(), ProgramError> {
    ensure((1..=most).contains(&got), place, || {
        format!("{got} of them; 1 to {most} are allowed")
    })
}

type Interval = (i64, i64);

/// Checks the whole file; gives the interval of each result.
pub(super) fn check(file: &ProgramFile) -> Result<Vec<Interval>, ProgramError> {
    if file.format != FORMAT {
        return Err(ProgramError::Format(file.format.chars().take(40).collect()));
    }
    check_words(file)?;
    check_shape(file)?;
    let mut intervals = check_inputs(file)?;
    for (index, round) in file.rounds.iter().enumerate() {
        intervals = check_round(file, index, round, &intervals)?;
    }
    check_result(file, &intervals)?;
    let needs = if file.is_linear() {
        ParamSet::Linear
    } else {
        ParamSet::Bootstrap
    };
    ensure(file.params == needs, "params", || {
        format!("a program with these rounds is of set `{needs}`")
    })?;
    Ok(intervals)
}

fn check_words(file: &ProgramFile) -> Result<(), ProgramError> {
    let name_ok = (1..=MAX_NAME_BYTES).contains(&file.name.len())
        && file
            .name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    ensure(name_ok, "name", || "1 to 64 of a-z, 0-9 and `-`".into())?;
    let mut texts: Vec<&String> = vec![&file.description];
    texts.extend(&file.columns);
    texts.extend(file.result.scores.iter().map(|s| &s.name));
    match &file.result.decide {
        Some(Decide::Threshold { below, above, .. }) => texts.extend([below, above]),
        Some(Decide::Greatest { labels }) => texts.extend(labels),
        None => {}
    }
    let ok = |t: &&String| t.len() <= MAX_TEXT_BYTES && !t.chars().any(char::is_control);
    ensure(texts.iter().all(ok), "texts", || {
        format!("each is at most {MAX_TEXT_BYTES} bytes, without control characters")
    })
}

fn check_shape(file: &ProgramFile) -> Result<(), ProgramError> {
    count("columns", file.columns.len(), MAX_INPUTS)?;
    count("inputs", file.inputs.len(), MAX_INPUTS)?;
    count("rounds", file.rounds.len(), MAX_ROUNDS)?;
    count("result.scores", file.result.scores.len(), MAX_RESULTS)?;
    let terms: usize = file
        .rounds
        .iter()
        .flat_map(|r| &r.sums)
        .map(|s| s.terms.len())
        .sum();
    count("terms of all sums", terms, MAX_TERMS)?;
    check_step("input_step_bits", file.input_step_bits)
}

fn check_step(place: &str, bits: u32) -> Result<(), ProgramError> {
    ensure((1..=MAX_STEP_BITS).contains(&bits), place, || {
        format!("1 to {MAX_STEP_BITS}, not {bits}")
    })
}

fn check_inputs(file: &ProgramFile) -> Result<Vec<Interval>, ProgramError> {
    let check = |(index, input): (usize, &Input)| {
        let place = format!("input {index}");
        ensure(input.column < file.columns.len(), &place, || {
            format!("there is no column {}", input.column)
        })?;
        match input.encode {
            Encode::Above(edge) => {
                ensure(edge.is_finite(), &place, || {
                    "the edge is not a finite number".into()
                })?;
                Ok((0, 1))
            }
            Encode::Scaled {
                offset,
                step,
                min,
                max,
            } => {
                let numbers = offset.is_finite() && step.is_finite() && step > 0.0;
                ensure(numbers, &place, || {
                    "offset and step are finite, and step is above 0".into()
                })?;
                let range = -MAX_INTEGER <= min && min <= max && max <= MAX_INTEGER;
                ensure(range, &place, || {
                    "min is at most max, and both are below 2^40".into()
                })?;
                Ok((min, max))
            }
        }
    };
    file.inputs.iter().enumerate().map(check).collect()
}

fn check_round(
    file: &ProgramFile,
    index: usize,
    round: &Round,
    inputs: &[Interval],
) -> Result<Vec<Interval>, ProgramError> {
    let place = format!("round {index}");
    count(&format!("{place}, sums"), round.sums.len(), MAX_SUMS)?;
    let last = index + 1 == file.rounds.len();
    ensure(last || round.lookup.is_some(), &place, || {
        "only the last round may be without a lookup: join it with the next".into()
    })?;
    let sums = round.sums.iter().enumerate();
    let sums: Vec<Interval> = sums
        .map(|(i, sum)| sum_interval(&format!("{place}, sum {i}"), sum, inputs))
        .collect::<Result<_, _>>()?;
    match &round.lookup {
        None => Ok(sums),
        Some(lookup) => check_lookup(&place, file.step_bits(index), lookup, &sums),
    }
}

/// In i128, where MAX_TERMS products of two numbers below 2^47 cannot overflow.
fn sum_interval(place: &str, sum: &Sum, inputs: &[Interval]) -> Result<Interval, ProgramError> {
    ensure(
        sum.bias.checked_abs().is_some_and(|b| b <= MAX_INTEGER),
        place,
        || "the bias is above 2^40".into(),
    )?;
    let (mut low, mut high) = (i128::from(sum.bias), i128::from(sum.bias));
    let mut before = None;
    for &(input, weight) in &sum.terms {
        ensure(before.is_none_or(|b| b < input), place, || {
            "its inputs must rise, each named once".into()
        })?;
        before = Some(input);
        ensure(
            weight.checked_abs().is_some_and(|w| w <= MAX_INTEGER),
            place,
            || "a weight is above 2^40".into(),
        )?;
        let &(least, most) = inputs
            .get(input as usize)
            .ok_or_else(|| invalid(place, format!("there is no input {input}")))?;
        let ends = [
            i128::from(weight) * i128::from(least),
            i128::from(weight) * i128::from(most),
        ];
        low += ends[0].min(ends[1]);
        high += ends[0].max(ends[1]);
    }
    let limit = 1i128 << MAX_STEP_BITS;
    ensure(-limit < low && high < limit, place, || {
        "its value can pass 2^48".into()
    })?;
    Ok((low as i64, high as i64))
}

fn check_lookup(
    round: &str,
    step_bits: u32,
    lookup: &Lookup,
    sums: &[Interval],
) -> Result<Vec<Interval>, ProgramError> {
    let place = format!("{round}, lookup");
    let bits = lookup.bits;
    ensure((1..=MAX_LOOKUP_BITS).contains(&bits), &place, || {
        format!("bits is 1 to {MAX_LOOKUP_BITS}, not {bits}")
    })?;
    ensure(step_bits == bits + 1, &place, || {
        format!(
            "it reads {bits} bits and a padding bit, so its inputs need a step of {} bits, not {step_bits}",
            bits + 1
        )
    })?;
    for (index, &(low, high)) in sums.iter().enumerate() {
        ensure(low >= 0 && high < 1 << bits, &place, || {
            format!(
                "sum {index} lies in {low}..={high}, outside of the table's 0..{}",
                1 << bits
            )
        })?;
    }
    check_step(&place, lookup.step_bits)?;
    count(&format!("{place}, tables"), lookup.tables.len(), MAX_TABLES)?;
    let half = 1i64 << (lookup.step_bits - 1);
    for (index, table) in lookup.tables.iter().enumerate() {
        ensure(table.len() == 1 << bits, &place, || {
            format!("table {index} has not 2^{bits} entries")
        })?;
        ensure(
            table.iter().all(|v| (-half..half).contains(v)),
            &place,
            || format!("table {index} has an entry outside of -{half}..{half}, half the torus"),
        )?;
    }
    ensure(lookup.uses.len() == sums.len(), &place, || {
        "`uses` names one table for each sum".into()
    })?;
    let interval = |&table: &u32| {
        let entries = lookup.tables.get(table as usize);
        let entries =
            entries.ok_or_else(|| invalid(&place, format!("there is no table {table}")))?;
        Ok(entries
            .iter()
            .fold((i64::MAX, i64::MIN), |(low, high), &v| {
                (low.min(v), high.max(v))
            }))
    };
    lookup.uses.iter().map(interval).collect()
}

fn check_result(file: &ProgramFile, results: &[Interval]) -> Result<(), ProgramError> {
    let spec = &file.result;
    ensure(spec.scores.len() == results.len(), "result.scores", || {
        format!(
            "the last round gives {} values, and {} have a meaning",
            results.len(),
            spec.scores.len()
        )
    })?;
    ensure(RESULT_BITS.contains(&spec.bits), "result.bits", || {
        format!(
            "{} to {}, not {}",
            RESULT_BITS.start(),
            RESULT_BITS.end(),
            spec.bits
        )
    })?;
    let step_bits = file.step_bits(file.rounds.len());
    let half = 1i64 << (step_bits - 1);
    for (index, &(low, high)) in results.iter().enumerate() {
        ensure(-half <= low && high < half, "result", || {
            format!(
                "score {index} lies in {low}..={high}, outside of the {step_bits} bits that carry it"
            )
        })?;
    }
    let numbers = spec
        .scores
        .iter()
        .all(|s| s.scale.is_finite() && s.scale != 0.0 && s.offset.is_finite());
    ensure(numbers, "result.scores", || {
        "scale and offset are finite, and scale is not 0".into()
    })?;
    match &spec.decide {
        None => Ok(()),
        Some(Decide::Threshold { at, .. }) => ensure(at.is_finite(), "result.decide", || {
            "the threshold is not finite".into()
        }),
        Some(Decide::Greatest { labels }) => {
            ensure(labels.len() == spec.scores.len(), "result.decide", || {
                "one label per score".into()
            })
        }
    }
}
