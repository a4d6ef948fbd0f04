//! Encrypted counters: streams that an owner registers, and windows that contributors add to and nobody here can read.
//!
//! ```text
//! POST counters/{stream} → belongs? (key, schema, window) → merged, fsynced → 200
//! window over → closer → one record in the outbox → centre, which adds up the sites
//! ```
//!
//! Invariants: a contribution is on disk before it is acknowledged, and counts once however often it is sent; a window
//! that is closed takes no more; a window is recorded under one name (its part), so that a crash between the record and
//! the note of it does not count twice; streams, windows and contributions are bounded; time is an argument.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use edge_types::Digest;
use fhe::counters::{CounterCiphertext, WindowRecord};
use parking_lot::{Mutex, RwLock};

use super::Tenant;

mod closer;
mod definition;
mod disk;
mod error;
mod place;
mod window;

pub(super) use closer::Closer;
pub use closer::CounterSink;
pub(super) use definition::{Definition, MAX_DEFINITION_BYTES, StreamName};
pub use error::CounterError;

use disk::{Closed, Layout, Sent};
use place::Place;
use window::{Counted, OpenWindow};

/// Closed windows that a stream's owner can still fetch here: 1.6 MB a stream. The oldest goes first.
const MAX_HELD_WINDOWS: usize = 64;

/// Appends a record to the outbox; the reason, if it was not taken.
type Append<'a> = &'a dyn Fn(Vec<u8>) -> Result<(), String>;

/// A stream with its windows.
struct Stream {
    owner: Tenant,
    definition: Definition,
    windows: Mutex<Windows>,
}

#[derive(Default)]
struct Windows {
    /// By their start.
    open: BTreeMap<u64, OpenWindow>,
    closed: BTreeMap<u64, Closed>,
    /// Removed by its owner: whoever still has hold of it adds nothing.
    gone: bool,
}

/// What the owner sees of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WindowView {
    pub start: u64,
    pub contributions: u32,
    pub state: WindowState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WindowState {
    Open,
    /// Its record is not in the outbox yet.
    Closed,
    /// Its record is in the outbox; or there is no outbox, and its owner fetches it here.
    Recorded,
}

/// A contribution that is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// False: it had been before, and was not added again.
    pub new: bool,
    pub start: u64,
    pub contributions: u32,
}

pub(super) struct CountersOptions {
    pub dir: PathBuf,
    pub max_streams: usize,
}

/// All streams of this gateway.
pub(super) struct Counters {
    layout: Layout,
    max_streams: usize,
    streams: RwLock<BTreeMap<StreamName, Arc<Stream>>>,
}

impl Counters {
    /// Reads what is there, mending what a crash left. Blocks on the disk.
    pub fn open(options: CountersOptions) -> Result<Self, CounterError> {
        let layout = Layout::new(options.dir);
        let mut streams = BTreeMap::new();
        for name in layout.streams()? {
            match layout.read_definition(&name)? {
                Some((owner, definition)) => {
                    let windows = layout.read_windows(&name, &definition)?;
                    let stream = Stream {
                        owner,
                        definition,
                        windows: Mutex::new(windows),
                    };
                    streams.insert(name, Arc::new(stream));
                }
                None => {
                    tracing::warn!(stream = %name, "a folder of a counter stream without its definition: left alone");
                }
            }
        }
        Ok(Self {
            layout,
            max_streams: options.max_streams,
            streams: RwLock::new(streams),
        })
    }

    /// True if the stream is new. The same again is fine; something else under the same name is not.
    pub fn define(
        &self,
        tenant: &Tenant,
        name: &StreamName,
        definition: Definition,
    ) -> Result<bool, CounterError> {
        let mut streams = self.streams.write();
        if let Some(there) = streams.get(name) {
            return match (there.owner == *tenant, there.definition == definition) {
                (false, _) => Err(CounterError::Taken),
                (true, false) => Err(CounterError::Differs),
                (true, true) => Ok(false),
            };
        }
        if streams.len() >= self.max_streams {
            return Err(CounterError::TooManyStreams {
                limit: self.max_streams,
            });
        }
        self.layout.write_definition(name, tenant, &definition)?;
        let stream = Stream {
            owner: tenant.clone(),
            definition,
            windows: Mutex::default(),
        };
        streams.insert(name.clone(), Arc::new(stream));
        Ok(true)
    }

