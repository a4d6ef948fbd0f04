//! What a policy that may wait can do: ask another service, or leave a record for the centre. The operator grants `http-call`, with
//! the upstreams in `calls`, and `outbox`; a policy that uses either runs on a pool of its own and holds up nobody while it waits.
//!
//! ```
//! use guest_sdk::calls::{self, Call};
//! use guest_sdk::{Decision, LocalResponse, Request};
//!
//! /// Asks the service `auth` about the caller's token.
//! fn on_request(request: &mut Request) -> Decision {
//!     let Some(token) = request.header("authorization") else {
//!         return Decision::respond(LocalResponse::new(401)).reason("auth/missing");
//!     };
//!     let call = Call {
//!         upstream: "auth".to_owned(),
//!         method: "GET".to_owned(),
//!         path: "/check".to_owned(),
//!         headers: vec![("authorization".to_owned(), token)],
//!         body: Vec::new(),
//!         timeout: 500,
//!     };
//!     match calls::send(&call) {
//!         Ok(reply) if reply.status == 200 => Decision::next(),
//!         Ok(_) => Decision::respond(LocalResponse::new(403)).reason("auth/refused"),
//!         Err(_) => Decision::respond(LocalResponse::new(503)).reason("auth/unavailable"),
//!     }
//! }
//! ```
//!
//! `timeout` is in milliseconds; 0 is as long as the hook may still take. An error says why: `denied` (an upstream that is not in
//! `calls`), `limit` (too many calls in one hook or at once, or too long a body), `timeout`, `unavailable`, `invalid`. While a policy is
//! configured nothing can be asked: `unavailable`.
//!
//! [`start`] begins a call and [`Pending::wait`] awaits it, so that several can be under way; [`notify`] begins one that nobody waits
//! for. [`append`] answers once the record is on disk, with its number; its body is best JSON.

pub use crate::bindings::veilgate::policy::http_call::{Call, Pending, Reply, notify, send, start};
pub use crate::bindings::veilgate::policy::outbox::append;
pub use crate::bindings::veilgate::policy::types::Error;
