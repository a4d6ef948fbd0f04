//! The files of counter streams: where they are, and what a crash may have left.
//!
//! ```text
//! {counters_dir}/{stream}/stream.json     owner, key, schema, length of a window
//! {counters_dir}/{stream}/{start}.open    a window that takes contributions, with {start}.log (see `window`)
//! {counters_dir}/{stream}/{start}.closed  it takes no more, and is not in the outbox yet
//! {counters_dir}/{stream}/{start}.held    it is in the outbox, and its owner can still fetch it
//! ```
//!
//! Invariant: a window's states follow each other, each by one rename; what belongs to an earlier one is removed after it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::definition::MAX_DEFINITION_BYTES;
use super::window::{MAX_SNAPSHOT_BYTES, OpenWindow, Snapshot, file, write_whole};
use super::{CounterError, Definition, StreamName, Windows};
use crate::fhe::Tenant;
use crate::fhe::durable::{make_dir, read_up_to, remove_if_there, sync_dir};

const DEFINITION: &str = "stream.json";
pub(super) const TEMPORARY: &str = "tmp";
pub(super) const OPEN: &str = "open";
pub(super) const LOG: &str = "log";
const CLOSED: &str = "closed";
const HELD: &str = "held";
/// Set aside: its bytes are not what was written.
const DAMAGED: &str = "damaged";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Not,
    Done,
}

impl Sent {
    fn extension(self) -> &'static str {
        match self {
            Self::Not => CLOSED,
            Self::Done => HELD,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Closed {
    pub contributions: u32,
    pub sent: Sent,
}

pub(super) struct Layout(PathBuf);

impl Layout {
    pub fn new(dir: PathBuf) -> Self {
        Self(dir)
    }

    pub fn folder(&self, name: &StreamName) -> PathBuf {
        self.0.join(name.to_string())
    }

    /// The directory is made if it is not there.
    pub fn streams(&self) -> Result<Vec<StreamName>, CounterError> {
        let list = || -> io::Result<Vec<StreamName>> {
            fs::create_dir_all(&self.0)?;
            let mut names = Vec::new();
            for entry in fs::read_dir(&self.0)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    names.extend(entry.file_name().to_str().and_then(|n| n.parse().ok()));
                }
            }
            Ok(names)
        };
        list().map_err(CounterError::io(&self.0))
    }

    /// `None` where there is none, or one that is not sound.
    pub fn read_definition(
        &self,
        name: &StreamName,
    ) -> Result<Option<(Tenant, Definition)>, CounterError> {
        let path = self.folder(name).join(DEFINITION);
        match read_up_to(&path, MAX_DEFINITION_BYTES) {
            Ok(json) => match Definition::from_file(&json) {
                Ok(found) => Ok(Some(found)),
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "the definition of a counter stream cannot be read");
                    Ok(None)
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(CounterError::io(&path)(error)),
        }
    }

    pub fn write_definition(
        &self,
        name: &StreamName,
        owner: &Tenant,
        definition: &Definition,
    ) -> Result<(), CounterError> {
        let folder = self.folder(name);
        let json = definition.to_file(owner)?;
        make_dir(&folder)
            .and_then(|()| write_whole(&folder.join(DEFINITION), &json))
            .map_err(CounterError::io(&folder))
    }

    /// The definition first: what is left without it is no stream.
    pub fn remove(&self, name: &StreamName) -> Result<(), CounterError> {
        let folder = self.folder(name);
        let all = || {
            remove_if_there(&folder.join(DEFINITION))?;
            sync_dir(&folder)?;
            fs::remove_dir_all(&folder)?;
            sync_dir(&self.0)
        };
        all().map_err(CounterError::io(&folder))
    }