    /// Gone with all its windows, also those that are not recorded yet: its owner's wish.
    pub fn remove(&self, tenant: &Tenant, name: &StreamName) -> Result<(), CounterError> {
        let stream = self.owned(tenant, name)?;
        let mut windows = stream.windows.lock();
        windows.gone = true;
        self.layout.remove(name)?;
        windows.open.clear();
        windows.closed.clear();
        drop(windows);
        self.streams.write().remove(name);
        Ok(())
    }

    pub fn definition(&self, name: &StreamName) -> Result<Definition, CounterError> {
        Ok(self.stream(name)?.definition.clone())
    }

    /// Adds a contribution, at the time `now`. On disk when this returns.
    pub fn contribute(
        &self,
        name: &StreamName,
        bytes: &[u8],
        now: u64,
    ) -> Result<Taken, CounterError> {
        let stream = self.stream(name)?;
        let contribution = CounterCiphertext::from_bytes(bytes)?;
        belongs(&stream.definition, &contribution)?;
        let window = contribution.header().window;
        let start = window.start();
        match place::place(window, now) {
            Place::Open => {}
            Place::Over => return Err(CounterError::Over),
            Place::Early { wait_s } => return Err(CounterError::Early { wait_s }),
        }
        let mut windows = stream.windows.lock();
        if windows.gone {
            return Err(CounterError::Unknown);
        }
        // The gateway's clock may have been put back.
        if windows.closed.contains_key(&start) {
            return Err(CounterError::Over);
        }
        let id = Digest::of(bytes);
        let folder = self.layout.folder(name);
        if let Some(open) = windows.open.get_mut(&start) {
            let counted = open.add(&contribution, id)?;
            return Ok(Taken {
                new: counted == Counted::Now,
                start,
                contributions: open.merged().header().contributions,
            });
        }
        let open = OpenWindow::begin(&folder, contribution, id)?;
        let contributions = open.merged().header().contributions;
        windows.open.insert(start, open);
        Ok(Taken {
            new: true,
            start,
            contributions,
        })
    }

    /// The windows that are here, in order; for the owner alone.
    pub fn windows(
        &self,
        tenant: &Tenant,
        name: &StreamName,
    ) -> Result<Vec<WindowView>, CounterError> {
        let stream = self.owned(tenant, name)?;
        let windows = stream.windows.lock();
        let open = windows.open.iter().map(|(start, open)| WindowView {
            start: *start,
            contributions: open.merged().header().contributions,
            state: WindowState::Open,
        });
        let closed = windows.closed.iter().map(|(start, closed)| WindowView {
            start: *start,
            contributions: closed.contributions,
            state: match closed.sent {
                Sent::Not => WindowState::Closed,
                Sent::Done => WindowState::Recorded,
            },
        });
        let mut all: Vec<WindowView> = closed.chain(open).collect();
        all.sort_by_key(|view| view.start);
        Ok(all)
    }

    /// What was added up in one window so far; for the owner alone.
    pub fn merged(
        &self,
        tenant: &Tenant,
        name: &StreamName,
        start: u64,
    ) -> Result<CounterCiphertext, CounterError> {
        let stream = self.owned(tenant, name)?;
        let windows = stream.windows.lock();
        if let Some(open) = windows.open.get(&start) {
            return Ok(open.merged().clone());
        }
        match windows.closed.get(&start) {
            Some(closed) => Ok(self.layout.read_closed(name, start, closed.sent)?.merged),
            None => Err(CounterError::NoWindow),
        }
    }

    /// Closes the windows whose time is over at `now`. What fails does not hold up the others; the first failure is told.
    pub fn close_due(&self, now: u64) -> Result<(), CounterError> {
        let mut outcome = Ok(());
        for (name, stream) in self.all() {
            let mut windows = stream.windows.lock();
            let due: Vec<u64> = windows
                .open
                .values()
                .map(|open| open.merged().header().window)
                .filter(|window| place::is_over(*window, now))
                .map(|window| window.start())
                .collect();
            for start in due {
                let Some(open) = windows.open.get(&start) else {
                    continue;
                };
                match self.layout.close(&name, open) {
                    Ok(closed) => {
                        windows.open.remove(&start);
                        windows.closed.insert(start, closed);
                        metrics::counter!("gateway_fhe_counter_windows_total").increment(1);
                    }
                    Err(error) => outcome = outcome.and(Err(error)),
                }
            }
        }
        outcome
    }

