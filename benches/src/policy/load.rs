//! Loads built policies, as a gateway would.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use examples::client::Error;
use policy_host::{
    Chain, Clock, Grant, HostConfig, InstanceChoice, Policy, PolicyHost, PolicySpec, PrimitiveCaps,
    Primitives, SystemClock,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Settings {
    policy: Vec<PolicySettings>,
}

/// The part of a gateway's `[[policy]]` that a policy's cost depends on.
#[derive(Clone, Deserialize)]
pub struct PolicySettings {
    pub name: String,
    pub module: PathBuf,
    #[serde(default)]
    grants: Vec<String>,
    config: Option<toml::Table>,
}

impl PolicySettings {
    pub fn read(text: &str) -> Result<Vec<Self>, Error> {
        let settings: Settings = toml::from_str(text).map_err(|error| Error::of(&error))?;
        Ok(settings.policy)
    }

    pub fn config_json(&self) -> Result<String, Error> {
        let config = self.config.clone().unwrap_or_default();
        serde_json::to_string(&config).map_err(|error| Error::of(&error))
    }
}

pub struct Loader {
    host: PolicyHost,
    pub primitives: Arc<Primitives>,
    pub clock: Arc<dyn Clock>,
}

/// One policy, and a chain of nothing else.
pub struct Loaded {
    pub policy: Arc<Policy>,
    pub chain: Chain,
}

impl Loader {
    pub fn new() -> Result<Self, Error> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let config = HostConfig {
            clock: Arc::clone(&clock),
            ..HostConfig::default()
        };
        Ok(Self {
            host: PolicyHost::new(config).map_err(|error| Error::of(&error))?,
            primitives: Primitives::new(PrimitiveCaps::default()),
            clock,
        })
    }

    pub fn shipped(
        &self,
        settings: &PolicySettings,
        instance: InstanceChoice,
    ) -> Result<Loaded, Error> {
        let mut spec = PolicySpec::new(&settings.name, std::fs::read(&settings.module)?);
        spec.config_json = settings.config_json()?;
        for grant in &settings.grants {
            let grant: Grant = grant.parse().map_err(|error| Error::of(&error))?;
            spec.grants.push(grant);
        }
        self.load(spec, instance)
    }

    /// One with nothing granted and no settings.
    pub fn bare(
        &self,
        name: &str,
        module: &Path,
        instance: InstanceChoice,
    ) -> Result<Loaded, Error> {
        self.load(PolicySpec::new(name, std::fs::read(module)?), instance)
    }

    fn load(&self, mut spec: PolicySpec, instance: InstanceChoice) -> Result<Loaded, Error> {
        spec.instance = instance;
        let policy = self
            .host
            .load(spec, &self.primitives)
            .map_err(|error| Error::of(&error))?;
        if policy.may_wait() {
            return Err(Error::new(format!(
                "policy {} may wait; what is measured here are policies that never do",
                policy.name()
            )));
        }
        Ok(Loaded {
            chain: Chain::new(vec![Arc::clone(&policy)]),
            policy,
        })
    }
}
