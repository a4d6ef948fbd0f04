//! `veilgate bench fhe`: what is measured, in which order, and with how much of the time that there is.

use std::time::{Duration, Instant};

use fhe::ParamSet;
use kernels::measure::{self, Keys, MeasureError, Measured, SUMS, Shape};
use kernels::{Accelerated, Backend, CpuBackend, Engine};

use super::super::backend::Choice;
use super::super::{Failure, machine};
use super::ceiling::Ceilings;
use super::models::{MODELS, Model, ROWS_A_REQUEST};
use super::report::{Figure, Machine, Made, Of, Report};

/// Two ciphertexts on each of the 132 multiprocessors of a large GPU are 264.
const BATCHES: [usize; 5] = [1, 32, 264, 1056, 4224];
const KEYS: [usize; 3] = [1, 16, 264];
/// Of the whole time: the most for making keys, and for lookups with what came before them.
const FOR_KEYS: f64 = 0.25;
const UNTIL_LOOKUPS_END: f64 = 0.75;
/// One shape of lookups, one kind of sums, one model: more time makes their figures no better.
const LONGEST: Duration = Duration::from_secs(6);
/// Of the sums.
const ROWS: usize = 16;
/// Of a model, in flight.
const MOST_ROWS: usize = 512;
/// Requests of a model take turns with so many keys.
const MODEL_KEYS: usize = 4;

#[derive(clap::Args)]
pub(super) struct Args {
    /// What to measure
    #[arg(long, value_enum, default_value_t)]
    backend: Choice,
    /// About how long all of it may take, keys included: what does not fit is left out, and said to be
    #[arg(long, value_name = "N", default_value_t = 180, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Ciphertexts at once [default: 1,32,264,1056,4224]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=8192))]
    batch: Vec<u64>,
    /// Distinct keys among them [default: 1,16,264]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=8192))]
    keys: Vec<u64>,
    /// Threads of the CPU; by default one for each core
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

fn failed(error: impl std::error::Error) -> Failure {
    Failure::new(error.to_string())
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let began = Instant::now();
    let time = Duration::from_secs(args.seconds);
    let gpus = args.backend.gpus()?;
    let cpu = CpuBackend::new(args.threads).map_err(failed)?;
    let threads = cpu.threads();
    let each = (time / 100).clamp(Duration::from_millis(10), Duration::from_millis(250));
    let peaks = cpu.peaks(each);
    let cards: Vec<String> = gpus
        .iter()
        .flat_map(|gpus| gpus.names().map(str::to_owned))
        .collect();
    let names = cards.iter().map(String::as_str);
    let ceilings = Ceilings::new(peaks, threads, names, args.backend == Choice::Wgpu);
    let mut bench = Bench {
        engine: Engine::new(Accelerated::new(cpu, gpus)),
        ceilings,
        report: Report::new(args.json),
        began,
        time,
        rate: 0.0,
        upload: Duration::ZERO,
    };
    bench.report.machine(&Machine {
        bench: "fhe",
        figure: "machine",
        version: env!("CARGO_PKG_VERSION"),
        backend: bench.engine.backend().name(),
        processor: machine::processor(),
        seconds: args.seconds,
        fused_per_second: peaks.fused,
        word_multiply_adds_per_second: peaks.words,
        memory_bytes_per_second: peaks.read_bytes,
    });
    let batches = or_default(&args.batch, &BATCHES);
    let most = batches.iter().copied().max().unwrap_or(1);
    let (keys, counts) = bench.keys(&or_default(&args.keys, &KEYS), most, threads)?;
    bench.lookups(&keys, &batches, &counts)?;
    bench.sums(&keys)?;
    bench.models(&keys)?;
    match bench.report.mismatches {
        0 => Ok(()),
        wrong => Err(Failure::new(format!(
            "{wrong} results were wrong: this device cannot be trusted with the program as it is"
        ))),
    }
}

fn or_default(given: &[u64], otherwise: &[usize]) -> Vec<usize> {
    let mut all: Vec<usize> = match given.is_empty() {
        true => otherwise.to_vec(),
        false => given.iter().map(|&number| number as usize).collect(),
    };
    all.sort();
    all.dedup();
    all
}

struct Bench {
    engine: Engine<Accelerated>,
    ceilings: Ceilings,
    report: Report,
    began: Instant,
    time: Duration,
    /// Lookups a second, of the last shape that was measured.
    rate: f64,
    /// What a key cost that was not there yet.
    upload: Duration,
}

impl Bench {
    /// Until so much of the whole time is over.
    fn left(&self, part: f64) -> Duration {
        self.time.mul_f64(part).saturating_sub(self.began.elapsed())
    }

