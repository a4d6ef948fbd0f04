//! Nothing to build: the library has it all.
fn main() {}
