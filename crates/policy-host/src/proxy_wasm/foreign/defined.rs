//! What one VM defined, by name: a use is a look-up here, and not in the registry of the process.

use std::collections::HashMap;
use std::sync::Arc;

use crate::primitives::{Breaker, DefineError, Gate, KvStore, Limiter};
use crate::proxy_wasm::abi::Status;
use crate::proxy_wasm::memory::Answer;
use crate::state::Shared;

/// Of each kind: what the registry grants a policy.
const MAX_NAMES: usize = 64;

#[derive(Default)]
pub(in crate::proxy_wasm) struct Defined {
    pub(super) limiters: HashMap<Box<str>, Arc<Limiter>>,
    pub(super) gates: HashMap<Box<str>, Arc<Gate>>,
    pub(super) breakers: HashMap<Box<str>, Arc<Breaker>>,
    stores: HashMap<Box<str>, Arc<KvStore>>,
}

impl Defined {
    /// Stores need no definition. None: refused.
    pub(in crate::proxy_wasm) fn store(
        &mut self,
        shared: &Shared,
        name: &str,
    ) -> Option<Arc<KvStore>> {
        if let Some(known) = self.stores.get(name) {
            return Some(known.clone());
        }
        let common = shared.kv_shared.iter().any(|known| known == name);
        let scope = (!common).then_some(shared.scope.as_str());
        let store = shared.primitives.store(scope, name).ok()?;
        if self.stores.len() < MAX_NAMES {
            self.stores.insert(name.into(), store.clone());
        }
        Some(store)
    }
}

/// Takes the place of an earlier one of the name.
pub(super) fn keep<T>(
    known: &mut HashMap<Box<str>, Arc<T>>,
    shared: &Shared,
    name: &str,
    defined: Result<Arc<T>, DefineError>,
) -> Answer {
    let defined = defined.and_then(|primitive| {
        if known.len() >= MAX_NAMES && !known.contains_key(name) {
            return Err(DefineError::TooMany);
        }
        known.insert(name.into(), primitive);
        Ok(())
    });
    let Err(error) = defined else {
        return Ok(());
    };
    tracing::warn!(target: "policy", policy = %shared.policy, name, %error, "a definition was refused");
    Err(match error {
        DefineError::TooMany => Status::InternalFailure,
        _ => Status::BadArgument,
    }
    .into())
}
