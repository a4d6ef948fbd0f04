//! Lookups and integer tables, written as a program.

use std::collections::BTreeMap;

use fhe::program::{
    Encode, FORMAT, INPUT_BITS, Input, Lookup, MAX_INPUTS, Precision, ProgramFile, RESULT_BITS,
    ResultSpec, Round, ScoreMeaning, Sum,
};
use fhe::{ParamSet, Program, ProgramError};
use models::Model;

use super::cover::ENTRIES;
use super::edges::{Column, Missing};
use super::pack::Packed;
use super::quantise::Quantised;
use crate::finish::{self, least};
use crate::{CompileError, Options};

/// An exact lookup of 16 entries, behind a padding bit.
const LOOKUP_BITS: u32 = 4;
const LOOKUP_STEP_BITS: u32 = LOOKUP_BITS + 1;

/// Column, edge, and what stands for a missing value.
type Key = (usize, usize, Option<bool>);

/// One bootstrap: a lookup, and the scores whose tables lie beside each other in its.
pub struct Bootstrap {
    pub lookup: usize,
    pub scores: Vec<usize>,
}

/// As few as all tables fit in, in the order in which their outputs come.
pub fn bootstraps(lookups: &[Packed]) -> Vec<Bootstrap> {
    let of = |(lookup, packed): (usize, &Packed)| {
        let room = (ENTRIES / packed.table.len()).max(1);
        let outputs = packed.outputs();
        let chunks = outputs.chunks(room).map(<[usize]>::to_vec);
        let bootstrap = |scores| Bootstrap { lookup, scores };
        chunks.map(bootstrap).collect::<Vec<_>>()
    };
    lookups.iter().enumerate().flat_map(of).collect()
}

/// A sum by its inputs' keys.
struct Draft {
    terms: BTreeMap<Key, i64>,
    bias: i64,
}

fn draft(packed: &Packed, columns: &[Column]) -> Draft {
    let mut draft = Draft {
        terms: BTreeMap::new(),
        bias: 0,
    };
    for (&at, values) in &packed.columns {
        let column = &columns[at];
        let edges = column.edges.len();
        draft.bias += values[0];
        // The place that a missing value is taken for; what that leaves to be added is added by the last two inputs.
        let (like, rest) = match column.missing {
            Missing::Like(place) => (Some(place), 0),
            Missing::Refused => (None, 0),
            Missing::Apart => {
                let same = values[..=edges]
                    .iter()
                    .position(|v| *v == values[edges + 1]);
                (
                    Some(same.unwrap_or(0)),
                    match same {
                        Some(_) => 0,
                        None => values[edges + 1] - values[0],
                    },
                )
            }
        };
        let mut add = |edge: usize, missing: Option<bool>, weight: i64| {
            *draft.terms.entry((at, edge, missing)).or_default() += weight;
        };
        for edge in 0..edges {
            add(
                edge,
                like.map(|like| like > edge),
                values[edge + 1] - values[edge],
            );
        }
        // The same edge with both directions: their difference is 1 for a missing value, and 0 for any other.
        if rest != 0 {
            add(0, Some(true), rest);
            add(0, Some(false), -rest);
        }
    }
    draft.terms.retain(|_, weight| *weight != 0);
    draft
}

/// The first round's sums, without lookups' duplicates, and the inputs that they need.
pub struct Front {
    inputs: Vec<Input>,
    /// Of each lookup.
    sums: Vec<Sum>,
}

impl Front {
    /// `all_edges`: every edge of a column that is used at all is an input, so that the client cannot tell which are.
    pub fn of(
        lookups: &[Packed],
        columns: &[Column],
        all_edges: bool,
    ) -> Result<Self, CompileError> {
        let drafts: Vec<Draft> = lookups.iter().map(|l| draft(l, columns)).collect();
        let mut keys: BTreeMap<Key, u32> = BTreeMap::new();
        let used = drafts.iter().flat_map(|draft| draft.terms.keys());
        keys.extend(used.map(|key| (*key, 0)));
        if all_edges {
            for (at, column) in columns.iter().enumerate() {
                for edge in 0..column.edges.len() {
                    let of_edge = (at, edge, None)..=(at, edge, Some(true));
                    if keys.range(of_edge).next().is_none() {
                        let missing = match column.missing {
                            Missing::Like(place) => Some(place > edge),
                            Missing::Apart => Some(false),
                            Missing::Refused => None,
                        };
                        keys.insert((at, edge, missing), 0);
                    }
                }
            }
        }
        if keys.len() > MAX_INPUTS {
            return Err(CompileError::TooLarge {
                what: "the number of bin edges",
                got: keys.len(),
                limit: MAX_INPUTS,
                instead: "use uniform bins, fewer of them, or train with fewer bins or trees",
            });
        }
        for (number, index) in keys.values_mut().enumerate() {
            *index = number as u32;
        }
        let inputs = keys.keys().map(|&(at, edge, missing)| Input {
            column: at,
            encode: Encode::Above(columns[at].edges[edge]),
            missing: missing.map(i64::from),
        });
        let sum = |draft: &Draft| Sum {
            terms: draft.terms.iter().map(|(key, w)| (keys[key], *w)).collect(),
            bias: draft.bias,
        };
        Ok(Self {
            inputs: inputs.collect(),
            sums: drafts.iter().map(sum).collect(),
        })
    }

    pub fn inputs(&self) -> usize {
        self.inputs.len()
    }

