//! Notices that a module's file changed. One that was renamed into place is taken at once: it was whole before it had its name. For
//! others it waits until they stand still: a file that is being written is not taken.
//!
//! Folders are watched, not files: most tools write a new file and rename it into place. One whose writer pauses for longer than
//! `SETTLE` may be taken half-written: it is refused then, and tried again when it changes again.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Reloader, Trigger};
use crate::drain::{Phase, Signal};

/// A file that is the same after so long is written. Longer than the steps in which file systems count time (4 ms, mostly), and
/// short beside the 50 ms that a swap may take.
const SETTLE: Duration = Duration::from_millis(10);

/// What was heard of the files and not seen to yet.
#[derive(Default)]
struct News {
    heard: Mutex<Heard>,
    bell: Notify,
}

#[derive(Default)]
struct Heard {
    /// Modules that were renamed into place.
    renamed: BTreeSet<PathBuf>,
    /// Something else happened in a watched folder.
    other: bool,
}

impl News {
    /// Until a module was renamed into place.
    async fn renamed(&self) {
        while self.heard.lock().renamed.is_empty() {
            self.bell.notified().await;
        }
    }

    fn tell(&self, event: notify::Result<Event>, files: &[PathBuf]) {
        let mut heard = self.heard.lock();
        match event {
            Ok(event) if !is_change(&event.kind) => return,
            Ok(event) => match renamed(&event, files) {
                Some(file) => {
                    heard.renamed.insert(file.clone());
                }
                None => heard.other = true,
            },
            // What cannot be told is looked at.
            Err(_) => heard.other = true,
        }
        drop(heard);
        self.bell.notify_one();
    }
}

/// The module that has a new file under its name now.
fn renamed<'p>(event: &'p Event, files: &[PathBuf]) -> Option<&'p PathBuf> {
    let to = match event.kind {
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => event.paths.first(),
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => event.paths.get(1),
        _ => None,
    }?;
    files.contains(to).then_some(to)
}

/// Until the gateway stops.
pub async fn run(reloader: Arc<Reloader>, mut signal: Signal) {
    let news = Arc::new(News::default());
    let _watcher = match watcher(&reloader, &news) {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::warn!(%error, "the modules of policies cannot be watched; send SIGHUP, or POST /policies/reload, when one changes");
            return;
        }
    };
    // A file may have changed between being loaded and being watched.
    news.heard.lock().other = true;
    tokio::select! {
        () = signal.reached(Phase::Draining) => {}
        () = follow(&reloader, &news) => {}
    }
}

async fn follow(reloader: &Arc<Reloader>, news: &News) {
    let mut settling: Option<Vec<Mark>> = None;
    loop {
        let heard = std::mem::take(&mut *news.heard.lock());
        if !heard.renamed.is_empty() {
            take(reloader, move |file| heard.renamed.contains(file)).await;
        }
        if heard.other && settling.is_none() {
            settling = Some(marks(reloader).await);
        }
        let Some(before) = &settling else {
            news.bell.notified().await;
            continue;
        };
        tokio::select! {
            () = news.renamed() => continue,
            () = tokio::time::sleep(SETTLE) => {}
        }
        let now = marks(reloader).await;
        if now != *before {
            settling = Some(now);
            continue;
        }
        take(reloader, |_| true).await;
        // What changed while it was read or compiled.
        let after = marks(reloader).await;
        settling = (after != now).then_some(after);
    }
}

/// Takes what changed of those files.
async fn take(reloader: &Arc<Reloader>, those: impl Fn(&Path) -> bool + Send + 'static) {
    let reloader = reloader.clone();
    let taking = move || reloader.reload_those(Trigger::Change, those);
    if let Err(error) = tokio::task::spawn_blocking(taking).await {
        tracing::error!(%error, "a reload of policies failed");
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

fn watcher(reloader: &Reloader, news: &Arc<News>) -> notify::Result<RecommendedWatcher> {
    let files: Vec<PathBuf> = reloader.files().cloned().collect();
    let folders = folders(files.iter());
    let news = news.clone();
    let mut watcher = notify::recommended_watcher(move |event| news.tell(event, &files))?;
    for folder in folders {
        watcher.watch(&folder, RecursiveMode::NonRecursive)?;
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
