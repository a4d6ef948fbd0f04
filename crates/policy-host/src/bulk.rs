//! What would take too long to compile is refused before it is tried. Sizes of functions are the measure, the same on every machine.
//!
//! What is let through can still ask for hours and for all memory, if it is made for that: branches times variables are quadratic for
//! a compiler, and 512 KiB hold 50 000 of each. So what is not `light` is compiled in a process of its own, with limits
//! (`workshop.rs`), and nothing is compiled on a worker: until a module is ready, the one before it serves.

use wasmparser::{Parser, Payload};

/// Of one function's body. The largest known of a real runtime is one of CPython's, with 417 KiB; QuickJS's largest has 53 KiB.
pub(crate) const MAX_FUNCTION_BYTES: u64 = 512 * 1024;
/// Of one module or component, those nested in it included. CPython has some 15 000.
pub(crate) const MAX_FUNCTIONS: usize = 200_000;
/// Modules and components, nested ones included: what a component can bring is compiled one by one.
pub(crate) const MAX_PARTS: usize = 64;

/// What is malformed is left for the compiler to say.
pub(crate) fn check(wasm: &[u8]) -> wasmtime::Result<()> {
    let (mut functions, mut parts) = (0, 0);
    for payload in Parser::new(0).parse_all(wasm) {
        match payload {
            Ok(Payload::CodeSectionEntry(body)) => {
                functions += 1;
                let range = body.range();
                let bytes = range.end.saturating_sub(range.start);
                if bytes > MAX_FUNCTION_BYTES {
                    return Err(wasmtime::Error::msg(format!(
                        "one of its functions has {bytes} bytes, more than {MAX_FUNCTION_BYTES}; it would take too long to compile"
                    )));
                }
                if functions > MAX_FUNCTIONS {
                    return Err(wasmtime::Error::msg(format!(
                        "it has more than {MAX_FUNCTIONS} functions; strip what it does not use"
                    )));
                }
            }
            Ok(Payload::Version { .. }) => {
                parts += 1;
                if parts > MAX_PARTS {
                    return Err(wasmtime::Error::msg(format!(
                        "it has more than {MAX_PARTS} modules and components within it"
                    )));
                }
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    Ok(())
}
