//! What the operator says of the host and of one policy. Checked here, before anything is compiled.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::artifacts::ArtifactDir;
use crate::clock::{Clock, SystemClock};
use crate::health::FaultRule;
use crate::pin::Pin;
use crate::services::Services;
use crate::tier::Effort;
use crate::workshop::CompilerProgram;

/// A policy's name: it labels metrics and log lines.
pub const MAX_NAME_BYTES: usize = 64;
/// A policy's own configuration.
pub const MAX_CONFIG_BYTES: usize = 1 << 20;
/// The most fuel one call can be given: seconds of work, which no request may wait for.
pub const MAX_FUEL: u64 = 10_000_000_000;
/// The longest deadline of one call.
pub const MAX_DEADLINE: Duration = Duration::from_secs(10);
/// Calls at the same time of a policy that may wait, if the operator says nothing: with answers after 10 ms, 1600 calls a second.
pub const DEFAULT_INSTANCES: usize = 16;
/// The most of them: each can have as much memory as a policy may have.
pub const MAX_INSTANCES: usize = 1024;
/// The longest that a call may wait: no client waits longer.
pub const MAX_WAIT: Duration = Duration::from_secs(300);
/// The least memory that a component can start in: two pages.
pub const MIN_MEMORY_BYTES: usize = 128 * 1024;

/// A chat with a long history, a form, a JSON document.
pub const DEFAULT_BODY_BYTES: usize = 1 << 20;
/// The longest body that any policy can be given whole.
pub const MAX_BODY_BYTES: usize = 64 << 20;

/// Settings of the host as a whole.
#[derive(Clone)]
pub struct HostConfig {
    /// Threads that call policies: each policy keeps as many warm instances.
    pub workers: usize,
    /// Policies that may be loaded at once, in one chain or in several; room for a swap comes on top.
    pub max_policies: usize,
    /// Room for instances of policies that may wait, all of these policies together; room for a swap comes on top.
    pub waiting_instances: usize,
    /// The most that any one policy's `Limits::memory_bytes` can be.
    pub max_memory_bytes: usize,
    pub max_module_bytes: usize,
    /// Where compiled modules are kept for the next process; None: they are compiled anew.
    pub artifacts: Option<ArtifactDir>,
    /// What compiles in a process of its own, where that takes long; None: everything is compiled in this one, without limits.
    pub compiler: Option<CompilerProgram>,
    /// Whether a component that wraps one core module is called without the component model between: the same, in a fraction of the
    /// time.
    pub direct: bool,
    /// The most that any one policy's `PolicySpec::max_body_bytes` can be.
    pub max_body_bytes: usize,
    /// How exactly deadlines are kept; the host's thread wakes this often.
    pub tick: Duration,
    pub fault_rule: FaultRule,
    pub clock: Arc<dyn Clock>,
    pub services: Services,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            max_policies: 32,
            waiting_instances: 16 * DEFAULT_INSTANCES,
            max_memory_bytes: 64 << 20,
            max_module_bytes: 32 << 20,
            artifacts: None,
            compiler: None,
            direct: true,
            max_body_bytes: MAX_BODY_BYTES,
            tick: Duration::from_millis(10),
            fault_rule: FaultRule::default(),
            clock: Arc::new(SystemClock::new()),
            services: Services::default(),
        }
    }
}

/// What one call of a policy may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of one instance, all of it together.
    pub memory_bytes: usize,
    /// About one per Wasm instruction. The real limit: the same on every machine.
    pub fuel: u64,
    /// The backstop, for a machine so busy that fuel takes long to burn. Not for policies that may wait: theirs is `max_wait`, and
    /// while they compute they give way to other tasks.
    pub deadline: Duration,
    /// Calls of a policy that may wait, at the same time; each has an instance.
    pub instances: usize,
    /// The longest that one call may take, all its waits together. Only for policies that may wait.
    pub max_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 32 << 20,
            fuel: 10_000_000,
            deadline: Duration::from_millis(100),
            instances: DEFAULT_INSTANCES,
            max_wait: Duration::from_secs(30),
        }
    }
}

/// What becomes of an exchange when its policy fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFault {
    /// The exchange is answered 503: for policies that guard something.
    #[default]
    Deny,
    /// As if the policy were not there.
    Skip,
}

/// What becomes of an instance after a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InstanceChoice {
    /// It serves on: the fastest. A guest can keep what it saw from one exchange to the next.
    #[default]
    Warm,
    /// It is dropped: each call of each hook has an instance of its own, started and configured for it, with nothing left of any
    /// call before. For guests that nobody trusts to forget.
    PerRequest,
}

/// A capability that is granted by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grant {
    Limits,
    Breakers,
    Kv,
    Cache,
    Upstreams,
    Llm,
    HttpCall,
    Outbox,
}

impl Grant {
    pub const ALL: [Grant; 8] = [
        Grant::Limits,
        Grant::Breakers,
        Grant::Kv,
        Grant::Cache,
        Grant::Upstreams,
        Grant::Llm,
        Grant::HttpCall,
        Grant::Outbox,
    ];

