//! How much work is put into a module's machine code. Both tiers obey the same rules and count the same fuel: they differ in how long
//! compiling takes, and how long a call does.

use wasmtime::{Config, Engine, OptLevel, RegallocAlgorithm};

use crate::engine::engine_config;

/// Of a module's machine code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Made in less than half the time, as a stopgap: calls take longer.
    Quick,
    Optimised,
}

/// What the one who loads a policy wants of its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Effort {
    /// Optimised, however long that takes; quick code only where optimising goes over its limits.
    #[default]
    Full,
    /// What is soonest there: `PolicyHost::optimise` makes the better code later.
    Soon,
}

impl Tier {
    /// For metrics, the status, and the compiler's process.
    pub fn label(self) -> &'static str {
        match self {
            Tier::Quick => "quick",
            Tier::Optimised => "optimised",
        }
    }
}

/// An engine that only compiles, for the one that runs what it makes.
pub(crate) fn compiling_engine(tier: Tier) -> wasmtime::Result<Engine> {
    let mut config: Config = engine_config();
    if tier == Tier::Quick {
        config
            .cranelift_opt_level(OptLevel::None)
            .cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass);
    }
    Engine::new(&config)
}
