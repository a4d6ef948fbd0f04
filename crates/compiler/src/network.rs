//! A network as rounds of sums and rounded lookups, one for each hidden layer; and the search for the layout that keeps
//! the most of the model's answers.

use fhe::program::{MAX_RESULTS, MAX_ROUNDS, MAX_SUMS, MAX_TERMS, Round};
use fhe::{Program, ProgramFile};
use models::{Activation, Linear, Model};

use crate::agreement::{Agreement, Compare};
use crate::inputs::{Inputs, Value};
use crate::layers::{self, Laid, STEP_BITS, Table, Target};
use crate::mlp::{Network, Range};
use crate::{CompileError, Options, Output, finish, labels, probability};

/// A table has 2^this entries: about as fine as the noise at a lookup is wide.
const TABLE_BITS: u32 = 8;
/// Weights of the first layer have about so many bits.
const FIRST_WEIGHT_BITS: u32 = 9;
/// The greatest weight behind a lookup: a larger one rounds better and carries more noise.
const WEIGHTS: [f64; 10] = [1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 40.0];
/// Shares of the rows, on each side, that may be held at the edge of an input's range.
const TRIMS: [f64; 4] = [0.0, 0.005, 0.02, 0.05];
/// Rows that activations are watched on: more hardly move their ranges.
const WATCHED_ROWS: usize = 2_000;
/// Rows that candidates are compared on.
const SEARCH_ROWS: usize = 300;
/// How much an error of one standard deviation of the scores weighs against the share of labels that change.
const ERROR_WEIGHT: f64 = 0.02;
/// Where a label is uncertain: beyond so many standard deviations, fewer than one in a thousand differ.
const UNCERTAIN_SIGMAS: f64 = 3.3;

/// What the search chooses.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Choice {
    trim: f64,
    hidden_weight: f64,
    head_weight: f64,
}

pub(crate) struct Found {
    pub program: Program,
    pub notes: Vec<String>,
}

struct Candidate {
    file: ProgramFile,
    left_out: usize,
    /// Standard deviation of what each of the last sums is read with, in the model's own numbers.
    head_sd: Vec<f64>,
}

struct Search<'a> {
    model: &'a Model,
    network: Network,
    rows: &'a [&'a [f64]],
    options: &'a Options,
}

pub(crate) fn layout(
    model: &Model,
    mut network: Network,
    rows: &[&[f64]],
    options: &Options,
) -> Result<Found, CompileError> {
    match options.output {
        Output::Scores => {}
        Output::Labels => network.head = labels::comparisons(model, &network.head)?,
        Output::Probability => probability::check(model)?,
    }
    check_size(&network, options)?;
    let search = Search {
        model,
        network,
        rows,
        options,
    };
    let (choice, best) = search.run()?;
    let program = finish::tighten(best.file.clone())?;
    let notes = search.notes(choice, &best, &program);
    Ok(Found { program, notes })
}

fn check_size(network: &Network, options: &Options) -> Result<(), CompileError> {
    let limited = |what: &'static str, got: usize, limit: usize, instead: &'static str| match got {
        got if got > limit => Err(CompileError::TooLarge {
            what,
            got,
            limit,
            instead,
        }),
        _ => Ok(()),
    };
    // Comparing classes takes two rounds more.
    limited(
        "the number of hidden layers",
        network.hidden.len(),
        MAX_ROUNDS - 4,
        "train a shallower network",
    )?;
    let units = network.hidden.iter().map(|(layer, _)| layer.bias.len());
    limited(
        "the number of units in a layer",
        units.max().unwrap_or(0),
        MAX_SUMS,
        "train a narrower network",
    )?;
    if options.output == Output::Scores {
        limited(
            "the number of scores",
            network.head.bias.len(),
            MAX_RESULTS,
            "split the model by its outputs",
        )?;
    }
    let size = |layer: &Linear| layer.weights.iter().map(Vec::len).sum::<usize>();
    let terms = (0..=network.hidden.len()).map(|index| size(network.layer(index)));
    limited(
        "the number of weights",
        terms.sum(),
        MAX_TERMS,
        "train a smaller network",
    )
}