    /// The interface's name in the contract, and the name in the operator's config.
    pub fn name(self) -> &'static str {
        match self {
            Grant::Limits => "limits",
            Grant::Breakers => "breakers",
            Grant::Kv => "kv",
            Grant::Cache => "cache",
            Grant::Upstreams => "upstreams",
            Grant::Llm => "llm",
            Grant::HttpCall => "http-call",
            Grant::Outbox => "outbox",
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be granted; there are: {there}", there = names())]
pub struct UnknownGrant(String);

fn names() -> String {
    Grant::ALL.map(Grant::name).join(", ")
}

impl FromStr for Grant {
    type Err = UnknownGrant;

    fn from_str(name: &str) -> Result<Self, UnknownGrant> {
        Grant::ALL
            .into_iter()
            .find(|grant| grant.name() == name)
            .ok_or_else(|| UnknownGrant(name.to_owned()))
    }
}

/// One policy to load.
#[derive(Clone)]
pub struct PolicySpec {
    pub name: String,
    /// A component. Text (`.wat`) is not taken.
    pub wasm: Vec<u8>,
    /// How well it is to be compiled.
    pub effort: Effort,
    /// Another module than this one is refused.
    pub pin: Option<Pin>,
    /// The policy's own configuration, passed to `configure` as it is.
    pub config_json: String,
    pub grants: Vec<Grant>,
    pub limits: Limits,
    pub on_fault: OnFault,
    pub instance: InstanceChoice,
    /// The longest body that it is given whole, or that it may put in place of one.
    pub max_body_bytes: usize,
    /// Run it as one that may wait even if it imports nothing that waits: then a long computation gives way to other tasks.
    pub may_wait: bool,
    /// Policies with the same scope share their limiters, gates and breakers. None: the policy's own.
    pub shared_scope: Option<String>,
    /// Whether its limiters are kept in the store of [`Services::limits`](crate::Services), so that a call may wait for it; without
    /// a store they are this process's own.
    pub shared_limits: bool,
    /// Names of key-value stores that are not the policy's own, but shared by all policies that list them.
    pub kv_shared: Vec<String>,
    /// Upstreams that it may send requests of its own to, if it is granted `http-call`.
    pub calls: Vec<String>,
}

impl PolicySpec {
    /// A policy with nothing granted, the default limits, and `on_fault = deny`.
    pub fn new(name: impl Into<String>, wasm: Vec<u8>) -> Self {
        Self {
            name: name.into(),
            wasm,
            effort: Effort::default(),
            pin: None,
            config_json: "{}".to_owned(),
            grants: Vec::new(),
            limits: Limits::default(),
            on_fault: OnFault::default(),
            instance: InstanceChoice::default(),
            max_body_bytes: DEFAULT_BODY_BYTES,
            may_wait: false,
            shared_scope: None,
            shared_limits: false,
            kv_shared: Vec::new(),
            calls: Vec::new(),
        }
    }

    /// What is wrong with it, if anything.
    pub(crate) fn problem(&self, host: &HostConfig) -> Option<String> {
        let limits = &self.limits;
        let name_ok =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if self.name.is_empty()
            || self.name.len() > MAX_NAME_BYTES
            || !self.name.chars().all(name_ok)
        {
            return Some("the name must be 1 to 64 of a-z, 0-9, `-` and `_`".into());
        }
        if self.config_json.len() > MAX_CONFIG_BYTES {
            return Some("the configuration must be at most 1 MiB".into());
        }
        if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&self.config_json) {
            return Some(format!("the configuration is not JSON: {error}"));
        }
        if limits.memory_bytes < MIN_MEMORY_BYTES || limits.memory_bytes > host.max_memory_bytes {
            return Some(format!(
                "the memory limit must be {MIN_MEMORY_BYTES} to {} bytes (`max_memory_bytes` of the host)",
                host.max_memory_bytes
            ));
        }
        if limits.fuel == 0 || limits.fuel > MAX_FUEL {
            return Some(format!("the fuel limit must be 1 to {MAX_FUEL}"));
        }
        if limits.deadline.is_zero() || limits.deadline > MAX_DEADLINE {
            return Some("the deadline must be above zero and at most 10 s".into());
        }
        if self.max_body_bytes == 0 || self.max_body_bytes > host.max_body_bytes {
            return Some(format!(
                "the body limit must be 1 to {} bytes",
                host.max_body_bytes
            ));
        }
        if limits.instances == 0 || limits.instances > MAX_INSTANCES {
            return Some(format!("`instances` must be 1 to {MAX_INSTANCES}"));
        }
        if limits.max_wait.is_zero() || limits.max_wait > MAX_WAIT {
            return Some("`max_wait` must be above zero and at most 5 min".into());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_grant_is_found_by_its_name() {
        for grant in Grant::ALL {
            assert_eq!(grant.name().parse(), Ok(grant));
        }
        let refused = "files".parse::<Grant>().unwrap_err().to_string();
        assert!(
            refused.starts_with("\"files\" cannot be granted; there are: limits, breakers, kv, "),
            "{refused}"
        );
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        let host = HostConfig::default();
        let check = |change: &dyn Fn(&mut PolicySpec), word: &str| {
            let mut spec = PolicySpec::new("p", Vec::new());
            change(&mut spec);
            let problem = spec.problem(&host).unwrap_or_default();
            assert!(problem.contains(word), "{word}: {problem}");
        };
        assert_eq!(PolicySpec::new("p", Vec::new()).problem(&host), None);
        check(&|s| s.name = String::new(), "name");
        check(&|s| s.name = "Bad name".into(), "name");
        check(&|s| s.config_json = "{".into(), "JSON");
        check(
            &|s| s.config_json = format!("\"{}\"", "x".repeat(MAX_CONFIG_BYTES)),
            "1 MiB",
        );
        check(&|s| s.limits.memory_bytes = 1, "memory");
        check(&|s| s.limits.memory_bytes = usize::MAX, "memory");
        check(&|s| s.limits.fuel = 0, "fuel");
        check(&|s| s.limits.deadline = Duration::ZERO, "deadline");
        check(&|s| s.max_body_bytes = 0, "body");
        check(&|s| s.max_body_bytes = MAX_BODY_BYTES + 1, "body");
        check(&|s| s.limits.instances = 0, "instances");
        check(&|s| s.limits.max_wait = MAX_WAIT * 2, "max_wait");
    }
}
