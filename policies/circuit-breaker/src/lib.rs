//! policy-circuit-breaker