    /// Keys, and by how many of them to measure: those that were asked for, as far as memory and time allow.
    fn keys(
        &self,
        counts: &[usize],
        most: usize,
        threads: usize,
    ) -> Result<(Keys<Accelerated>, Vec<usize>), Failure> {
        let backend = self.engine.backend();
        let bytes = backend.expanded_bytes(ParamSet::Bootstrap) as u64;
        let room = machine::memory().map_or(16, |memory| memory.available / 2 / bytes) as usize;
        let mut asked: Vec<usize> = counts
            .iter()
            .copied()
            .filter(|&count| count <= most)
            .collect();
        asked.retain(|&count| {
            let fits = count <= room.max(1);
            if !fits {
                let what = format!("lookups with {count} keys");
                let why = format!(
                    "they take {} GB of memory",
                    count as u64 * bytes / 1_000_000_000
                );
                self.report.skipped(&what, &why);
            }
            fits
        });
        let wanted = asked.iter().copied().max().unwrap_or(1);
        let until = Instant::now() + self.left(FOR_KEYS);
        let keys = measure::make_keys(backend, wanted, threads, until).map_err(failed)?;
        let made = keys.expanded.len();
        // What is there is used: 100 keys tell more of many than 16 do.
        for count in &mut asked {
            if *count > made {
                let what = format!("lookups with {count} keys");
                let why = format!("{made} were made in the time for them");
                self.report.skipped(&what, &why);
                *count = made;
            }
        }
        asked.dedup();
        if asked.is_empty() {
            asked.push(1);
        }
        self.report.made(&Made {
            bench: "fhe",
            figure: "keys",
            keys: made,
            seconds: keys.took.as_secs_f64(),
        });
        Ok((keys, asked))
    }

    fn lookups(
        &mut self,
        keys: &Keys<Accelerated>,
        batches: &[usize],
        counts: &[usize],
    ) -> Result<(), Failure> {
        let of = |&batch: &usize| counts.iter().map(move |&keys| Shape { batch, keys });
        let shapes: Vec<Shape> = batches
            .iter()
            .flat_map(of)
            .filter(|shape| shape.keys <= shape.batch)
            .collect();
        for (index, &shape) in shapes.iter().enumerate() {
            let what = match shape.keys {
                1 => format!("lookups, {} at once", shape.batch),
                keys => format!("lookups, {} at once, {keys} keys", shape.batch),
            };
            let left = self.left(UNTIL_LOOKUPS_END);
            let expected = self.expected(shape);
            if index > 0 && expected > left {
                let (needed, left) = (expected.as_secs_f64(), left.as_secs_f64());
                let why = format!("about {needed:.0} s, and {left:.0} s are left");
                self.report.skipped(&what, &why);
                continue;
            }
            let length = LONGEST.min(left / (shapes.len() - index) as u32);
            let backend = self.engine.backend();
            let measured = measure::lookups(backend, keys, shape, length).map_err(failed)?;
            self.rate = measured.per_second(shape.batch);
            let more = measured.first.saturating_sub(measured.median());
            self.upload = more / shape.keys as u32;
            let of = Of {
                figure: "lookups",
                what,
                batch: shape.batch,
                keys: shape.keys,
                unit: "lookups",
                of_call: shape.batch,
            };
            let ceiling = self.ceilings.lookups(shape);
            self.report.figure(&Figure::new(of, &measured, ceiling));
        }
        Ok(())
    }

    /// Of the first call and another one: a larger batch is no slower for each of its ciphertexts.
    fn expected(&self, shape: Shape) -> Duration {
        let call = shape.batch as f64 / self.rate.max(f64::MIN_POSITIVE);
        let limit = Duration::from_secs(1 << 20);
        let calls = Duration::try_from_secs_f64(2.0 * call)
            .unwrap_or(limit)
            .min(limit);
        calls + self.upload * shape.keys as u32
    }

    fn sums(&mut self, keys: &Keys<Accelerated>) -> Result<(), Failure> {
        let length = (LONGEST / 3).min(self.left(1.0) / 8);
        let measured: Result<Measured, MeasureError> =
            measure::sums(self.engine.backend(), keys, ROWS, length);
        let of = Of {
            figure: "sums",
            what: format!("sums of ciphertexts, {SUMS} × {SUMS}, {ROWS} rows"),
            batch: ROWS,
            keys: 1,
            unit: "mul-adds",
            of_call: ROWS * SUMS * SUMS,
        };
        let figure = Figure::new(of, &measured.map_err(failed)?, self.ceilings.sums());
        self.report.figure(&figure);
        Ok(())
    }

    fn models(&mut self, keys: &Keys<Accelerated>) -> Result<(), Failure> {
        for (index, (name, program)) in MODELS.into_iter().enumerate() {
            let model = Model::read(program)?;
            let length = LONGEST.min(self.left(1.0) / (MODELS.len() - index) as u32);
            // Three calls, the first of which is not counted.
            let row = model.lookups() as f64 / self.rate;
            let rows = (length.as_secs_f64() / 3.0 / row) as usize;
            let rows = rows.min(model.most_rows()).min(MOST_ROWS);
            if rows == 0 {
                let left = length.as_secs_f64();
                let why = format!(
                    "three rows take {:.1} s, and {left:.1} s are left",
                    3.0 * row
                );
                self.report.skipped(name, &why);
                continue;
            }
            let requests = rows.div_ceil(ROWS_A_REQUEST);
            let of_keys = MODEL_KEYS.min(keys.expanded.len()).min(requests);
            let measured = model.measure(&self.engine, keys, (rows, of_keys), length)?;
            let of = Of {
                figure: "model",
                what: format!("{name}, {rows} rows in flight"),
                batch: rows,
                keys: of_keys,
                unit: "rows",
                of_call: rows,
            };
            let ceiling = self.ceilings.rows(model.lookups(), rows, of_keys);
            self.report.figure(&Figure::new(of, &measured, ceiling));
        }
        Ok(())
    }
}
