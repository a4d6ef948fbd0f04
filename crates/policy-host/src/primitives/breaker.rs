//! One named breaker: a circuit per key (an upstream, an endpoint), and permits that are settled exactly once.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::circuit::{Admission, Circuit, CircuitSpec, CircuitState, Settlement};

/// Keys of one breaker. They name upstreams or endpoints, not clients: more is a mistake, and passes uncounted.
pub const MAX_BREAKER_KEYS: usize = 1024;
/// One key: the name of an upstream with an endpoint.
pub const MAX_BREAKER_KEY_BYTES: usize = 256;

pub(crate) struct Breaker {
    spec: CircuitSpec,
    circuits: Mutex<HashMap<Box<str>, Circuit>>,
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
            circuits: Mutex::default(),
        }
    }

    pub(crate) fn spec(&self) -> &CircuitSpec {
        &self.spec
    }

    /// A permit comes with `Pass` and `Probe`, but not when there are too many keys to count.
    pub(crate) fn admit(self: &Arc<Self>, key: &str, now_ns: u64) -> (Admission, Option<Permit>) {
        let mut circuits = self.circuits.lock();
        if !circuits.contains_key(key) {
            if circuits.len() >= MAX_BREAKER_KEYS {
                circuits.retain(|_, circuit| !circuit.is_idle(&self.spec, now_ns));
            }
            if circuits.len() >= MAX_BREAKER_KEYS || key.len() > MAX_BREAKER_KEY_BYTES {
                return (Admission::Pass, None);
            }
            circuits.insert(key.into(), Circuit::new());
        }
        let Some(circuit) = circuits.get_mut(key) else {
            return (Admission::Pass, None);
        };
        let admission = circuit.admit(&self.spec, now_ns);
        let permit = match admission {
            Admission::Refuse { .. } => None,
            Admission::Pass | Admission::Probe => Some(Permit {
                breaker: self.clone(),
                key: key.into(),
                generation: circuit.generation(),
                open: true,
            }),
        };
        (admission, permit)
    }

    /// What `admit` would say, taking nothing.
    pub(crate) fn would_admit(&self, key: &str, now_ns: u64) -> Admission {
        self.circuits
            .lock()
            .get(key)
            .map_or(Admission::Pass, |circuit| {
                circuit.would_admit(&self.spec, now_ns)
            })
    }

    pub(crate) fn state(&self, key: &str, now_ns: u64) -> CircuitState {
        self.circuits
            .lock()
            .get(key)
            .map_or(CircuitState::Closed, |circuit| circuit.state(now_ns))
    }

    pub(crate) fn force(&self, key: &str, state: CircuitState, for_ms: u64, now_ns: u64) {
        let mut circuits = self.circuits.lock();
        if let Some(circuit) = circuits.get_mut(key) {
            circuit.force(&self.spec, state, for_ms, now_ns);
        } else if circuits.len() < MAX_BREAKER_KEYS && key.len() <= MAX_BREAKER_KEY_BYTES {
            let mut circuit = Circuit::new();
            circuit.force(&self.spec, state, for_ms, now_ns);
            circuits.insert(key.into(), circuit);
        }
    }

    pub(crate) fn snapshot(&self, now_ns: u64) -> Vec<KeySnapshot> {
        let mut keys: Vec<KeySnapshot> = self
            .circuits
            .lock()
            .iter()
            .map(|(key, circuit)| {
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

    fn with_circuit(&self, key: &str, change: impl FnOnce(&CircuitSpec, &mut Circuit)) {
        if let Some(circuit) = self.circuits.lock().get_mut(key) {
            change(&self.spec, circuit);
        }
    }
}

/// Leave to make one call. Settled with its result, or dropped: then it goes back uncounted.
#[must_use]
pub(crate) struct Permit {
    breaker: Arc<Breaker>,
    key: Box<str>,
    generation: u64,
    open: bool,
}

impl Permit {
    pub(crate) fn is_of(&self, breaker: &Breaker, key: &str) -> bool {
        std::ptr::eq(Arc::as_ptr(&self.breaker), breaker) && *self.key == *key
    }

    pub(crate) fn settle(mut self, call: Settlement, now_ns: u64) {
        self.open = false;
        self.breaker.with_circuit(&self.key, |spec, circuit| {
            circuit.settle(spec, self.generation, call, now_ns)
        });
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.open {
            self.breaker
                .with_circuit(&self.key, |_, circuit| circuit.abandon(self.generation));
        }
    }
}

#[cfg(test)]
mod tests;
