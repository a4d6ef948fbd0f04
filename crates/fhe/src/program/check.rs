//! Everything that must hold before a program is run: limits, indexes, and intervals of every value.

use super::columns::Columns;
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

fn count_up_to(place: &str, got: usize, most: usize) -> Result<(), ProgramError> {
    ensure(got <= most, place, || {
        format!("{got} of them; at most {most} are allowed")
    })
}

type Interval = (i64, i64);

/// Checks the whole file; gives the interval of each sum and each result.
pub(super) fn check(file: &ProgramFile) -> Result<Intervals, ProgramError> {
    if file.format != FORMAT {
        return Err(ProgramError::Format(file.format.chars().take(40).collect()));
    }
    check_words(file)?;
    check_shape(file)?;
    let mut values = check_inputs(file)?;
    let mut columns = Columns::of_inputs(&file.inputs);
    let mut sums = Vec::new();
    for (index, round) in file.rounds.iter().enumerate() {
        let (of_sums, out) = check_round(file, index, round, &values, &columns)?;
        columns = Columns::none();
        sums.push(of_sums);
        values = out;
    }
    let values = check_result(file, values)?;
    let needs = if file.is_linear() {
        ParamSet::Linear
    } else {
        ParamSet::Bootstrap
    };
    ensure(file.params == needs, "params", || {
        format!("a program with these rounds is of set `{needs}`")
    })?;
    Ok(Intervals {
        sums,
        results: values,
    })
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
        Some(Decide::Greatest { labels } | Decide::Index { labels }) => texts.extend(labels),
        None => {}
    }
    count_up_to("about", file.about.len(), MAX_ABOUT)?;
    texts.extend(file.about.iter().flat_map(|(name, text)| [name, text]));
    let ok = |t: &&String| t.len() <= MAX_TEXT_BYTES && !t.chars().any(char::is_control);
    ensure(texts.iter().all(ok), "texts", || {
        format!("each is at most {MAX_TEXT_BYTES} bytes, without control characters")
    })
}

fn check_shape(file: &ProgramFile) -> Result<(), ProgramError> {
    count("columns", file.columns.len(), MAX_INPUTS)?;
    match &file.text {
        None => count("inputs", file.inputs.len(), MAX_INPUTS)?,
        Some(text) => {
            let alone = file.inputs.is_empty() && file.columns.len() == 1;
            ensure(alone, "text", || {
                "text makes all inputs, from one column: `inputs` is empty then".into()
            })?;
            text.check().map_err(|reason| invalid("text", reason))?;
        }
    }
    count("rounds", file.rounds.len(), MAX_ROUNDS)?;
    count("result.scores", file.result.scores.len(), MAX_RESULTS)?;
    let terms: usize = file
        .rounds
        .iter()
        .flat_map(|r| &r.sums)
        .map(|s| s.terms.len())
        .sum();
    count("terms of all sums", terms, MAX_TERMS)?;
    ensure(INPUT_BITS.contains(&file.input_bits), "input_bits", || {
        format!(
            "{} to {}, not {}",
            INPUT_BITS.start(),
            INPUT_BITS.end(),
            file.input_bits
        )
    })?;
    check_step("input_step_bits", file.input_step_bits)
}

fn check_step(place: &str, bits: u32) -> Result<(), ProgramError> {
    ensure((1..=MAX_STEP_BITS).contains(&bits), place, || {
        format!("1 to {MAX_STEP_BITS}, not {bits}")
    })
}

fn check_inputs(file: &ProgramFile) -> Result<Vec<Interval>, ProgramError> {
    if let Some(text) = &file.text {
        return Ok(vec![(0, text.most); text.buckets as usize]);
    }
    let check = |(index, input): (usize, &Input)| {
        let place = format!("input {index}");
        ensure(input.column < file.columns.len(), &place, || {
            format!("there is no column {}", input.column)
        })?;
        let (low, high) = match input.encode {
            Encode::Above(edge) => {
                ensure(edge.is_finite(), &place, || {
                    "the edge is not a finite number".into()
                })?;
                (0, 1)
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
                (min, max)
            }
        };
        let fits = input
            .missing
            .is_none_or(|value| (low..=high).contains(&value));
        ensure(fits, &place, || {
            format!("what stands for a missing value lies outside of {low}..={high}")
        })?;
        Ok((low, high))
    };
    file.inputs.iter().enumerate().map(check).collect()
}

fn check_round(
    file: &ProgramFile,
    index: usize,
    round: &Round,
    inputs: &[Interval],
    columns: &Columns<'_>,
) -> Result<(Vec<Interval>, Vec<Interval>), ProgramError> {
    let place = format!("round {index}");
    count(&format!("{place}, sums"), round.sums.len(), MAX_SUMS)?;
    let last = index + 1 == file.rounds.len();
    ensure(last || round.lookup.is_some(), &place, || {
        "only the last round may be without a lookup: join it with the next".into()
    })?;
    let sums = round.sums.iter().enumerate();
    let sums: Vec<Interval> = sums
        .map(|(i, sum)| sum_interval(&format!("{place}, sum {i}"), sum, inputs, columns))
        .collect::<Result<_, _>>()?;
    let out = match &round.lookup {
        None => sums.clone(),
        Some(lookup) => check_lookup(&place, file.step_bits(index), lookup, &sums)?,
    };
    Ok((sums, out))
}

