//! policy-rate-limit
