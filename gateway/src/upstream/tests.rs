//! Upstreams against real servers on loopback.
