//! How often a job was begun by gateways that did not live to its end: counted on disk before it is evaluated, so that one that
//! ends the process (by a fault of ours, or for want of memory) does not end every process after it.
//!
//! A gateway that stops as it should takes its own attempts back. What ran beside such a job is counted with it, and runs alone
//! the next time: then only the one at fault is counted again.

use std::io;

use http::StatusCode;
use parking_lot::{RwLockReadGuard, RwLockWriteGuard};

use super::{Jobs, Note, Turn};
use crate::fhe::Problem;

/// Starts without an end; after them a job has failed.
pub(super) const MAX_ATTEMPTS: u32 = 3;

/// Held while a job is evaluated.
pub(super) enum Beside<'j> {
    Others(#[expect(dead_code, reason = "held, not read")] RwLockReadGuard<'j, ()>),
    Nobody(#[expect(dead_code, reason = "held, not read")] RwLockWriteGuard<'j, ()>),
}

pub(super) fn too_many_attempts() -> Problem {
    let detail = format!(
        "this job was begun {MAX_ATTEMPTS} times, and each time the gateway ended before it did; it is not tried again. Send its rows anew, fewer at once, and tell the gateway's operator"
    );
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "too-many-attempts",
        detail,
    )
}

impl Turn {
    /// As many gateways ended while it was evaluated as may.
    pub(super) fn has_no_attempt_left(&self) -> bool {
        !self.is_counted && self.note.attempts >= MAX_ATTEMPTS
    }

    fn is_suspect(&self) -> bool {
        let own = u32::from(self.is_counted);
        self.note.attempts > own
    }
}

impl Jobs {
    /// Waited for: a job that was begun before runs while no other does.
    pub(super) fn beside(&self, turn: &Turn) -> Beside<'_> {
        match turn.is_suspect() {
            true => Beside::Nobody(self.beside.write()),
            false => Beside::Others(self.beside.read()),
        }
    }

    /// That this process begins the job is on disk when this returns; once, however often it is put back.
    pub(super) fn count_attempt(&self, turn: &Turn, request: &[u8]) -> io::Result<()> {
        let (tenant, id) = (&turn.tenant, &turn.id);
        let _disk = self.disk.lock();
        let note = self.inner.lock().index.to_count(tenant, id);
        if let Some(note) = note {
            self.layout.write(tenant, id, &note, request)?;
            let mut inner = self.inner.lock();
            inner.index.count_attempt(tenant, id, note.attempts);
        }
        Ok(())
    }

    /// For when the gateway stops and nothing is evaluated any more: it was not the jobs that ended it.
    pub(super) fn take_attempts_back(&self) {
        let _disk = self.disk.lock();
        let open = self.inner.lock().index.counted();
        for (tenant, id) in open {
            let written = self.layout.read(&tenant, &id).and_then(|(note, request)| {
                let attempts = note.attempts.saturating_sub(1);
                let note = Note { attempts, ..note };
                self.layout.write(&tenant, &id, &note, &request)
            });
            if let Err(error) = written {
                tracing::warn!(%error, job = id.as_str(), "that an FHE job did not end this gateway cannot be written; it counts as an attempt");
            }
        }
    }
}
