//! Makes instances of one policy, of either kind.

use std::sync::Arc;

use crate::apart;
use crate::error::{Fault, FaultKind};
use crate::instance::{Allowance, Instance, StartError};
use crate::module::Module;
use crate::state::{HostState, Shared};

pub(crate) struct Maker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) module: Module,
    pub(crate) config_json: String,
    pub(crate) memory_bytes: usize,
    pub(crate) to_start: Allowance,
}

impl Maker {
    pub(crate) fn warm(&self) -> Result<Box<Instance>, StartError> {
        let made = Instance::start(&self.module, self.state(), &self.config_json, self.to_start);
        made.map(Box::new)
    }

    pub(crate) async fn waiting(&self) -> Result<Box<Instance>, StartError> {
        let starting =
            Instance::start_waiting(&self.module, self.state(), &self.config_json, self.to_start);
        starting.await.map(Box::new)
    }

    /// The first one, when the policy is loaded.
    pub(crate) fn first_waiting(&self) -> Result<Box<Instance>, StartError> {
        apart::run(self.waiting()).unwrap_or_else(|detail| {
            Err(StartError::Fault(Fault::new(FaultKind::Instance, detail)))
        })
    }

    fn state(&self) -> HostState {
        let state = HostState::new(self.shared.clone(), self.memory_bytes);
        match self.module.waits {
            true => state.may_wait(self.module.wasi),
            false => state,
        }
    }
}
