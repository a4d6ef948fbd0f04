//! The threads that bring jobs from disk to the engines and results back: a few, and each holds one job, so that memory is
//! bounded however many wait.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use edge_types::Digest;
use fhe::Request;
use http::StatusCode;

use super::attempts::too_many_attempts;
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
        self.jobs.take_attempts_back();
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
    if turn.has_no_attempt_left() {
        tracing::error!(
            job = turn.id.as_str(),
            program = turn.note.program,
            attempts = turn.note.attempts,
            "an FHE job was begun again and again, and the gateway never lived to its end: it has failed"
        );
        return Outcome::Ended(Err(too_many_attempts()));
    }
    let bytes = match jobs.layout.read(&turn.tenant, &turn.id) {
        Ok((_, bytes)) => bytes,
        Err(error) => {
            tracing::error!(%error, job = turn.id.as_str(), "the request of an FHE job cannot be read");
            return Outcome::Ended(Err(Problem::internal()));
        }
    };
    let _beside = jobs.beside(turn);
    if let Err(error) = jobs.count_attempt(turn, &bytes) {
        tracing::warn!(%error, job = turn.id.as_str(), "that an FHE job begins cannot be written; is the disk full? It is tried again");
        return Outcome::Later;
    }
    let answer = ask(scorer, turn, &bytes).and_then(|ask| Ok(scorer.submit(ask)?));
    drop(bytes);
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
fn ask(scorer: &Scorer, turn: &Turn, bytes: &[u8]) -> Result<Ask, Problem> {
    let request = Request::from_bytes(bytes)?;
    let entry = scorer.entry(&turn.note.program, &request);
    let entry = entry.ok_or_else(programs::unknown)?;
    let ask = scorer.check(request, Digest::of(bytes), &turn.tenant, &entry)?;
    Ok(Ask {
        class: Class::Behind,
        priority: turn.note.priority,
        urgency: turn.note.urgency,
        given_up: turn.given_up.clone(),
        ..ask
    })
}
