//! sync-wire