    /// The first round.
    fn round(&self, bootstraps: &[Bootstrap], quantised: &Quantised, lookups: &[Packed]) -> Round {
        let mut tables: Vec<Vec<i64>> = Vec::new();
        let mut known: BTreeMap<Vec<i64>, u32> = BTreeMap::new();
        let (mut sums, mut uses, mut reads) = (Vec::new(), Vec::new(), Vec::new());
        let mut output = 0;
        for (sum, bootstrap) in bootstraps.iter().enumerate() {
            let entries = lookups[bootstrap.lookup].table.len();
            let mut table = Vec::with_capacity(ENTRIES);
            for at in 0..bootstrap.scores.len() {
                table.extend(&quantised.tables[output]);
                reads.push((sum as u32, (at * entries) as u32));
                output += 1;
            }
            table.resize(ENTRIES, 0);
            let next = tables.len() as u32;
            let index = *known.entry(table.clone()).or_insert(next);
            if index == next {
                tables.push(table);
            }
            sums.push(self.sums[bootstrap.lookup].clone());
            uses.push(index);
        }
        // One read of each sum, where it points, goes without saying.
        if reads.len() == sums.len() {
            reads.clear();
        }
        Round {
            sums,
            lookup: Some(Lookup {
                bits: LOOKUP_BITS,
                fraction_bits: 0,
                precision: Precision::Exact,
                step_bits: quantised.step_bits,
                tables,
                uses,
                reads,
            }),
        }
    }
}

/// What the program is to say of its results.
pub struct Meaning {
    pub scores: Vec<ScoreMeaning>,
    pub link: fhe::program::Link,
    pub decide: Option<fhe::program::Decide>,
}

impl Meaning {
    /// The model's own scores.
    pub fn of_scores(model: &Model, quantised: &Quantised) -> Self {
        let mut results = 0..;
        let scores = quantised.scores.iter().zip(&model.output.names);
        let scores = scores.map(|(score, name)| ScoreMeaning {
            name: name.clone(),
            results: results.by_ref().take(score.parts.len()).collect(),
            scale: score.unit,
            offset: score.offset,
        });
        Self {
            scores: scores.collect(),
            link: finish::link(model),
            decide: finish::decide(model),
        }
    }

    /// One result, which is a label's place in this list but for what is added.
    pub fn of_labels(labels: Vec<String>, offset: f64) -> Self {
        Self {
            scores: vec![ScoreMeaning {
                name: "label".into(),
                results: vec![0],
                scale: 1.0,
                offset,
            }],
            link: fhe::program::Link::Identity,
            decide: Some(fhe::program::Decide::Index { labels }),
        }
    }
}

/// A table of 16 entries that the one sum of the second round is read from.
pub struct LastLookup {
    pub table: Vec<i64>,
    pub step_bits: u32,
}

/// Everything that goes into the file.
pub struct Parts<'a> {
    pub model: &'a Model,
    pub options: &'a Options,
    pub front: &'a Front,
    pub lookups: &'a [Packed],
    pub quantised: &'a Quantised,
    pub meaning: Meaning,
    pub last: Option<LastLookup>,
    pub about: BTreeMap<String, String>,
}

impl Parts<'_> {
    fn second_round(&self) -> Round {
        let parts = self.quantised.scores.iter().flat_map(|score| &score.parts);
        let sum = |part: &super::quantise::Part| {
            let terms = part.terms.iter().map(|(o, sign)| (*o as u32, *sign));
            let mut terms: Vec<(u32, i64)> = terms.collect();
            if terms.is_empty() {
                // A score that is the same for all rows: nothing of some output.
                terms.push((0, 0));
            }
            Sum {
                terms,
                bias: part.bias,
            }
        };
        Round {
            sums: parts.map(sum).collect(),
            lookup: self.last.as_ref().map(|last| Lookup {
                bits: LOOKUP_BITS,
                fraction_bits: 0,
                precision: Precision::Exact,
                step_bits: last.step_bits,
                tables: vec![last.table.clone()],
                uses: vec![0],
                reads: vec![],
            }),
        }
    }

    /// The program, with as few bits sent either way as noise allows.
    pub fn program(&self) -> Result<Program, ProgramError> {
        let boots = bootstraps(self.lookups);
        let first = self.front.round(&boots, self.quantised, self.lookups);
        let mut file = ProgramFile {
            format: FORMAT.into(),
            name: self.options.name.clone(),
            version: self.options.version,
            description: self.options.description.clone(),
            params: ParamSet::Bootstrap,
            columns: self.model.features.clone(),
            inputs: self.front.inputs.clone(),
            text: None,
            input_step_bits: LOOKUP_STEP_BITS,
            input_bits: *INPUT_BITS.end(),
            rounds: vec![first, self.second_round()],
            result: ResultSpec {
                bits: *RESULT_BITS.end(),
                precision: Precision::Exact,
                wraps: self.quantised.wraps,
                scores: self.meaning.scores.clone(),
                link: self.meaning.link,
                decide: self.meaning.decide.clone(),
            },
            about: self.about.clone(),
        };
        Program::new(file.clone())?;
        file.result.bits = least(*RESULT_BITS.start(), *RESULT_BITS.end(), |bits| {
            let mut file = file.clone();
            file.result.bits = bits;
            Program::new(file).is_ok()
        });
        file.input_bits = least(*INPUT_BITS.start(), *INPUT_BITS.end(), |bits| {
            let mut file = file.clone();
            file.input_bits = bits;
            Program::new(file).is_ok()
        });
        Program::new(file)
    }
}
