//! Modules that changed, taken into service while the gateway serves: one after the other loaded and tried out beside the old one,
//! then swapped in for new requests, all that changed at once. One that is refused changes nothing: the old one stays.
//!
//! A module that is new serves at first with code that was made quickly; it is optimised behind (`optimise.rs`), and swapped once more.
//!
//! Only modules are taken anew. What the config says of a policy, and of all else, is what the gateway was started with; whoever
//! asks is told which of it has changed.

mod optimise;
mod settings;
mod watch;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use policy_host::{Pin, Tier};
use serde_json::{Value, json};

use crate::config::{Config, PolicyConfig};
use crate::pipeline::Gateway;
use crate::policies::{Loaded, Policies, PolicyError};
use optimise::{Bench, Job};

pub use watch::run as watch;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// Something happened to a file: what was refused before is not tried again.
    Change,
    /// The operator wants it: everything is tried.
    Demand,
}

/// What became of one policy's module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reloaded {
    Unchanged,
    Swapped { digest: Pin },
    Refused { digest: Option<Pin>, reason: String },
}

/// How a policy's module stands, beyond the one that serves.
#[derive(Debug, Clone, Default)]
struct Standing {
    swaps: u64,
    /// The file as it is now cannot be used.
    refused: Option<Refusal>,
}

#[derive(Debug, Clone)]
struct Refusal {
    /// None: it could not be read.
    digest: Option<Pin>,
    reason: String,
}

/// A module that is ready to serve.
struct New {
    loaded: Loaded,
    /// Its code was made quickly.
    quick: Option<Job>,
}

pub struct Reloader {
    config: Arc<Config>,
    policies: Arc<Policies>,
    gateway: Arc<Gateway>,
    /// Held for the whole of a reload: there is one at a time.
    turn: Mutex<()>,
    /// Modules whose code is to become better.
    bench: Bench,
    standing: Mutex<HashMap<String, Standing>>,
}

impl Reloader {
    pub fn new(config: Arc<Config>, policies: Arc<Policies>, gateway: Arc<Gateway>) -> Self {
        Self {
            config,
            policies,
            gateway,
            turn: Mutex::new(()),
            bench: Bench::default(),
            standing: Mutex::default(),
        }
    }

    /// Looks at every module's file. Compiles: not for a worker thread.
    pub fn reload(self: &Arc<Self>, trigger: Trigger) -> Vec<(String, Reloaded)> {
        if let (Trigger::Demand, Some(source)) = (trigger, &self.config.source) {
            settings::warn_of_changes(source);
        }
        self.reload_those(trigger, |_| true)
    }

    /// The same for some modules only.
    fn reload_those(
        self: &Arc<Self>,
        trigger: Trigger,
        those: impl Fn(&Path) -> bool,
    ) -> Vec<(String, Reloaded)> {
        let turn = self.turn.lock();
        let (mut ready, mut quick, mut all) = (Vec::new(), Vec::new(), Vec::new());
        let policies = self.config.policies.iter();
        for policy in policies.filter(|policy| those(&policy.module)) {
            let reloaded = match self.renew(policy, trigger) {
                Ok(None) => Reloaded::Unchanged,
                Ok(Some(new)) => {
                    let digest = new.loaded.digest;
                    ready.push(new.loaded);
                    quick.extend(new.quick);
                    Reloaded::Swapped { digest }
                }
                Err(refusal) => Reloaded::Refused {
                    digest: refusal.digest,
                    reason: refusal.reason,
                },
            };
            all.push((policy.name.clone(), reloaded));
        }
        self.install(ready);
        for (name, reloaded) in &all {
            self.note(name, reloaded, trigger);
        }
        drop(turn);
        self.improve(quick);
        all
    }

    /// For new requests, from here on. The turn is the caller's.
    fn install(&self, ready: Vec<Loaded>) {
        if !ready.is_empty() {
            self.policies.install(ready);
            self.gateway.set_routes(self.policies.routes(&self.config));
        }
    }

    fn renew(&self, policy: &PolicyConfig, trigger: Trigger) -> Result<Option<New>, Refusal> {
        let refused = |digest: Option<Pin>, error: PolicyError| Refusal {
            digest,
            reason: error.to_string(),
        };
        let wasm = Policies::read(policy).map_err(|error| refused(None, error))?;
        let digest = Pin::blake3(&wasm);
        if self.policies.digest(&policy.name) == Some(digest) {
            return Ok(None);
        }
        let known = self.standing.lock().get(&policy.name).cloned();
        if let (Trigger::Change, Some(known)) = (trigger, known.and_then(|known| known.refused))
            && known.digest == Some(digest)
        {
            return Err(known);
        }
        let loaded = self
            .policies
            .renew(policy, wasm.clone())
            .map_err(|error| refused(Some(digest), error))?;
        let quick = (loaded.policy.tier() == Tier::Quick).then(|| Job {
            policy: policy.name.clone(),
            digest,
            wasm,
        });
        Ok(Some(New { loaded, quick }))
    }

    fn note(&self, name: &str, reloaded: &Reloaded, trigger: Trigger) {
        let mut all = self.standing.lock();
        let standing = all.entry(name.to_owned()).or_default();
        let result = match reloaded {
            Reloaded::Unchanged => {
                standing.refused = None;
                return;
            }
            Reloaded::Swapped { digest } => {
                standing.swaps += 1;
                standing.refused = None;
                tracing::info!(policy = name, %digest, "a new module of the policy serves");
                "swapped"
            }
            Reloaded::Refused { digest, reason } => {
                let again = standing
                    .refused
                    .as_ref()
                    .is_some_and(|known| known.digest == *digest);
                if again && trigger == Trigger::Change {
                    return;
                }
                standing.refused = Some(Refusal {
                    digest: *digest,
                    reason: reason.clone(),
                });
                tracing::error!(policy = name, %reason, "the new module of the policy is refused; the old one goes on");
                "refused"
            }
        };
        metrics::counter!("gateway_policy_swaps_total", "policy" => name.to_owned(), "result" => result)
            .increment(1);
    }

    /// For `/status`.
    pub fn status_of(&self, name: &str) -> Value {
        let standing = self.standing.lock().get(name).cloned().unwrap_or_default();
        let refused = standing.refused.map(|refusal| {
            json!({ "digest": refusal.digest.map(|digest| digest.to_string()), "reason": refusal.reason })
        });
        json!({
            "digest": self.policies.digest(name).map(|digest| digest.to_string()),
            "code": self.policies.named(name).map(|policy| policy.tier().label()),
            "swaps": standing.swaps,
            "refused": refused,
        })
    }

    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.config.policies.iter().map(|policy| &policy.module)
    }
}

/// What a reload came to, for the admin listener: whether all is well, and the whole.
pub fn report(all: &[(String, Reloaded)]) -> (bool, Value) {
    let one = |(name, reloaded): &(String, Reloaded)| match reloaded {
        Reloaded::Unchanged => json!({ "name": name, "result": "unchanged" }),
        Reloaded::Swapped { digest } => {
            json!({ "name": name, "result": "swapped", "digest": digest.to_string() })
        }
        Reloaded::Refused { digest, reason } => json!({
            "name": name, "result": "refused", "reason": reason,
            "digest": digest.map(|digest| digest.to_string()),
        }),
    };
    let well = !all
        .iter()
        .any(|(_, reloaded)| matches!(reloaded, Reloaded::Refused { .. }));
    (
        well,
        json!({ "policies": all.iter().map(one).collect::<Vec<_>>() }),
    )
}
