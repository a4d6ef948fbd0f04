//! Shared data, in a key-value store of the policy's own; and shared queues. Both need the grant `kv`.

use std::sync::Arc;

use crate::primitives::{KvError, KvStore};
use crate::proxy_wasm::abi::Status;
use crate::proxy_wasm::facts::Refusal;
use crate::proxy_wasm::memory::{Answer, Guest, charge, give, put_u32, slice, split, text};
use crate::proxy_wasm::queues::Refused;
use crate::proxy_wasm::state::VmState;
use crate::spec::Grant;

/// Where shared data is kept, among the stores of the policy.
const STORE: &str = "proxy-wasm";

impl VmState {
    /// What was not granted is counted, and answered as a failure.
    pub(in crate::proxy_wasm) fn granted(&self, grant: Grant) -> Answer {
        if self.facts.grants.contains(&grant) {
            return Ok(());
        }
        if let Some(refusal) = Refusal::of_grant(grant) {
            self.facts.refuse(&self.base.shared.policy, refusal);
        }
        Err(Status::InternalFailure.into())
    }

    fn shared_data(&mut self) -> Answer<Arc<KvStore>> {
        self.granted(Grant::Kv)?;
        self.defined
            .store(&self.base.shared, STORE)
            .ok_or_else(|| Status::InternalFailure.into())
    }
}

/// Versions are longer than the ABI's 32 bits: the lower half tells two of one key apart just as well. 0 is none.
fn short(version: u64) -> u32 {
    (version as u32).max(1)
}

pub(super) fn read(
    guest: &mut Guest<'_>,
    key: u32,
    key_size: u32,
    data_at: u32,
    size_at: u32,
    cas_at: u32,
) -> Answer {
    let (memory, state) = split(guest)?;
    let key = text(memory, key, key_size)?;
    let store = state.shared_data()?;
    let entry = store
        .get(key, state.base.now_ns())
        .ok_or(Status::NotFound)?;
    put_u32(guest, cas_at, short(entry.version))?;
    give(guest, &entry.value, data_at, size_at)
}

pub(super) fn set(
    guest: &mut Guest<'_>,
    key: u32,
    key_size: u32,
    value: u32,
    size: u32,
    cas: u32,
) -> Answer {
    charge(guest, size as usize)?;
    let (memory, state) = split(guest)?;
    let (key, value) = (text(memory, key, key_size)?, slice(memory, value, size)?);
    let store = state.shared_data()?;
    let now = state.base.now_ns();
    let done = if cas == 0 {
        store.set(key, value.to_vec(), None, now)
    } else {
        let version = store.get(key, now).map(|entry| entry.version);
        let seen = version.filter(|version| short(*version) == cas);
        let seen = seen.ok_or(Status::CasMismatch)?;
        store.cas(key, seen, value.to_vec(), None, now)
    };
    match done {
        Ok(_) => Ok(()),
        Err(KvError::Conflict) => Err(Status::CasMismatch.into()),
        Err(KvError::Limit | KvError::Invalid) => Err(Status::InternalFailure.into()),
    }
}

fn status(refused: Refused) -> Status {
    match refused {
        Refused::Unknown => Status::NotFound,
        Refused::Empty => Status::Empty,
        Refused::Limit => Status::InternalFailure,
    }
}

pub(super) fn register(guest: &mut Guest<'_>, name: u32, size: u32, id_at: u32) -> Answer {
    let (memory, state) = split(guest)?;
    let name = slice(memory, name, size)?;
    state.granted(Grant::Kv)?;
    let id = state.facts.queues.register(name).map_err(status)?;
    put_u32(guest, id_at, id)
}

/// Queues are the policy's own, whatever VM id is asked for.
pub(super) fn resolve(
    guest: &mut Guest<'_>,
    vm: u32,
    vm_size: u32,
    name: u32,
    size: u32,
    id_at: u32,
) -> Answer {
    let (memory, state) = split(guest)?;
    slice(memory, vm, vm_size)?;
    let name = slice(memory, name, size)?;
    state.granted(Grant::Kv)?;
    let id = state.facts.queues.resolve(name).ok_or(Status::NotFound)?;
    put_u32(guest, id_at, id)
}

pub(super) fn enqueue(guest: &mut Guest<'_>, id: u32, value: u32, size: u32) -> Answer {
    charge(guest, size as usize)?;
    let (memory, state) = split(guest)?;
    let value = slice(memory, value, size)?;
    state.granted(Grant::Kv)?;
    Ok(state.facts.queues.push(id, value).map_err(status)?)
}

pub(super) fn dequeue(guest: &mut Guest<'_>, id: u32, data_at: u32, size_at: u32) -> Answer {
    guest.data().granted(Grant::Kv)?;
    let value = guest.data().facts.queues.pop(id).map_err(status)?;
    give(guest, &value, data_at, size_at)
}
