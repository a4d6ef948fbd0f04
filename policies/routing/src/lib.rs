//! policy-routing
