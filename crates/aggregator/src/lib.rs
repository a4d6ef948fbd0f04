//! The centre that sites sync to: verifies sealed batches, stores them verbatim and durably, and answers questions
//! about what is there.
//!
//! - [`server`]: HTTP/3 with client certificates; [`service`] maps a request to one of [`enroll`], [`ingest`], [`state`].
//! - [`store`]: named immutable objects with conditional create; [`store::local`] keeps them in a directory.
//! - [`layout`]: the names of the objects.
//! - [`query`]: counts, lists and audits a store; needs no running server.
//! - [`counters`]: adds up encrypted counters across sites; needs no running server either.
//! - [`admin`], [`metrics`]: health, readiness, numbers.
//!
//! Invariants: no state outside the store, so several aggregators may share one; nothing is acknowledged before it is
//! durable; nothing stored is ever changed or removed; every byte of a batch was verified before it is stored.

pub mod admin;
pub mod config;
pub mod counters;
pub mod enroll;
pub mod ingest;
pub mod layout;
pub mod metrics;
pub mod query;
pub mod reply;
pub mod server;
pub mod service;
pub mod state;
pub mod store;
