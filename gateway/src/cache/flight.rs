//! Who is fetching what: of all who miss a key at once, one goes upstream, and the others wait for it, once and not for long.
//!
//! What turns out not to be storable is remembered for a while, so that requests for it never queue behind each other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::key::{ByHash, Key};

/// Nobody waits longer for another's answer: by then asking the origin is no worse.
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// How long a key whose response could not be stored is fetched by everyone for themselves.
const UNSTORABLE_FOR: Duration = Duration::from_secs(60);

/// So many such keys are remembered; past it the memory starts afresh, which costs one wait for each.
const MAX_UNSTORABLE: usize = 16 * 1024;

#[derive(Clone)]
pub struct Flights {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    leads: HashMap<Key, watch::Receiver<()>, ByHash>,
    unstorable: HashMap<Key, SystemTime, ByHash>,
}

/// The duty to fetch a key; dropped when that is done or has failed, which lets those who wait go on.
pub struct Lead {
    key: Key,
    state: Arc<Mutex<State>>,
    _done: watch::Sender<()>,
}

/// A place behind a `Lead`.
pub struct Wait {
    done: watch::Receiver<()>,
}

impl Flights {
    pub fn new() -> Self {
        Self {
            state: Arc::default(),
        }
    }

    pub fn lead(&self, key: Key, now: SystemTime) -> Option<Lead> {
        let mut state = self.state.lock();
        if state.is_unstorable(&key, now) || state.leads.contains_key(&key) {
            return None;
        }
        let (done, waiting) = watch::channel(());
        state.leads.insert(key, waiting);
        Some(Lead {
            key,
            state: self.state.clone(),
            _done: done,
        })
    }

    pub fn wait(&self, key: Key, now: SystemTime) -> Option<Wait> {
        let mut state = self.state.lock();
        if state.is_unstorable(&key, now) {
            return None;
        }
        let done = state.leads.get(&key)?.clone();
        Some(Wait { done })
    }

    pub fn note_unstorable(&self, key: Key, now: SystemTime) {
        let mut state = self.state.lock();
        if state.unstorable.len() >= MAX_UNSTORABLE {
            state.unstorable.clear();
        }
        state.unstorable.insert(key, now + UNSTORABLE_FOR);
    }
}

impl State {
    fn is_unstorable(&mut self, key: &Key, now: SystemTime) -> bool {
        match self.unstorable.get(key) {
            Some(until) if *until > now => true,
            Some(_) => {
                self.unstorable.remove(key);
                false
            }
            None => false,
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.state.lock().leads.remove(&self.key);
    }
}

impl Wait {
    /// Returns once the answer is stored, or will not be, or took too long. Then look up again.
    pub async fn done(mut self) {
        // Nothing is ever sent: the end of the sender is the news. Too late or not, the caller looks for itself.
        match tokio::time::timeout(LONGEST_WAIT, self.done.changed()).await {
            Ok(Ok(()) | Err(_)) | Err(_) => {}
        }
    }
}
