//! Encrypted counters across sites: the records of a stream's windows, added up, each in a file that the owner of the
//! client key reads. Nothing here can be read by whoever runs this.
//!
//! Exactly once: a record is named (site, epoch, lane, seq), and the part that a site gave a window (docs/specs/fhe-http.md)
//! counts once for that site, should a crash there have recorded it twice. What does not belong together (another key,
//! another schema, another window) is never added: it goes into files of its own.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use edge_types::{Digest, Lane, SiteId};
use fhe::FheError;
use fhe::counters::{CounterCiphertext, PublicKeyId, Window, WindowRecord};
use serde::Serialize;

use crate::query::{Filter, batches, streams};
use crate::store::local::LocalStore;
use crate::store::{Store, StoreError};

mod files;

/// Sums that are held in memory, 32 KB each; more are asked for in parts.
const MAX_SUMS: usize = 16_384;

#[derive(Debug, Clone, clap::Args)]
pub struct CountersArgs {
    /// Directory of the store
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
    /// Name of the stream
    #[arg(long, value_name = "NAME")]
    pub stream: String,
    /// Only windows that begin then or later (seconds since 1970, UTC)
    #[arg(long, value_name = "SECONDS")]
    pub from: Option<u64>,
    /// Only windows that begin before then
    #[arg(long, value_name = "SECONDS")]
    pub to: Option<u64>,
    /// Only this site
    #[arg(long)]
    pub site: Option<SiteId>,
    /// The folder to write the sums to; it is made if it is not there
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// One JSON object a file, for scripts
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum CountersError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot write the answer: {0}")]
    Output(#[from] io::Error),
    #[error("cannot write {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("more than {MAX_SUMS} windows: ask for fewer at once with --from and --to")]
    TooMany,
    #[error(transparent)]
    Counters(#[from] FheError),
    #[error("--stream {0}: a stream's name is 1 to 64 of a-z, 0-9, `-`, `_` and `.`")]
    Name(String),
}

/// What may be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    window: Window,
    key: PublicKeyId,
    schema: Digest,
}

/// A ciphertext, and the sites whose records are in it.
#[derive(Debug)]
struct Sum {
    counters: CounterCiphertext,
    sites: Vec<SiteId>,
}

/// All sums of a stream. A group has more than one only if its contributions are more than one ciphertext holds.
#[derive(Debug, Default)]
struct Sums {
    groups: BTreeMap<Group, Vec<Sum>>,
    seen: HashSet<(SiteId, String)>,
    count: usize,
}

impl Sums {
    /// False: this site's part was there before.
    fn add(&mut self, site: &SiteId, record: WindowRecord) -> Result<bool, CountersError> {
        if !self.seen.insert((site.clone(), record.part)) {
            return Ok(false);
        }
        let header = *record.counters.header();
        let group = Group {
            window: header.window,
            key: header.key,
            schema: header.schema,
        };
        let sums = self.groups.entry(group).or_default();
        for sum in sums.iter_mut() {
            match sum.counters.merge(&record.counters) {
                Ok(()) => {
                    if !sum.sites.contains(site) {
                        sum.sites.push(site.clone());
                    }
                    return Ok(true);
                }
                // Together too much for one: the owner adds up what is read. Or one claims another step than its schema
                // has, and has no part in the rest.
                Err(FheError::TooManyContributions { .. } | FheError::Mismatch { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        sums.push(Sum {
            counters: record.counters,
            sites: vec![site.clone()],
        });
        self.count += 1;
        match self.count > MAX_SUMS {
            true => Err(CountersError::TooMany),
            false => Ok(true),
        }
    }
}

/// One file that was written. Field names are those of the JSON output.
#[derive(Debug, Serialize)]
struct Written<'a> {
    file: String,
    stream: &'a str,
    start: u64,
    seconds: u32,
    contributions: u32,
    sites: &'a [SiteId],
    public_key: String,
    schema: String,
}

/// Writes the sums and says which to `out`; `false` if the store holds something that is wrong.
pub fn run(args: &CountersArgs, out: &mut dyn Write) -> Result<bool, CountersError> {
    if !is_name(&args.stream) {
        return Err(CountersError::Name(args.stream.clone()));
    }
    let store = LocalStore::open_existing(&args.store)?;
    let (sums, sound) = gather(args, &store)?;
    files::make_dir(&args.out)?;
    let mut out = io::BufWriter::new(out);
    for (group, sums) in &sums.groups {
        for (index, sum) in sums.iter().enumerate() {
            let written = write(args, group, index, sum)?;
            if args.json {
                let line = serde_json::to_string(&written).map_err(io::Error::from)?;
                writeln!(out, "{line}")?;
            } else {
                let sites: Vec<&str> = sum.sites.iter().map(SiteId::as_str).collect();
                writeln!(
                    out,
                    "{}  {} s from {}: {} contributions of {}",
                    written.file,
                    written.seconds,
                    written.start,
                    written.contributions,
                    sites.join(", ")
                )?;
            }
        }
    }
    if sums.count == 0 && !args.json {
        writeln!(out, "No window of {} is in this store.", args.stream)?;
    }
    out.flush()?;
    Ok(sound)
}

/// The same alphabet as the gateway's: it becomes part of files' names.
fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=64).contains(&name.len())
        && name.bytes().next().is_some_and(plain)
        && name
            .bytes()
            .all(|b| plain(b) || matches!(b, b'-' | b'_' | b'.'))
}

/// All of the stream, and whether everything that was read is sound; what is not is told on standard error.
fn gather(args: &CountersArgs, store: &dyn Store) -> Result<(Sums, bool), CountersError> {
    let filter = Filter {
        site: args.site.clone(),
        lane: Some(Lane::Events),
        epoch: None,
    };
    let wanted = |record: &WindowRecord| {
        let start = record.counters.header().window.start();
        record.stream == args.stream
            && args.from.is_none_or(|from| start >= from)
            && args.to.is_none_or(|to| start < to)
    };
    let (mut sums, mut sound) = (Sums::default(), true);
    for stream in streams(store, &filter)? {
        // A number that two batches hold is one record.
        let mut seqs = HashSet::new();
        let place = format!("{} {} {}", stream.site, stream.epoch, stream.lane);
        let mut wrong = |what: String| {
            sound = false;
            eprintln!("{place} {what}");
        };
        for batch in batches(store, &stream)? {
            let batch = batch?;
            let content = match batch.content {
                Ok(content) => content,
                Err(error) => {
                    wrong(format!("batch {}: {error}", batch.batch_no));
                    continue;
                }
            };
            for record in content.records() {
                let found = match WindowRecord::from_json(record.body) {
                    Ok(found) => found.filter(wanted),
                    Err(error) => {
                        wrong(format!("record {}: {error}", record.seq));
                        continue;
                    }
                };
                if let Some(found) = found
                    && seqs.insert(record.seq)
                {
                    sums.add(&stream.site, found)?;
                }
            }
        }
    }
    Ok((sums, sound))
}

fn write<'a>(
    args: &'a CountersArgs,
    group: &Group,
    index: usize,
    sum: &'a Sum,
) -> Result<Written<'a>, CountersError> {
    let (key, schema) = (group.key.to_string(), group.schema.to_string());
    let file = files::name(&args.stream, group.window.start(), [&key, &schema], index);
    let path: &Path = &args.out.join(&file);
    files::write(path, &sum.counters.to_bytes())?;
    Ok(Written {
        file: path.display().to_string(),
        stream: &args.stream,
        start: group.window.start(),
        seconds: group.window.seconds(),
        contributions: sum.counters.header().contributions,
        sites: &sum.sites,
        public_key: key,
        schema,
    })
}

#[cfg(test)]
mod tests;