    /// The records of closed windows that are not in the outbox yet, the oldest of a stream first; each is given to
    /// `append`, and noted when that has gone well. Where there is no outbox, `append` is `None`: they are for their owners
    /// to fetch. What fails does not hold up the others; the first failure is told.
    pub fn record_closed(&self, append: Option<Append<'_>>) -> Result<(), CounterError> {
        let mut outcome = Ok(());
        for (name, stream) in self.all() {
            let unsent: Vec<u64> = {
                let windows = stream.windows.lock();
                let not_sent = windows.closed.iter().filter(|(_, c)| c.sent == Sent::Not);
                not_sent.map(|(start, _)| *start).collect()
            };
            for start in unsent {
                outcome = outcome.and(self.record(&name, &stream, start, append));
            }
        }
        outcome
    }

    fn record(
        &self,
        name: &StreamName,
        stream: &Stream,
        start: u64,
        append: Option<Append<'_>>,
    ) -> Result<(), CounterError> {
        if let Some(append) = append {
            // No lock is held while the outbox works.
            let snapshot = self.layout.read_closed(name, start, Sent::Not)?;
            let record = WindowRecord {
                part: snapshot.part_hex(),
                tenant: stream.owner.to_string(),
                stream: name.to_string(),
                counters: snapshot.merged,
            };
            append(record.to_json()?).map_err(CounterError::Outbox)?;
        }
        self.note_sent(name, stream, start)
    }

    fn note_sent(
        &self,
        name: &StreamName,
        stream: &Stream,
        start: u64,
    ) -> Result<(), CounterError> {
        let mut windows = stream.windows.lock();
        if windows.gone {
            return Ok(());
        }
        if let Some(closed) = windows.closed.get_mut(&start) {
            self.layout.note_sent(name, start)?;
            closed.sent = Sent::Done;
        }
        while windows.closed.len() > MAX_HELD_WINDOWS {
            let oldest = windows.closed.iter().find(|(_, c)| c.sent == Sent::Done);
            let Some(oldest) = oldest.map(|(start, _)| *start) else {
                break;
            };
            self.layout.forget(name, oldest)?;
            windows.closed.remove(&oldest);
            tracing::info!(stream = %name, start = oldest, "an old window of a counter stream is not held here any more");
        }
        Ok(())
    }

    fn all(&self) -> Vec<(StreamName, Arc<Stream>)> {
        let streams = self.streams.read();
        streams
            .iter()
            .map(|(name, stream)| (name.clone(), stream.clone()))
            .collect()
    }

    fn stream(&self, name: &StreamName) -> Result<Arc<Stream>, CounterError> {
        let streams = self.streams.read();
        streams.get(name).cloned().ok_or(CounterError::Unknown)
    }

    fn owned(&self, tenant: &Tenant, name: &StreamName) -> Result<Arc<Stream>, CounterError> {
        let stream = self.stream(name)?;
        match stream.owner == *tenant {
            true => Ok(stream),
            false => Err(CounterError::NotYours),
        }
    }
}

fn belongs(definition: &Definition, contribution: &CounterCiphertext) -> Result<(), CounterError> {
    let header = contribution.header();
    if header.key != definition.key.id() {
        return Err(CounterError::WrongKey);
    }
    if header.schema != definition.schema.digest() || header.step != definition.schema.step() {
        return Err(CounterError::WrongSchema);
    }
    if header.window.seconds() != definition.window_seconds {
        return Err(CounterError::WrongWindow {
            seconds: definition.window_seconds,
        });
    }
    // Who has counted several times adds the numbers, not the ciphertexts: that costs no noise and no place.
    match header.contributions {
        1 => Ok(()),
        _ => Err(CounterError::NotOne),
    }
}

/// That a window which was found on disk is one of this stream, under its own name.
fn of_stream(definition: &Definition, merged: &CounterCiphertext, start: u64) -> bool {
    let header = merged.header();
    header.key == definition.key.id()
        && header.schema == definition.schema.digest()
        && header.window.start() == start
}

#[cfg(test)]
mod tests;
