//! Questions about a store: how many records, which, what is missing, is every byte as it was sent.
//!
//! Reads the store alone: no server is needed, and one may be running.

mod audit;
mod ranges;
mod report;
mod scan;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::ValueEnum;
use edge_types::{Epoch, Lane, SiteId};

use crate::store::StoreError;
use crate::store::local::LocalStore;

pub use audit::StreamAudit;
pub use scan::{Filter, StoredBatch, Stream};
pub(crate) use scan::{batches, streams};

/// What to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Question {
    /// Records and batches per site, epoch and lane
    Count,
    /// Every record, in order
    List,
    /// Sequence numbers that are missing or stored twice
    Gaps,
    /// Every byte: hashes, checksums, and the chain from batch to batch
    Verify,
}

#[derive(Debug, Clone, clap::Args)]
pub struct QueryArgs {
    /// What to ask
    #[arg(value_enum)]
    pub question: Question,
    /// Directory of the store
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
    /// Only this site
    #[arg(long)]
    pub site: Option<SiteId>,
    /// Only this lane
    #[arg(long)]
    pub lane: Option<Lane>,
    /// Only this epoch
    #[arg(long, value_name = "NUMBER", value_parser = parse_epoch)]
    pub epoch: Option<Epoch>,
    /// JSON for scripts; `list` writes one object per line
    #[arg(long)]
    pub json: bool,
    /// List no more than this many records
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

fn parse_epoch(text: &str) -> Result<Epoch, std::num::ParseIntError> {
    text.parse().map(Epoch)
}

#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot write the answer: {0}")]
    Output(#[from] io::Error),
}

/// Answers to `out`; `false` if the store holds something that is wrong. A reader that has read enough (`| head`)
/// is not an error.
pub fn run(args: &QueryArgs, out: &mut dyn Write) -> Result<bool, QueryError> {
    match answer(args, out) {
        Err(QueryError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(true),
        other => other,
    }
}

fn answer(args: &QueryArgs, out: &mut dyn Write) -> Result<bool, QueryError> {
    let store = LocalStore::open_existing(&args.store)?;
    let filter = Filter {
        site: args.site.clone(),
        lane: args.lane,
        epoch: args.epoch,
    };
    if args.question == Question::List {
        return report::list(&store, &filter, args.json, args.limit, out);
    }
    let mut audits = Vec::new();
    for stream in scan::streams(&store, &filter)? {
        audits.push(StreamAudit::of(&store, stream)?);
    }
    match (args.question, args.json) {
        (_, true) => report::json(&audits, out)?,
        (Question::Count | Question::List, false) => report::count(&audits, out)?,
        (Question::Gaps, false) => report::gaps(&audits, out)?,
        (Question::Verify, false) => report::verify(&audits, out)?,
    }
    Ok(match args.question {
        Question::Count | Question::List => audits.iter().all(|audit| audit.damaged.is_empty()),
        Question::Gaps => audits.iter().all(StreamAudit::is_complete),
        Question::Verify => audits
            .iter()
            .all(|audit| audit.is_sound() && audit.is_complete()),
    })
}

#[cfg(test)]
mod tests;
