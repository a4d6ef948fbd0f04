//! One named breaker: a circuit per key (an upstream, an endpoint), and permits that are settled exactly once.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::circuit::{Admission, Circuit, CircuitSpec, CircuitState, Settlement};

/// Keys of one breaker. They name upstreams or endpoints, not clients: more is a mistake, and passes uncounted.
pub const MAX_BREAKER_KEYS: usize = 1024;
/// One key: the name of an upstream with an endpoint.
pub const MAX_BREAKER_KEY_BYTES: usize = 256;

pub(crate) struct Breaker {
    spec: CircuitSpec,
    /// Written only when a key is new: workers meet at a key's own lock, if at all.
    circuits: RwLock<HashMap<Box<str>, Arc<Keyed>>>,
}

/// The circuit of one key.
struct Keyed {
    key: Box<str>,
    circuit: Mutex<Circuit>,
}

/// A breaker as the metrics and the admin page show it.
#[derive(Debug, Clone, PartialEq)]
pub struct BreakerSnapshot {
    /// The policy it belongs to, or the scope that several share.
    pub scope: String,
    pub name: String,
    pub keys: Vec<KeySnapshot>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct KeySnapshot {
    pub key: String,
    pub state: CircuitState,
    /// In the current window; zero unless closed.
    pub calls: u32,
    pub failures: u32,
    pub slow: u32,
    /// While open: until probes are let through.
    pub open_for_ms: u64,
    pub times_opened: u64,
}

impl Breaker {
    pub(crate) fn new(spec: CircuitSpec) -> Self {
        Self {
            spec,
            circuits: RwLock::default(),
        }
    }

    pub(crate) fn spec(&self) -> &CircuitSpec {
        &self.spec
    }

    /// A permit comes with `Pass` and `Probe`, but not when there are too many keys to count.
    pub(crate) fn admit(self: &Arc<Self>, key: &str, now_ns: u64) -> (Admission, Option<Permit>) {
        let Some(keyed) = self.find(key).or_else(|| self.make(key, now_ns)) else {
            return (Admission::Pass, None);
        };
        let mut circuit = keyed.circuit.lock();
        let admission = circuit.admit(&self.spec, now_ns);
        let generation = circuit.generation();
        drop(circuit);
        let permit = match admission {
            Admission::Refuse { .. } => None,
            Admission::Pass | Admission::Probe => Some(Permit {
                breaker: self.clone(),
                keyed,
                generation,
                open: true,
            }),
        };
        (admission, permit)
    }

    fn find(&self, key: &str) -> Option<Arc<Keyed>> {
        self.circuits.read().get(key).cloned()
    }

    /// None: there are too many keys, or it is too long for one.
    fn make(&self, key: &str, now_ns: u64) -> Option<Arc<Keyed>> {
        let mut circuits = self.circuits.write();
        if circuits.len() >= MAX_BREAKER_KEYS {
            // What a permit still holds is in use, whatever it says.
            circuits.retain(|_, keyed| {
                Arc::strong_count(keyed) > 1 || !keyed.circuit.lock().is_idle(&self.spec, now_ns)
            });
        }
        if circuits.len() >= MAX_BREAKER_KEYS || key.len() > MAX_BREAKER_KEY_BYTES {
            return circuits.get(key).cloned();
        }
        let made = || {
            Arc::new(Keyed {
                key: key.into(),
                circuit: Mutex::new(Circuit::new()),
            })
        };
        Some(circuits.entry(key.into()).or_insert_with(made).clone())
    }

    /// What `admit` would say, taking nothing.
    pub(crate) fn would_admit(&self, key: &str, now_ns: u64) -> Admission {
        self.find(key).map_or(Admission::Pass, |keyed| {
            keyed.circuit.lock().would_admit(&self.spec, now_ns)
        })
    }

    pub(crate) fn state(&self, key: &str, now_ns: u64) -> CircuitState {
        self.find(key).map_or(CircuitState::Closed, |keyed| {
            keyed.circuit.lock().state(now_ns)
        })
    }

    pub(crate) fn force(&self, key: &str, state: CircuitState, for_ms: u64, now_ns: u64) {
        if let Some(keyed) = self.find(key).or_else(|| self.make(key, now_ns)) {
            keyed
                .circuit
                .lock()
                .force(&self.spec, state, for_ms, now_ns);
        }
    }

    pub(crate) fn snapshot(&self, now_ns: u64) -> Vec<KeySnapshot> {
        let mut keys: Vec<KeySnapshot> = self
            .circuits
            .read()
            .iter()
            .map(|(key, keyed)| {
                let circuit = keyed.circuit.lock();
                let (calls, failures, slow) = circuit.counts(&self.spec, now_ns);
                KeySnapshot {
                    key: key.to_string(),
                    state: circuit.state(now_ns),
                    calls,
                    failures,
                    slow,
                    open_for_ms: circuit.open_for_ms(now_ns),
                    times_opened: circuit.times_opened(),
                }
            })
            .collect();
        keys.sort_by(|a, b| a.key.cmp(&b.key));
        keys
    }
}

/// Leave to make one call. Settled with its result, or dropped: then it goes back uncounted.
#[must_use]
pub(crate) struct Permit {
    breaker: Arc<Breaker>,
    keyed: Arc<Keyed>,
    generation: u64,
    open: bool,
}

impl Permit {
    pub(crate) fn is_of(&self, breaker: &Breaker, key: &str) -> bool {
        std::ptr::eq(Arc::as_ptr(&self.breaker), breaker) && *self.keyed.key == *key
    }

    pub(crate) fn settle(mut self, call: Settlement, now_ns: u64) {
        self.open = false;
        let mut circuit = self.keyed.circuit.lock();
        circuit.settle(&self.breaker.spec, self.generation, call, now_ns);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.open {
            self.keyed.circuit.lock().abandon(self.generation);
        }
    }
}

#[cfg(test)]
mod tests;
