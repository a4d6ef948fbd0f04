//! Keys to measure with: a few clients', and of each of them as many evaluation keys as are asked for. Two evaluation keys of one
//! client have no word of their masks in common, and so are as different to a backend as those of two clients.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use fhe::{Client, ClientKey, KeyId, OsEntropy, ParamSet};

use super::MeasureError;
use crate::backend::Backend;

/// Different secrets: a result under the wrong one would be a wrong one.
const CLIENTS: usize = 3;

pub struct Keys<B: Backend> {
    clients: Vec<ClientKey>,
    /// Key `i` is of client `i % clients`.
    pub expanded: Vec<Arc<B::Key>>,
    ids: Vec<KeyId>,
    pub took: Duration,
}

impl<B: Backend> Keys<B> {
    /// Who encrypts for this key, and decrypts.
    pub fn owner(&self, key: usize) -> Client {
        Client::new(self.client(key).clone(), self.ids[key])
    }

    pub(super) fn client(&self, key: usize) -> &ClientKey {
        &self.clients[key % self.clients.len()]
    }
}

/// Up to `count` keys, on `threads` at once, and one at least; no more are begun after `until`.
pub fn make_keys<B: Backend>(
    backend: &B,
    count: usize,
    threads: usize,
    until: Instant,
) -> Result<Keys<B>, MeasureError> {
    let began = Instant::now();
    let generate = |_| ClientKey::generate(ParamSet::Bootstrap, &mut OsEntropy);
    let clients: Vec<ClientKey> = (0..CLIENTS.min(count.max(1)))
        .map(generate)
        .collect::<Result<_, _>>()?;
    let (mut expanded, mut ids) = (Vec::new(), Vec::new());
    while expanded.len() < count.max(1) && (expanded.is_empty() || Instant::now() < until) {
        let first = expanded.len();
        let more = threads.clamp(1, count.max(1) - first);
        let make = |index: usize| -> Result<_, MeasureError> {
            let key = clients[index % clients.len()].evaluation_key(&mut OsEntropy)?;
            Ok((key.id(), Arc::new(backend.expand(&key)?)))
        };
        let made: Vec<Result<_, MeasureError>> = thread::scope(|scope| {
            let running: Vec<_> = (first..first + more)
                .map(|index| scope.spawn(move || make(index)))
                .collect();
            running
                .into_iter()
                .map(|one| match one.join() {
                    Ok(made) => made,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
                .collect()
        });
        for made in made {
            let (id, key) = made?;
            ids.push(id);
            expanded.push(key);
        }
    }
    Ok(Keys {
        clients,
        expanded,
        ids,
        took: began.elapsed(),
    })
}
