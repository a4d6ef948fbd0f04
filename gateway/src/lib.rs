//! veilgate
