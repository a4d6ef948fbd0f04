//! proxy-wasm: modules built for its ABI run as policies. docs/proxy-wasm.md says what they find here.
//!
//! A VM is one instance with one root context; a stream is the context of one exchange, and stays on the VM that made it. Host
//! functions act on the stream that a call lent. Calls are synchronous; what waits (an answer, a pause) waits outside of Wasm.

mod abi;
mod callbacks;
mod calls;
mod facts;
mod foreign;
mod heads;
mod host;
mod maps;
mod memory;
mod messages;
mod meters;
mod module;
mod plugin;
mod pool;
mod properties;
mod queues;
mod reply;
mod state;
mod stream;
mod ticks;
mod vm;
mod waiting;
mod wasi;

pub(crate) use abi::Half;
pub(crate) use facts::BodyMode;
pub(crate) use messages::{Head, Piece};
pub(crate) use module::{Filter, load};
pub(crate) use plugin::{Plugin, Start, Trouble};
pub(crate) use stream::Pinned;
