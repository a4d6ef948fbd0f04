//! Upstreams: named services, their endpoints and connections.
