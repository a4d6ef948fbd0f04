//! `outbox`: records of a policy's own for the centre. The answer comes when the record is on disk.

use crate::bindings::veilgate::policy::outbox::Host;
use crate::bindings::veilgate::policy::types::Error;
use crate::services::{Later, PolicyRecord};
use crate::state::HostState;
use crate::waits::spend;

/// A record's body: what fits easily into a batch with others.
const MAX_RECORD_BYTES: usize = 64 * 1024;
/// The name of a kind of records.
const MAX_KIND_BYTES: usize = 64;

fn is_kind(kind: &str) -> bool {
    let is_good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    !kind.is_empty() && kind.len() <= MAX_KIND_BYTES && kind.chars().all(is_good)
}

impl HostState {
    fn admit_record(&mut self, kind: String, body: Vec<u8>) -> Result<Later<u64>, Error> {
        let shared = self.shared.clone();
        let waits = self.waits.as_deref_mut().ok_or(Error::Unavailable)?;
        if !waits.serving {
            return Err(Error::Unavailable);
        }
        if !is_kind(&kind) {
            return Err(Error::Invalid);
        }
        if body.len() > MAX_RECORD_BYTES || !spend(&mut waits.appends_left) {
            return Err(Error::Limit);
        }
        let records = shared.services.records.as_ref().ok_or(Error::Unavailable)?;
        Ok(records.append(PolicyRecord {
            policy: shared.policy.clone(),
            kind,
            exchange: self.exchange.info.id.clone(),
            t_ms: shared.clock.wall_ms(),
            body,
        }))
    }
}

impl Host for HostState {
    async fn append(
        &mut self,
        kind: String,
        body: Vec<u8>,
    ) -> wasmtime::Result<Result<u64, Error>> {
        match self.admit_record(kind, body) {
            Ok(appending) => Ok(appending.await.map_err(Error::from)),
            Err(error) => Ok(Err(error)),
        }
    }
}
