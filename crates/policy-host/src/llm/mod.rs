//! What can be known of an LLM request and its response without a guest parsing them: OpenAI's shapes (chat, completions, responses,
//! embeddings) and Ollama's (chat, generate). Pure: bytes in, names and numbers out.
//!
//! Invariants: nothing here is trusted to be JSON; a response is never held, whatever its length; a changed model leaves every other
//! byte of the request as it was.

mod json;
mod known;
mod request;
mod response;

pub(crate) use known::Known;
pub use request::{estimate_prompt, model_of, with_model};
pub use response::{Format, UsageScanner};

/// About so many bytes of UTF-8 text make a token: right within a third for English and for code, and too many tokens rather than
/// too few for most other scripts.
pub(crate) const BYTES_PER_TOKEN: u64 = 4;

/// Tokens of one exchange.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub prompt: u64,
    pub completion: u64,
    /// At least one of the two is not what the upstream said.
    pub estimated: bool,
}

pub(crate) fn tokens_of(text_bytes: u64) -> u64 {
    text_bytes.div_ceil(BYTES_PER_TOKEN)
}
