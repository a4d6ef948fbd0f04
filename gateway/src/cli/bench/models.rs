//! Whole models through the engine, many rows in flight: a forest and a network, compiled, as the examples have them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use edge_types::Digest;
use fhe::{Client, Entropy, OsEntropy, Program, PublicProgram, Reply, Request, Score};
use kernels::measure::{Keys, Measured, repeat};
use kernels::{Accelerated, AcceleratedKey, Compiled, Engine, Job, MAX_CIPHERTEXTS};

use super::super::Failure;

/// Of one request.
pub(super) const ROWS_A_REQUEST: usize = 16;
/// Differences that are those of arithmetic on scores, and not of ciphertexts.
const ROUNDING: f64 = 1e-9;

macro_rules! example {
    ($name:literal) => {
        include_str!(concat!("../../../../examples/models/", $name))
    };
}

/// (what a person calls it, the program).
pub(super) const MODELS: [(&str, &str); 2] = [
    ("forest of 20 trees", example!("breast-cancer-forest.json")),
    ("network 30-16-1", example!("breast-cancer-mlp.json")),
];
/// Rows for both that none of them was trained with, with a header and a column `label`.
const ROWS: &str = example!("breast-cancer-test.csv");

pub(super) struct Model {
    program: Arc<Compiled>,
    public: PublicProgram,
    rows: Vec<Vec<f64>>,
}

impl Model {
    pub fn read(program: &str) -> Result<Self, Failure> {
        let program = Program::from_json(program.as_bytes()).map_err(failed)?;
        let public = PublicProgram::from(&program);
        let rows = rows(&public.columns);
        Ok(Self {
            program: Arc::new(Compiled::new(program).map_err(failed)?),
            public,
            rows: rows.ok_or_else(|| Failure::new("the built-in rows do not fit the program"))?,
        })
    }

    pub fn lookups(&self) -> usize {
        self.program.program().bootstraps_per_row()
    }

    /// The most rows that the engine takes at once.
    pub fn most_rows(&self) -> usize {
        MAX_CIPHERTEXTS / self.program.ciphertexts_per_row().max(1)
    }

    /// Calls of so many rows, in requests of several, which take turns with the keys.
    pub fn measure(
        &self,
        engine: &Engine<Accelerated>,
        keys: &Keys<Accelerated>,
        (rows, of_keys): (usize, usize),
        length: Duration,
    ) -> Result<Measured, Failure> {
        let mut asked = Vec::new();
        for start in (0..rows).step_by(ROWS_A_REQUEST) {
            let key = asked.len() % of_keys;
            let numbers = start..rows.min(start + ROWS_A_REQUEST);
            let (client, expanded) = (keys.owner(key), keys.expanded[key].clone());
            asked.push(self.ask(client, expanded, numbers)?);
        }
        repeat(length, || {
            let job = |one: &Asked| {
                Job::whole(self.program.clone(), one.key.clone(), one.request.clone())
            };
            let jobs: Vec<Job<AcceleratedKey>> = asked.iter().map(job).collect();
            let seed = OsEntropy.secret().map_err(failed)?;
            let began = Instant::now();
            let (results, _) = engine.run(&jobs, seed).map_err(failed)?;
            let took = began.elapsed();
            let mut wrong = 0;
            for (one, words) in asked.iter().zip(&results) {
                wrong += self.wrong(one, words)?;
            }
            Ok((took, rows, wrong))
        })
    }

    fn ask(
        &self,
        client: Client,
        key: Arc<AcceleratedKey>,
        numbers: std::ops::Range<usize>,
    ) -> Result<Asked, Failure> {
        let rows: Vec<&[f64]> = numbers
            .map(|number| &self.rows[number % self.rows.len()][..])
            .collect();
        let clear = |row: &&[f64]| {
            let inputs = self.public.encode(0, row).map_err(failed)?;
            let results = self.program.program().evaluate_clear(&inputs);
            let results = results.ok_or_else(|| Failure::new("a row does not fit the program"))?;
            Ok(self.public.clear_scores(&results))
        };
        let meant = rows.iter().map(clear).collect::<Result<_, Failure>>()?;
        let pending = client
            .encrypt_rows(&self.public, &rows, &mut OsEntropy)
            .map_err(failed)?;
        let request = Request::from_bytes(&pending.bytes).map_err(failed)?;
        Ok(Asked {
            client,
            key,
            request: Arc::new(request),
            pending,
            meant,
        })
    }

    /// How many rows have a score that is further from the clear one than the program's noise report allows.
    fn wrong(&self, asked: &Asked, words: &[u64]) -> Result<usize, Failure> {
        let program = self.program.program();
        let digest = Digest::of(&asked.pending.bytes);
        let reply = Reply::to(&asked.request, digest, program, words).map_err(failed)?;
        let scores = asked
            .client
            .decrypt(&self.public, &asked.pending, &reply.to_bytes())
            .map_err(failed)?;
        let errors = &program.noise().score_error;
        let is_wrong = |(got, meant): &(&Vec<Score>, &Vec<Score>)| {
            let far = |((got, meant), error): ((&Score, &Score), &f64)| {
                (got.value - meant.value).abs() > error + ROUNDING
            };
            got.iter().zip(*meant).zip(errors).any(far)
        };
        Ok(scores.iter().zip(&asked.meant).filter(is_wrong).count())
    }
}

/// A request, and what its scores should be.
struct Asked {
    client: Client,
    key: Arc<AcceleratedKey>,
    request: Arc<Request>,
    pending: fhe::client::Pending,
    meant: Vec<Vec<Score>>,
}

fn failed(error: impl std::error::Error) -> Failure {
    Failure::new(error.to_string())
}

/// In the order of the columns.
fn rows(columns: &[String]) -> Option<Vec<Vec<f64>>> {
    let mut lines = ROWS.lines();
    let names: Vec<&str> = lines.next()?.split(',').collect();
    let place = |column: &String| names.iter().position(|name| name == column);
    let places: Vec<usize> = columns.iter().map(place).collect::<Option<_>>()?;
    let row = |line: &str| -> Option<Vec<f64>> {
        let cells: Vec<&str> = line.split(',').collect();
        let cell = |place: &usize| cells.get(*place)?.parse().ok();
        places.iter().map(cell).collect()
    };
    lines.map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_models_are_sound_and_have_rows() {
        for (name, program) in MODELS {
            let model = Model::read(program).unwrap_or_else(|failure| panic!("{name}: {failure}"));
            assert!(model.rows.len() > 100 && model.lookups() > 10, "{name}");
            assert!(model.most_rows() > 16, "{name}");
        }
    }
}
