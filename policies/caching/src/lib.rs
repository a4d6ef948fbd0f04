//! policy-caching
