//! Who is fetching what: of all who miss a key at once, one goes upstream, and the others wait for it, once and not for long.
//!
//! What turns out not to be storable is remembered for a while, so that requests for it never queue behind each other, and cost the
//! cache next to nothing (Varnish calls it hit-for-pass).

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

/// Meanwhile one request in so long is looked at all the same: the origin may have changed its mind. The others pass by.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// So many such keys are remembered in each part; past it the part's memory starts afresh, which costs one wait for each.
const MAX_UNSTORABLE: usize = 1024;

/// Parts with a lock of their own: every request that the cache does not answer comes by here. A power of two.
const PARTS: usize = 16;

pub struct Flights {
    parts: [Arc<Mutex<State>>; PARTS],
}

#[derive(Default)]
struct State {
    leads: HashMap<Key, watch::Receiver<()>, ByHash>,
    unstorable: HashMap<Key, Unstorable, ByHash>,
}

struct Unstorable {
    until: SystemTime,
    look_again: SystemTime,
}

/// What somebody who misses a key is to do.
pub enum Turn {
    /// Fetch it; others wait for that.
    Lead(Lead),
    /// Wait for somebody who fetches it.
    Wait(Wait),
    /// Fetch it for themselves: others could not use it, or could not lately.
    Alone,
    /// Fetch it as if there were no cache: lately what came could not be stored.
    Pass,
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
            parts: Default::default(),
        }
    }

    fn part(&self, key: &Key) -> &Arc<Mutex<State>> {
        &self.parts[key.spread() % PARTS]
    }

    /// Whose turn it is to fetch the key.
    pub fn turn(&self, key: Key, may_lead: bool, now: SystemTime) -> Turn {
        let part = self.part(&key);
        let mut state = part.lock();
        if let Some(turn) = state.unstorable_turn(&key, now) {
            return turn;
        }
        if let Some(done) = state.leads.get(&key) {
            return Turn::Wait(Wait { done: done.clone() });
        }
        if !may_lead {
            return Turn::Alone;
        }
        let (done, waiting) = watch::channel(());
        state.leads.insert(key, waiting);
        Turn::Lead(Lead {
            key,
            state: part.clone(),
            _done: done,
        })
    }

    pub fn note_unstorable(&self, key: Key, now: SystemTime) {
        let mut state = self.part(&key).lock();
        if state.unstorable.len() >= MAX_UNSTORABLE {
            state.unstorable.clear();
        }
        let noted = Unstorable {
            until: now + UNSTORABLE_FOR,
            look_again: now,
        };
        state.unstorable.insert(key, noted);
    }
}

impl State {
    /// None: nothing is known against the key.
    fn unstorable_turn(&mut self, key: &Key, now: SystemTime) -> Option<Turn> {
        let noted = self.unstorable.get_mut(key)?;
        if noted.until <= now {
            self.unstorable.remove(key);
            return None;
        }
        if noted.look_again > now {
            return Some(Turn::Pass);
        }
        noted.look_again = now + LOOK_AGAIN;
        Some(Turn::Alone)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(turn: &Turn) -> &'static str {
        match turn {
            Turn::Lead(_) => "lead",
            Turn::Wait(_) => "wait",
            Turn::Alone => "alone",
            Turn::Pass => "pass",
        }
    }

    #[test]
    fn what_was_not_storable_passes_but_for_a_look_now_and_then() {
        let flights = Flights::new();
        let (key, start) = (Key::MAX, SystemTime::UNIX_EPOCH);
        let lead = flights.turn(key, true, start);
        assert_eq!(kind(&lead), "lead");
        assert_eq!(kind(&flights.turn(key, true, start)), "wait");
        flights.note_unstorable(key, start);
        drop(lead);
        let at = |after: Duration| flights.turn(key, true, start + after);
        let millis = Duration::from_millis;
        let turns =
            [0, 1, 999, 1000, 1001, 30_000, 30_001].map(|ms| kind(&at(millis(ms))).to_owned());
        assert_eq!(
            turns,
            ["alone", "pass", "pass", "alone", "pass", "alone", "pass"]
        );
        assert_eq!(kind(&at(UNSTORABLE_FOR)), "lead");
        assert_eq!(kind(&flights.turn(Key::MIN, false, start)), "alone");
    }
}
