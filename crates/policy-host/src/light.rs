//! Which modules are so small and plain that compiling them quickly is over soon, whatever they are made of. They are compiled where
//! they are wanted; all others in a process of its own (`workshop.rs`), which can be stopped.
//!
//! A compiler's time and memory grow with its input, but for a few things, and those are measured here: variables that live across
//! branches (the compiler asks about each at each branch), and types that make many values of one instruction. What is not plain is
//! not refused: honest modules of large runtimes are not plain either.

use wasmparser::{
    BlockType, CompositeInnerType, Encoding, FuncType, FunctionBody, Operator, Parser, Payload,
    TypeSectionReader,
};

/// Of all code of a module or component. The policies that ship have up to 121 KiB.
pub(crate) const MAX_LIGHT_BYTES: u64 = 512 * 1024;
/// Of one function.
pub(crate) const MAX_LIGHT_FUNCTION_BYTES: u64 = 32 * 1024;
/// Branches times variables, of all functions together. The policies that ship have up to 90 000.
pub(crate) const MAX_LIGHT_CROSSINGS: u64 = 1_000_000;
/// Parameters of one function's type: LLVM passes the rest in memory.
pub(crate) const MAX_LIGHT_PARAMS: usize = 64;
/// Results of one function's type.
pub(crate) const MAX_LIGHT_RESULTS: usize = 4;

/// Takes about a millisecond for each 100 KiB, and no longer for what is larger than light. What is malformed is light: the compiler
/// refuses it soon.
pub(crate) fn is_light(wasm: &[u8]) -> bool {
    let mut so_far = SoFar::default();
    for payload in Parser::new(0).parse_all(wasm) {
        let Ok(payload) = payload else { break };
        if !so_far.take(&payload) {
            return false;
        }
    }
    true
}

#[derive(Default)]
struct SoFar {
    bytes: u64,
    crossings: u64,
    /// Components that are open.
    depth: usize,
    open: Vec<Encoding>,
}

impl SoFar {
    /// Whether all is light so far.
    fn take(&mut self, payload: &Payload<'_>) -> bool {
        match payload {
            Payload::Version { encoding, .. } => {
                self.open.push(*encoding);
                self.depth += usize::from(*encoding == Encoding::Component);
                true
            }
            Payload::End(_) => {
                let closed = self.open.pop();
                self.depth -= usize::from(closed == Some(Encoding::Component));
                true
            }
            // Code of components within components talks through adapters, which are compiled too.
            Payload::ComponentCanonicalSection(_) => self.depth < 2,
            Payload::TypeSection(types) => are_plain(types),
            Payload::CodeSectionEntry(body) => self.function(body),
            _ => true,
        }
    }

    fn function(&mut self, body: &FunctionBody<'_>) -> bool {
        let range = body.range();
        let bytes = range.end.saturating_sub(range.start);
        self.bytes = self.bytes.saturating_add(bytes);
        if bytes > MAX_LIGHT_FUNCTION_BYTES || self.bytes > MAX_LIGHT_BYTES {
            return false;
        }
        let crossings = crossings(body);
        self.crossings = self.crossings.saturating_add(crossings.unwrap_or(u64::MAX));
        self.crossings <= MAX_LIGHT_CROSSINGS
    }
}

/// Branches times the variables that it touches (parameters among them). None: blocks that take or give many values.
fn crossings(body: &FunctionBody<'_>) -> Option<u64> {
    let Ok(operators) = body.get_operators_reader() else {
        return Some(0);
    };
    let (mut branches, mut variables) = (1_u64, 0_u64);
    for operator in operators {
        match operator {
            Ok(
                Operator::Block { blockty } | Operator::Loop { blockty } | Operator::If { blockty },
            ) => {
                if matches!(blockty, BlockType::FuncType(_)) {
                    return None;
                }
                branches += 1;
            }
            Ok(Operator::Else | Operator::BrIf { .. } | Operator::BrTable { .. }) => branches += 1,
            Ok(
                Operator::LocalGet { local_index }
                | Operator::LocalSet { local_index }
                | Operator::LocalTee { local_index },
            ) => variables = variables.max(u64::from(local_index) + 1),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    Some(branches * variables)
}

fn are_plain(types: &TypeSectionReader<'_>) -> bool {
    let plain = |of: &FuncType| {
        of.params().len() <= MAX_LIGHT_PARAMS && of.results().len() <= MAX_LIGHT_RESULTS
    };
    types.clone().into_iter().flatten().all(|group| {
        group.types().all(|one| match &one.composite_type.inner {
            CompositeInnerType::Func(of) => plain(of),
            _ => true,
        })
    })
}

#[cfg(test)]
#[path = "light/tests.rs"]
mod tests;