    pub fn read_windows(
        &self,
        name: &StreamName,
        definition: &Definition,
    ) -> Result<Windows, CounterError> {
        let folder = self.folder(name);
        let failed = || CounterError::io(&folder);
        let mut windows = Windows::default();
        let mut files = Vec::new();
        for entry in fs::read_dir(&folder).map_err(failed())? {
            let path = entry.map_err(failed())?.path();
            let text = |part: Option<&std::ffi::OsStr>| Some(part?.to_str()?.to_owned());
            let (stem, extension) = (text(path.file_stem()), text(path.extension()));
            let start = stem.and_then(|stem| stem.parse::<u64>().ok());
            match (start, extension.as_deref()) {
                // Its rename did not happen: nobody was told of what is in it.
                (_, Some(TEMPORARY)) => fs::remove_file(&path).map_err(failed())?,
                (Some(start), Some(extension)) => files.push((start, extension.to_owned())),
                _ => {}
            }
        }
        for (start, extension) in &files {
            let sent = match extension.as_str() {
                CLOSED => Sent::Not,
                HELD => Sent::Done,
                _ => continue,
            };
            match self.read_closed(name, *start, sent) {
                Ok(snapshot) => {
                    let contributions = snapshot.merged.header().contributions;
                    let closed = Closed {
                        contributions,
                        sent,
                    };
                    windows.closed.insert(*start, closed);
                }
                Err(CounterError::Damaged) => {
                    set_aside(&folder, *start, extension).map_err(failed())?;
                }
                Err(error) => return Err(error),
            }
        }
        for (start, extension) in &files {
            match extension.as_str() {
                OPEN if !windows.closed.contains_key(start) => {
                    match OpenWindow::read(&folder, *start)? {
                        Some(open) if super::of_stream(definition, open.merged(), *start) => {
                            windows.open.insert(*start, open);
                        }
                        _ => set_aside(&folder, *start, OPEN).map_err(failed())?,
                    }
                }
                // The crash came after the window was closed.
                OPEN | LOG if windows.closed.contains_key(start) => {
                    remove_if_there(&file(&folder, *start, extension)).map_err(failed())?;
                }
                _ => {}
            }
        }
        Ok(windows)
    }

    /// From an open window to one that takes no more.
    pub fn close(&self, name: &StreamName, open: &OpenWindow) -> Result<Closed, CounterError> {
        let folder = self.folder(name);
        let header = open.merged().header();
        let start = header.window.start();
        let step = || {
            write_whole(&file(&folder, start, CLOSED), &open.closed_bytes())?;
            remove_if_there(&file(&folder, start, OPEN))?;
            remove_if_there(&file(&folder, start, LOG))
        };
        step().map_err(CounterError::io(&folder))?;
        Ok(Closed {
            contributions: header.contributions,
            sent: Sent::Not,
        })
    }

    pub fn note_sent(&self, name: &StreamName, start: u64) -> Result<(), CounterError> {
        let folder = self.folder(name);
        fs::rename(file(&folder, start, CLOSED), file(&folder, start, HELD))
            .and_then(|()| sync_dir(&folder))
            .map_err(CounterError::io(&folder))
    }

    pub fn forget(&self, name: &StreamName, start: u64) -> Result<(), CounterError> {
        let folder = self.folder(name);
        remove_if_there(&file(&folder, start, HELD))
            .map(drop)
            .map_err(CounterError::io(&folder))
    }

    pub fn read_closed(
        &self,
        name: &StreamName,
        start: u64,
        sent: Sent,
    ) -> Result<Snapshot, CounterError> {
        let path = file(&self.folder(name), start, sent.extension());
        let bytes = read_up_to(&path, MAX_SNAPSHOT_BYTES).map_err(CounterError::io(&path))?;
        Snapshot::from_bytes(&bytes).ok_or(CounterError::Damaged)
    }
}

/// Kept for a person to look at, and out of the way.
fn set_aside(folder: &Path, start: u64, extension: &str) -> io::Result<()> {
    let path = file(folder, start, extension);
    tracing::error!(path = %path.display(), "a window of counters is damaged and set aside; what was counted in it is lost");
    metrics::counter!("gateway_fhe_counter_windows_damaged_total").increment(1);
    fs::rename(&path, file(folder, start, DAMAGED))?;
    sync_dir(folder)
}
