//! Notices that a module's file changed, and waits until it stands still: a file that is being written is not taken.
//!
//! Folders are watched, not files: most tools write a new file and rename it into place. One whose writer pauses for longer than
//! `SETTLE` may be taken half-written: it is refused then, and tried again when it changes again.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::{Reloader, Trigger};
use crate::drain::{Phase, Signal};

/// A file that is the same after so long is written. Longer than the steps in which file systems count time (4 ms, mostly), and
/// short beside the 50 ms that a swap may take.
const SETTLE: Duration = Duration::from_millis(10);

/// Until the gateway stops.
pub async fn run(reloader: Arc<Reloader>, mut signal: Signal) {
    let (tell, mut told) = mpsc::channel(1);
    let folders = folders(reloader.files());
    let _watcher = match watcher(&folders, tell) {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::warn!(%error, "the modules of policies cannot be watched; send SIGHUP, or POST /policies/reload, when one changes");
            return;
        }
    };
    // A file may have changed between being loaded and being watched.
    loop {
        let looking = tokio::spawn(look(reloader.clone()));
        tokio::select! {
            () = signal.reached(Phase::Draining) => return,
            looked = looking => if let Err(error) = looked {
                tracing::error!(%error, "looking for changed modules failed");
            },
        }
        tokio::select! {
            () = signal.reached(Phase::Draining) => return,
            change = told.recv() => if change.is_none() {
                return;
            },
        }
    }
}

/// Waits until the files stand still, then takes what changed.
async fn look(reloader: Arc<Reloader>) {
    let mut before = marks(&reloader).await;
    loop {
        tokio::time::sleep(SETTLE).await;
        let now = marks(&reloader).await;
        if now != before {
            before = now;
            continue;
        }
        let taken = reloader.clone();
        let reloaded = tokio::task::spawn_blocking(move || taken.reload(Trigger::Change)).await;
        if let Err(error) = reloaded {
            tracing::error!(%error, "a reload of policies failed");
        }
        // What changed while it was read or compiled.
        if marks(&reloader).await == before {
            return;
        }
    }
}

/// Tells two states of a file apart: device, inode, size, time of the last change.
type Mark = Option<(u64, u64, u64, i64, i64)>;

async fn marks(reloader: &Arc<Reloader>) -> Vec<Mark> {
    let reloader = reloader.clone();
    let look = move || reloader.files().map(|file| mark(file)).collect();
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}

fn mark(file: &Path) -> Mark {
    let meta = fs::metadata(file).ok()?;
    Some((
        meta.dev(),
        meta.ino(),
        meta.size(),
        meta.mtime(),
        meta.mtime_nsec(),
    ))
}

/// Where the files are, and where links to them lead.
fn folders<'f>(files: impl Iterator<Item = &'f PathBuf>) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = files
        .flat_map(|file| [Some(file.clone()), file.canonicalize().ok()])
        .filter_map(|file| Some(file?.parent()?.to_owned()))
        .collect();
    all.sort();
    all.dedup();
    all
}

fn watcher(folders: &[PathBuf], tell: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // What cannot be told is looked at. A channel that is full has told already.
        if event.map_or(true, |event| is_change(&event.kind)) {
            let _ = tell.try_send(());
        }
    })?;
    for folder in folders {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

/// Reading is no change: else a reload would call for the next one.
fn is_change(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}