impl Search<'_> {
    /// One choice at a time, each the best of those that were tried with the others as they are.
    fn run(&self) -> Result<(Choice, Candidate), CompileError> {
        let start = Choice {
            trim: 0.0,
            hidden_weight: 6.0,
            head_weight: 12.0,
        };
        let mut best: Option<(f64, Choice, Candidate)> = None;
        let mut refused = None;
        let mut consider = |choice: Choice, best: &mut Option<(f64, Choice, Candidate)>| match self
            .tried(choice)
        {
            Ok((loss, candidate)) => {
                if best.as_ref().is_none_or(|(least, ..)| loss < *least) {
                    *best = Some((loss, choice, candidate));
                }
            }
            Err(error) => refused = Some(error),
        };
        consider(start, &mut best);
        let hidden = self.network.hidden.len();
        for weight in WEIGHTS.iter().filter(|_| hidden > 0) {
            let from = best.as_ref().map_or(start, |(_, choice, _)| *choice);
            let head_weight = *weight;
            consider(
                Choice {
                    head_weight,
                    ..from
                },
                &mut best,
            );
        }
        for weight in WEIGHTS.iter().filter(|_| hidden > 1) {
            let from = best.as_ref().map_or(start, |(_, choice, _)| *choice);
            let hidden_weight = *weight;
            consider(
                Choice {
                    hidden_weight,
                    ..from
                },
                &mut best,
            );
        }
        for trim in &TRIMS[1..] {
            // Less than a row: nothing would change.
            if trim * self.rows.len() as f64 >= 1.0 {
                let from = best.as_ref().map_or(start, |(_, choice, _)| *choice);
                consider(
                    Choice {
                        trim: *trim,
                        ..from
                    },
                    &mut best,
                );
            }
        }
        match (best, refused) {
            (Some((_, choice, candidate)), _) => Ok((choice, candidate)),
            (None, Some(error)) => Err(error),
            (None, None) => Err(CompileError::Calibration("there is no row to try".into())),
        }
    }

    fn tried(&self, choice: Choice) -> Result<(f64, Candidate), CompileError> {
        let candidate = self.candidate(choice)?;
        let program = Program::new(candidate.file.clone())?;
        let stride = self.rows.len().div_ceil(SEARCH_ROWS).max(1);
        let rows: Vec<Vec<f64>> = self
            .rows
            .iter()
            .step_by(stride)
            .map(|row| row.to_vec())
            .collect();
        let agreement = Compare::new(self.model, &program).all(&rows);
        Ok((loss(&agreement), candidate))
    }

    fn candidate(&self, choice: Choice) -> Result<Candidate, CompileError> {
        let mut network = self.network.clone();
        let inputs = Inputs::new(
            self.model,
            |feature| network.uses(feature),
            self.rows,
            self.options.input_bits,
            choice.trim,
        )?;
        let stride = self.rows.len().div_ceil(WATCHED_ROWS).max(1);
        let watched: Vec<&[f64]> = self.rows.iter().step_by(stride).copied().collect();
        let (ranges, left_out) = network.settle(&inputs, &watched);
        let input_step_bits = self.options.input_bits
            + FIRST_WEIGHT_BITS
            + inputs.values.len().next_power_of_two().ilog2();
        let mut build = Build {
            rounds: vec![],
            step_bits: input_step_bits,
            inputs: &inputs.values,
            open: None,
        };
        for ((layer, activation), ranges) in network.hidden.iter().zip(&ranges) {
            build.hidden(layer, *activation, ranges, choice.hidden_weight);
        }
        let output = self.options.output;
        let target = match output {
            Output::Scores => Target::Result,
            Output::Labels | Output::Probability => Target::Step { bits: TABLE_BITS },
        };
        let head = build.layer(&network.head, choice.head_weight, target);
        let sums = head.iter().map(|laid| laid.sum.clone()).collect();
        let last = |out_bits: u32, of: &dyn Fn(f64) -> f64| {
            let tables = head.iter().map(|laid| build.table(laid, target, of));
            let tables = tables.map(|table| table.iter().map(|&entry| entry as i64).collect());
            layers::lookup(target, build.step_bits, out_bits, tables.collect())
        };
        let lookup = match output {
            Output::Scores => None,
            Output::Labels => {
                let above = |real| f64::from(u8::from(real >= 0.0));
                Some(last(labels::step_bits(self.model), &above))
            }
            Output::Probability => Some(last(probability::STEP_BITS, &probability::steps)),
        };
        let torus = 2f64.powi(build.step_bits as i32);
        let mut rounds = build.rounds;
        rounds.push(Round { sums, lookup });
        if output == Output::Labels {
            rounds.extend(labels::rounds(self.model));
        }
        let meanings: Vec<(f64, f64)> = head
            .iter()
            .map(|laid| (1.0 / laid.scale, -laid.zero / laid.scale))
            .collect();
        Ok(Candidate {
            file: finish::file(
                self.model,
                self.options,
                &inputs,
                input_step_bits,
                rounds,
                &meanings,
            ),
            left_out,
            head_sd: head
                .iter()
                .map(|laid| laid.sd * torus / laid.scale)
                .collect(),
        })
    }

    fn notes(&self, choice: Choice, candidate: &Candidate, program: &Program) -> Vec<String> {
        let rounds = program.noise().rounds.iter();
        let sizes: Vec<String> = rounds.clone().map(|r| r.bootstraps.to_string()).collect();
        let mut notes = vec![format!(
            "{} columns, {} lookups a row, in rounds of {}",
            program.input_count(),
            program.bootstraps_per_row(),
            sizes.join(" + ")
        )];
        for (index, round) in rounds.enumerate() {
            notes.push(format!(
                "round {index}: a failure lies {:.1} standard deviations away, p = 2^{:.0}; noise of {:.2} entries",
                round.sigmas, round.log2_p_fail, round.sd_entries
            ));
        }
        if candidate.left_out > 0 {
            notes.push(format!(
                "{} units never changed on the calibration rows, or fed nothing, and were left out",
                candidate.left_out
            ));
        }
        if choice.trim > 0.0 {
            notes.push(format!(
                "inputs are held where the outer {} % of the calibration rows begin, on each side",
                choice.trim * 100.0
            ));
        }
        if self.options.output != Output::Scores {
            notes.push(self.uncertain(candidate));
        }
        notes
    }

    /// How wide the band is in which the label may be another.
    fn uncertain(&self, candidate: &Candidate) -> String {
        let at = |scores: &[f64]| match &self.model.output.decide {
            models::Decide::Threshold { at, .. } => (scores[0] - at).abs(),
            _ => {
                let mut sorted = scores.to_vec();
                sorted.sort_by(|a, b| b.total_cmp(a));
                sorted
                    .first()
                    .zip(sorted.get(1))
                    .map_or(0.0, |(a, b)| a - b)
            }
        };
        let sd = candidate.head_sd.iter().copied().fold(0.0, f64::max);
        let band = UNCERTAIN_SIGMAS * sd;
        let within = self
            .rows
            .iter()
            .filter(|row| at(&self.model.scores(row)) < band);
        let percent = 100.0 * within.count() as f64 / self.rows.len().max(1) as f64;
        format!(
            "the last lookup's noise can change a label where the deciding score is within {band:.3} of a tie: {percent:.1} % of the calibration rows"
        )
    }
}

