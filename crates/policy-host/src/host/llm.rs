//! `llm`: what the gateway knows of an LLM request without the guest parsing it.

use crate::bindings::veilgate::policy::llm::{Host, Usage};
use crate::exchange::Phase;
use crate::state::HostState;

impl Host for HostState {
    fn model(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(self.exchange.llm.model().map(str::to_owned))
    }

    fn set_model(&mut self, name: String) -> wasmtime::Result<bool> {
        Ok(self.exchange.phase == Phase::RequestBody && self.exchange.llm.set_model(name))
    }

    fn usage_of(&mut self) -> wasmtime::Result<Option<Usage>> {
        Ok(self.exchange.llm.usage().map(|usage| Usage {
            prompt: usage.prompt,
            completion: usage.completion,
            estimated: usage.estimated,
        }))
    }
}
