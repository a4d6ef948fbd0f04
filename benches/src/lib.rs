//! veilgate-benches
