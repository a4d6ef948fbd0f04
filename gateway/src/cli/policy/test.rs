//! `veilgate policy test`: a policy's module on written exchanges, and what of them is not as expected. docs/policy-test.md has the
//! format.

mod expect;
mod recorded;
mod report;

use std::path::{Path, PathBuf};
use std::time::Instant;

use policy_host::{FaultKind, LoadError};

use self::expect::{Fault, Left, Mismatch};
use self::report::{Failed, FileReport, Report, StepReport};
use super::super::Failure;
use super::module::{self, Module};
use super::trial::{self, Bed, BedError, Line, Step, TestFile};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Test files, or folders of policies; this folder if none is given
    #[arg(value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// The module to test, whatever the files and folders say
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// Runs nothing: writes a test file with the exchanges of a gateway's access log to standard output
    #[arg(long, value_name = "ACCESS_LOG", conflicts_with_all = ["paths", "module", "json"])]
    from_log: Option<PathBuf>,
    /// One JSON document instead of text
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    if let Some(log) = &args.from_log {
        print!("{}", recorded::test_file(log)?);
        return Ok(());
    }
    let began = Instant::now();
    let paths = module::test_files(&args.paths)?;
    // Every file is read before anything runs: what is wrong in the last one is told at once.
    let files: Vec<TestFile> = paths
        .iter()
        .map(|path| trial::load(path))
        .collect::<Result<_, _>>()?;
    let runtime = runtime()?;
    let mut report = Report::default();
    for file in &files {
        let module = module::of_test(file, args.module.as_deref())?;
        report
            .files
            .push(runtime.block_on(run_file(file, &module))?);
    }
    report.finish(began.elapsed());
    print!(
        "{}",
        if args.json {
            report.json()
        } else {
            report.text()
        }
    );
    match report.failed() {
        0 => Ok(()),
        failed => Err(Failure::new(format!(
            "{failed} of {} exchanges did not go as expected",
            report.exchanges()
        ))),
    }
}

/// A policy is one caller's on one thread here.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("the runtime cannot be started: {error}")))
}

pub(super) fn cannot_load(path: &Path, error: &BedError) -> Failure {
    Failure::wrong_input(format!("{}: {error}", path.display()))
}

async fn run_file(file: &TestFile, module: &Module) -> Result<FileReport, Failure> {
    let laid = Bed::lay(file, module.wasm.clone(), &module.name, &module.grants);
    let steps = match (&file.policy.refused, laid) {
        (None, Ok(bed)) => run_steps(&bed, &file.steps).await,
        (Some(words), laid) => vec![refusal(words, laid.map(drop))?],
        (None, Err(error)) => return Err(cannot_load(&module.path, &error)),
    };
    Ok(FileReport::new(&file.path, &module.path, steps))
}

/// A policy that must refuse its configuration, in the words of the file.
fn refusal(words: &str, laid: Result<(), BedError>) -> Result<StepReport, Failure> {
    let got = match laid {
        Ok(()) => "it took its configuration".to_owned(),
        Err(BedError::Load(LoadError::Configure { message, .. })) => message,
        Err(error) => return Err(Failure::wrong_input(error.to_string())),
    };
    let mismatches = (!got.contains(words)).then(|| Mismatch {
        what: "refused".to_owned(),
        expected: format!("an error with {words:?}"),
        got,
    });
    let failed = mismatches.map(|mismatch| Failed {
        at: 1,
        times: 1,
        mismatches: vec![mismatch],
    });
    Ok(StepReport {
        name: "the configuration is refused".to_owned(),
        times: 1,
        failed,
    })
}

async fn run_steps(bed: &Bed, steps: &[Step]) -> Vec<StepReport> {
    let _logging = bed.log.begin();
    let _counting = bed.metrics.begin();
    let mut number = 0;
    let mut reports = Vec::new();
    for step in steps {
        bed.clock.advance_ms(step.advance_ms);
        let mut failed: Option<Failed> = None;
        for time in 1..=step.repeat {
            if time > 1 {
                bed.clock.advance_ms(step.every_ms);
            }
            number += 1;
            let mismatches = once(bed, step, number).await;
            if mismatches.is_empty() {
                continue;
            }
            let first = failed.get_or_insert(Failed {
                at: time,
                times: 0,
                mismatches,
            });
            first.times += 1;
        }
        reports.push(StepReport {
            name: step.name.clone(),
            times: step.repeat,
            failed,
        });
    }
    reports
}

async fn once(bed: &Bed, step: &Step, number: u64) -> Vec<Mismatch> {
    bed.log.take();
    let before = bed.policy.stats().faults;
    let seen = trial::run(bed, step, number).await;
    let log = bed.log.take();
    let fault = fault_since(bed, &before, &log);
    let left = Left {
        stored: step
            .expect
            .kv
            .iter()
            .map(|entry| bed.stored(&entry.store, &entry.key))
            .collect(),
        metrics: step
            .expect
            .metrics
            .iter()
            .map(|(name, _)| bed.metrics.value(bed.policy.name(), name))
            .collect(),
    };
    expect::compare(
        &step.calls,
        &step.expect,
        &seen,
        fault.as_ref(),
        &log,
        &left,
    )
}

/// The first fault that was counted meanwhile, with what the host logged of it.
fn fault_since(bed: &Bed, before: &[(FaultKind, u64)], log: &[Line]) -> Option<Fault> {
    let now = bed.policy.stats().faults;
    let (kind, _) = now.into_iter().find(|counted| !before.contains(counted))?;
    let detail = log.iter().find_map(|line| match line {
        Line::Fault(detail) => Some(detail.clone()),
        Line::Policy(_) => None,
    });
    Some(Fault {
        kind,
        detail: detail.unwrap_or_default(),
    })
}
