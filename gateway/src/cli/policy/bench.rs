//! `veilgate policy bench`: what a policy's hooks cost per call, in time, fuel and memory, on the exchanges of its test files, over and
//! over for a bounded time.

mod report;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use self::report::{Figures, Report};
use super::super::Failure;
use super::module::{self, Module};
use super::test::{cannot_load, runtime};
use super::trial::{self, Bed, Meter, TestFile};

/// Not measured: caches fill, and the machine's clock rate settles.
const WARM_UP: Duration = Duration::from_millis(100);
/// Between two rounds over a file's exchanges, on the policy's clock: limits refill, breakers close, what was kept expires.
const BETWEEN_ROUNDS_MS: u64 = 24 * 3600 * 1000;
/// How often a fresh instance is made.
const FRESH_INSTANCES: usize = 100;
/// The longest that making them may take: a language runtime needs a while.
const FRESH_TIME: Duration = Duration::from_secs(2);
const MAX_TIME: Duration = Duration::from_secs(600);

#[derive(clap::Args)]
pub(super) struct Args {
    /// Test files, or folders of policies; this folder if none is given
    #[arg(value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// The module to measure, whatever the files and folders say
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// How long each file's exchanges are repeated: "500ms", "2s"
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = time)]
    time: Duration,
    /// One JSON document instead of text
    #[arg(long)]
    json: bool,
}

fn time(text: &str) -> Result<Duration, String> {
    match crate::config::values::Span::parse(text) {
        Some(span) if !span.0.is_zero() && span.0 <= MAX_TIME => Ok(span.0),
        _ => Err("write a duration of at most ten minutes, such as \"500ms\" or \"2s\"".to_owned()),
    }
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let paths = module::test_files(&args.paths)?;
    let files: Vec<TestFile> = paths
        .iter()
        .map(|path| trial::load(path))
        .collect::<Result<_, _>>()?;
    let runtime = runtime()?;
    let mut report = Report::new();
    // A policy that must refuse its configuration has no hook to call.
    for file in files
        .iter()
        .filter(|file| file.policy.refused.is_none() && !file.steps.is_empty())
    {
        let module = module::of_test(file, args.module.as_deref())?;
        report.add(runtime.block_on(measure(file, &module, args.time))?);
    }
    if report.is_empty() {
        return Err(Failure::wrong_input(
            "none of the test files has an exchange to measure",
        ));
    }
    print!(
        "{}",
        if args.json {
            report.json()
        } else {
            report.text()
        }
    );
    Ok(())
}

async fn measure(file: &TestFile, module: &Module, time: Duration) -> Result<Figures, Failure> {
    let mut bed = Bed::lay(file, module.wasm.clone(), &module.name, &module.grants)
        .map_err(|error| cannot_load(&module.path, &error))?;
    let fresh = fresh(&bed)?;
    let _logging = bed.log.begin();
    bed.meter = Some(Meter::default());
    let mut number = 0;
    let warm = Instant::now();
    while warm.elapsed() < WARM_UP.min(time) {
        round(&bed, file, &mut number).await;
    }
    bed.meter = Some(Meter::default());
    let faults_before = faults(&bed);
    let (began, first) = (Instant::now(), number);
    while began.elapsed() < time {
        round(&bed, file, &mut number).await;
    }
    Ok(Figures {
        file: file.path.display().to_string(),
        module: module.path.display().to_string(),
        module_bytes: module.wasm.len(),
        exchanges: number - first,
        elapsed: began.elapsed(),
        faults: faults(&bed) - faults_before,
        memory_bytes: bed.policy.memory_bytes(),
        fresh,
        hooks: bed
            .meter
            .take()
            .map(Meter::into_samples)
            .unwrap_or_default(),
    })
}

/// Every exchange of the file once, as often as it says.
async fn round(bed: &Bed, file: &TestFile, number: &mut u64) {
    bed.clock.advance_ms(BETWEEN_ROUNDS_MS);
    for step in &file.steps {
        bed.clock.advance_ms(step.advance_ms);
        for time in 0..step.repeat {
            if time > 0 {
                bed.clock.advance_ms(step.every_ms);
            }
            *number += 1;
            trial::run(bed, step, *number).await;
        }
    }
    bed.log.take();
}

fn faults(bed: &Bed) -> u64 {
    bed.policy
        .stats()
        .faults
        .iter()
        .map(|(_, count)| count)
        .sum()
}

/// How long it takes to make and configure an instance.
fn fresh(bed: &Bed) -> Result<Vec<Duration>, Failure> {
    let (mut all, began) = (Vec::new(), Instant::now());
    while all.len() < FRESH_INSTANCES && (all.is_empty() || began.elapsed() < FRESH_TIME) {
        let one = Instant::now();
        bed.policy
            .try_start()
            .map_err(|fault| Failure::new(format!("a fresh instance cannot be made: {fault}")))?;
        all.push(one.elapsed());
    }
    Ok(all)
}
