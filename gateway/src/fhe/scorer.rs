//! What turns rows into scores: that a request, a program and a key belong together, and then the engine that it is for.
//! Both those who wait for their answer and the jobs come through here.

use std::sync::Arc;

use edge_types::Digest;
use fhe::{FheError, Thing};
use http::StatusCode;
use kernels::MAX_CIPHERTEXTS;
use tokio::sync::oneshot;

use super::batch::{Ask, Batcher, Busy, Class, Evaluated, GivenUp};
use super::keys::KeyStore;
use super::programs::{Entry, Programs};
use super::{Problem, Tenant};

pub(super) struct Scorer {
    pub programs: Arc<Programs>,
    pub keys: Arc<KeyStore>,
    /// Sums alone take microseconds: they never wait behind bootstraps.
    pub linear: Batcher,
    pub bootstrap: Batcher,
}

pub(super) type Answer = oneshot::Receiver<Result<Evaluated, Problem>>;

impl Scorer {
    /// Rows are for the version that they were encrypted for, as long as it is installed.
    pub fn entry(&self, name: &str, request: &fhe::Request) -> Option<Arc<Entry>> {
        let theirs = self.programs.of_digest(name, request.program);
        theirs.or_else(|| self.programs.get(name))
    }

    pub fn submit(&self, ask: Ask) -> Result<Answer, Busy> {
        match ask.program.program().is_linear() {
            true => self.linear.submit(ask),
            false => self.bootstrap.submit(ask),
        }
    }

    /// Who waits is told that nobody will answer.
    pub fn close(&self) {
        self.linear.close();
        self.bootstrap.close();
    }

    /// That the request, the program and the key belong together: all of it before any arithmetic. The ask is awaited, of no
    /// urgency and without an end.
    pub fn check(
        &self,
        request: fhe::Request,
        digest: Digest,
        tenant: &Tenant,
        entry: &Entry,
    ) -> Result<Ask, Problem> {
        let program = entry.compiled.program();
        if request.program != program.digest() {
            let detail = format!(
                "the rows were encrypted for another program, or another version of it; fetch /fhe/v1/programs/{} again",
                program.name()
            );
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "program-changed",
                detail,
            ));
        }
        let info = self
            .keys
            .info(tenant, request.key)
            .ok_or_else(Problem::unknown_key)?;
        let wrong_set = |expected, got| {
            Problem::from(FheError::WrongParams {
                thing: Thing::Request,
                expected,
                got,
            })
        };
        if request.params != info.set {
            return Err(wrong_set(info.set, request.params));
        }
        if !info.set.serves(program.params()) {
            return Err(wrong_set(program.params(), info.set));
        }
        check_shape(&request, program)?;
        let most = MAX_CIPHERTEXTS / entry.compiled.ciphertexts_per_row().max(1);
        if request.rows() > most.max(1) {
            let detail = format!(
                "{} rows at once; this program takes {most}: send several requests",
                request.rows()
            );
            return Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-many-rows",
                detail,
            ));
        }
        Ok(Ask {
            program: entry.compiled.clone(),
            key: request.key,
            tenant: tenant.clone(),
            class: Class::Awaited,
            priority: tenant.settings().priority,
            urgency: 0,
            deadline: None,
            digest,
            request: Arc::new(request),
            given_up: GivenUp::default(),
        })
    }
}

/// As many values, of as many bits each, as the program was made for.
fn check_shape(request: &fhe::Request, program: &fhe::Program) -> Result<(), Problem> {
    let wrong = |detail| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-shape", detail);
    let (values, bits) = (program.input_count(), program.file().input_bits);
    if request.values_per_row() != values {
        return Err(wrong(format!(
            "{} values a row, and the program takes {values}",
            request.values_per_row()
        )));
    }
    // Each bit that is left off is rounding noise that the program's noise was not checked with. More bits are no better than what
    // was promised, and only take space.
    if request.bits() != bits {
        return Err(wrong(format!(
            "{} bits a value, and the program takes {bits}: encrypt with `input_bits` of its public part",
            request.bits()
        )));
    }
    Ok(())
}
