//! The threads that bring jobs from disk to the engines and results back: a few, and each holds one job, so that memory is
//! bounded however many wait.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use edge_types::Digest;
use fhe::Request;
use http::StatusCode;

use super::{Jobs, Turn};
use crate::fhe::Problem;
use crate::fhe::batch::{Ask, Class, Evaluated};
use crate::fhe::http::{programs, server_timing};
use crate::fhe::scorer::Scorer;

/// Jobs in memory at once: enough for a batch of short ones, and 4 MB each at most before they are computed with.
const FEEDERS: usize = 4;
/// What stands in a job's way for a moment (its key is being stored again) is gone so soon.
const RETRY: Duration = Duration::from_secs(1);

/// The threads; they end when this is dropped, and jobs that they are at wait for the next start.
pub(in crate::fhe) struct Feeders {
    jobs: Arc<Jobs>,
    scorer: Arc<Scorer>,
    threads: Vec<JoinHandle<()>>,
}

impl Feeders {
    pub fn start(jobs: Arc<Jobs>, scorer: Arc<Scorer>) -> std::io::Result<Self> {
        let mut feeders = Self {
            jobs,
            scorer,
            threads: Vec::new(),
        };
        for index in 0..FEEDERS {
            let (jobs, scorer) = (feeders.jobs.clone(), feeders.scorer.clone());
            let thread = std::thread::Builder::new()
                .name(format!("fhe-jobs-{index}"))
                .spawn(move || run(&jobs, &scorer))?;
            feeders.threads.push(thread);
        }
        Ok(feeders)
    }
}

impl Drop for Feeders {
    fn drop(&mut self) {
        self.jobs.stop();
        // Whoever waits for an engine does so no longer.
        self.scorer.close();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that feeds FHE jobs had failed");
            }
        }
    }
}

/// What became of a turn.
enum Outcome {
    Ended(Result<Evaluated, Problem>),
    /// Something passing is in the way.
    Later,
    /// The gateway stops, or its tenant deleted it.
    Dropped,
}

fn run(jobs: &Jobs, scorer: &Scorer) {
    while let Some(turn) = jobs.next() {
        match evaluate(jobs, scorer, &turn) {
            Outcome::Ended(outcome) => {
                let timing = outcome.as_ref().map(server_timing).unwrap_or_default();
                jobs.finish(turn, outcome, timing);
            }
            Outcome::Later => jobs.put_back(&turn, RETRY),
            Outcome::Dropped => {}
        }
    }
}

fn evaluate(jobs: &Jobs, scorer: &Scorer, turn: &Turn) -> Outcome {
    let answer = ask(jobs, scorer, turn).and_then(|ask| Ok(scorer.submit(ask)?));
    let outcome = match answer {
        Ok(answer) => match answer.blocking_recv() {
            Ok(outcome) => outcome,
            Err(_) => return Outcome::Dropped,
        },
        Err(problem) => Err(problem),
    };
    match outcome {
        Err(problem) if problem.status == StatusCode::SERVICE_UNAVAILABLE => Outcome::Later,
        outcome => Outcome::Ended(outcome),
    }
}

/// Checked again: since it began, its key may have been deleted, or its program removed.
fn ask(jobs: &Jobs, scorer: &Scorer, turn: &Turn) -> Result<Ask, Problem> {
    let read = jobs.layout.read(&turn.tenant, &turn.id);
    let (_, bytes) = read.map_err(|error| {
        tracing::error!(%error, job = turn.id.as_str(), "the request of an FHE job cannot be read");
        Problem::internal()
    })?;
    let request = Request::from_bytes(&bytes)?;
    let entry = scorer.entry(&turn.note.program, &request);
    let entry = entry.ok_or_else(programs::unknown)?;
    let ask = scorer.check(request, Digest::of(&bytes), &turn.tenant, &entry)?;
    Ok(Ask {
        class: Class::Behind,
        priority: turn.note.priority,
        urgency: turn.note.urgency,
        given_up: turn.given_up.clone(),
        ..ask
    })
}