/// In i128, where MAX_TERMS products of two numbers below 2^47 cannot overflow.
fn sum_interval(
    place: &str,
    sum: &Sum,
    inputs: &[Interval],
    columns: &Columns<'_>,
) -> Result<Interval, ProgramError> {
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
        if columns.edge(input).is_some() {
            continue;
        }
        let ends = [
            i128::from(weight) * i128::from(least),
            i128::from(weight) * i128::from(most),
        ];
        low += ends[0].min(ends[1]);
        high += ends[0].max(ends[1]);
    }
    let (least, most) = columns.interval(sum);
    low += least;
    high += most;
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
    let most_bits = match lookup.precision {
        Precision::Exact => MAX_LOOKUP_BITS,
        Precision::Rounded => MAX_ROUNDED_BITS,
    };
    ensure((1..=most_bits).contains(&bits), &place, || {
        format!("bits is 1 to {most_bits}, not {bits}")
    })?;
    let whole = lookup.precision == Precision::Rounded || lookup.fraction_bits == 0;
    ensure(whole, &place, || {
        "an exact lookup reads whole numbers: `fraction_bits` is 0".into()
    })?;
    let needed = u64::from(bits) + 1 + u64::from(lookup.fraction_bits);
    ensure(u64::from(step_bits) == needed, &place, || {
        format!(
            "it reads {bits} bits, a padding bit and {} bits of fraction, so its inputs need a step of {needed} bits, not {step_bits}",
            lookup.fraction_bits
        )
    })?;
    for (index, &(low, high)) in sums.iter().enumerate() {
        let inside = lookup.entry_at(low) >= 0 && lookup.entry_at(high) < 1 << bits;
        ensure(inside, &place, || {
            format!(
                "sum {index} lies in {low}..={high}, outside of the table's 0..{} and so in the padding bit",
                1i64 << (bits + lookup.fraction_bits)
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
    let known = lookup
        .uses
        .iter()
        .find(|&&table| table as usize >= lookup.tables.len());
    if let Some(table) = known {
        return Err(invalid(&place, format!("there is no table {table}")));
    }
    check_reads(&place, lookup, sums)
}

/// Every read lies within its table; gives the interval of each.
fn check_reads(
    place: &str,
    lookup: &Lookup,
    sums: &[Interval],
) -> Result<Vec<Interval>, ProgramError> {
    count_up_to(&format!("{place}, reads"), lookup.reads.len(), MAX_READS)?;
    let whole = lookup.reads.is_empty() || lookup.precision == Precision::Exact;
    ensure(whole, place, || {
        "a rounded lookup is read in one place: leave `reads` out".into()
    })?;
    let interval = |(sum, shift): (u32, u32)| {
        let (at, table) = sums
            .get(sum as usize)
            .zip(lookup.uses.get(sum as usize))
            .ok_or_else(|| invalid(place, format!("there is no sum {sum} to read")))?;
        let from = lookup.entry_at(at.0) + i64::from(shift);
        let to = lookup.entry_at(at.1) + i64::from(shift);
        let table = &lookup.tables[*table as usize];
        let entries = match lookup.precision {
            Precision::Exact => usize::try_from(from)
                .ok()
                .zip(usize::try_from(to).ok())
                .and_then(|(from, to)| table.get(from..=to)),
            // Noise may lead to a neighbour of what the interval allows.
            Precision::Rounded => Some(&table[..]),
        };
        let entries = entries.ok_or_else(|| {
            invalid(
                place,
                format!("sum {sum} read {shift} places further leaves its table"),
            )
        })?;
        let low = entries.iter().copied().min().unwrap_or(0);
        let high = entries.iter().copied().max().unwrap_or(0);
        Ok((low, high))
    };
    lookup.reads().map(interval).collect()
}

/// Gives the interval of each result as it is read.
fn check_result(
    file: &ProgramFile,
    mut results: Vec<Interval>,
) -> Result<Vec<Interval>, ProgramError> {
    let spec = &file.result;
    count("results", results.len(), MAX_RESULTS)?;
    check_meanings(spec, results.len())?;
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
    let exact = spec.precision == Precision::Exact && !file.is_linear();
    ensure(exact || !spec.wraps, "result.wraps", || {
        "only exact results of lookups can".into()
    })?;
    for (index, interval) in results.iter_mut().enumerate() {
        let (low, high) = *interval;
        if spec.wraps {
            if low < -half || half <= high {
                *interval = (-half, half - 1);
            }
            continue;
        }
        // Not -half itself: with a little noise it is read as half.
        ensure(-half < low && high < half, "result", || {
            format!(
                "result {index} lies in {low}..={high}, outside of the {step_bits} bits that carry it"
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
    check_decision(spec)?;
    Ok(results)
}

fn check_decision(spec: &ResultSpec) -> Result<(), ProgramError> {
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
        Some(Decide::Index { labels }) => count("labels", labels.len(), MAX_RESULTS),
    }
}

/// Each result is part of just one score.
fn check_meanings(spec: &ResultSpec, results: usize) -> Result<(), ProgramError> {
    let mut met = vec![false; results];
    for &result in spec.scores.iter().flat_map(|score| &score.results) {
        let place = met.get_mut(result as usize);
        let place = place
            .ok_or_else(|| invalid("result.scores", format!("there is no result {result}")))?;
        ensure(!std::mem::replace(place, true), "result.scores", || {
            format!("result {result} is part of two scores, or twice of one")
        })?;
    }
    let all = met.iter().all(|met| *met) && spec.scores.iter().all(|s| !s.results.is_empty());
    ensure(all, "result.scores", || {
        format!(
            "the last round gives {results} results; each is part of a score, and no score is without one"
        )
    })
}
