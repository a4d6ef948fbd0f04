//! What the gateway knows of an LLM request, without the policy reading the body.

pub use crate::bindings::veilgate::policy::llm::{Usage, model, set_model, usage_of};