fn loss(agreement: &Agreement) -> f64 {
    agreement.labels_changed_by_noise.unwrap_or(0.0) + ERROR_WEIGHT * agreement.relative_error
}

/// Rounds as they grow: the last hidden layer is open until the next one has said what its tables count in.
struct Build<'a> {
    rounds: Vec<Round>,
    step_bits: u32,
    inputs: &'a [Value],
    open: Option<(Vec<Laid>, Vec<Table>)>,
}

impl Build<'_> {
    fn layer(&mut self, layer: &Linear, weight_most: f64, target: Target) -> Vec<Laid> {
        let Some((open, tables)) = self.open.take() else {
            return layers::first(layer, self.inputs, self.step_bits, target);
        };
        // Where each output feeds one unit alone, its weight goes into its table whole.
        let alone = |at: usize| layer.weights.iter().filter(|w| w[at] != 0.0).count() <= 1;
        let weight_most = match (0..tables.len()).all(alone) {
            true => 1.0,
            false => weight_most,
        };
        let later = layers::later(layer, &tables, weight_most, target);
        let read = Target::Lookup { bits: TABLE_BITS };
        self.rounds.push(Round {
            sums: open.into_iter().map(|laid| laid.sum).collect(),
            lookup: Some(layers::lookup(
                read,
                self.step_bits,
                STEP_BITS,
                later.tables,
            )),
        });
        self.step_bits = STEP_BITS;
        later.laid
    }

    fn hidden(
        &mut self,
        layer: &Linear,
        activation: Activation,
        ranges: &[Range],
        weight_most: f64,
    ) {
        let target = Target::Lookup { bits: TABLE_BITS };
        let laid = self.layer(layer, weight_most, target);
        let table = |(laid, range): (&Laid, &Range)| Table {
            entries: self.table(laid, target, |real| {
                activation.apply(real).max(range.low).min(range.high)
            }),
            mean: range.mean,
            variance: range.variance,
        };
        let tables = laid.iter().zip(ranges).map(table).collect();
        self.open = Some((laid, tables));
    }

    /// What a lookup of `laid` gives, entry by entry.
    fn table(&self, laid: &Laid, target: Target, of: impl Fn(f64) -> f64) -> Vec<f64> {
        let fraction_bits = self.step_bits - target.bits() - 1;
        let real = |entry| layers::real_at(laid, entry, fraction_bits);
        (0..1usize << target.bits())
            .map(|entry| of(real(entry)))
            .collect()
    }
}
