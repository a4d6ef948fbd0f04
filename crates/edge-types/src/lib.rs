//! edge-types
