//! veilgate-examples
