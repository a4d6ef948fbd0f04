//! The operator's hand on programs, behind the admin listener: listed, installed, removed while the gateway runs.

use http::StatusCode;
use serde_json::{Value, json};

use super::http::programs::listed;
use super::programs::Installed;
use super::{FheService, ProgramsError};
use crate::admin::ProgramDesk;

impl ProgramDesk for FheService {
    fn list(&self) -> Value {
        let all = self.programs.all();
        let one = |entry: &std::sync::Arc<super::programs::Entry>| {
            let mut one = listed(entry);
            one["memory_bytes"] = json!(entry.bytes);
            one
        };
        json!({ "programs": all.iter().map(one).collect::<Vec<_>>() })
    }

    fn install(&self, program: &[u8], is_replacing: bool) -> (StatusCode, Value) {
        match self.programs.install(program, is_replacing) {
            Ok((entry, installed)) => {
                let (status, result) = match installed {
                    Installed::New => (StatusCode::CREATED, "installed"),
                    Installed::Replaced => (StatusCode::OK, "replaced"),
                    Installed::Unchanged => (StatusCode::OK, "unchanged"),
                };
                let mut told = listed(&entry);
                told["result"] = json!(result);
                (status, told)
            }
            Err(error) => (status_of(&error), json!({ "error": error.to_string() })),
        }
    }

    fn remove(&self, name: &str, version: Option<u32>) -> (StatusCode, Value) {
        match self.programs.remove(name, version) {
            Ok(0) => {
                let error = "there is no such program; GET /fhe/programs lists those that are";
                (StatusCode::NOT_FOUND, json!({ "error": error }))
            }
            Ok(removed) => (StatusCode::OK, json!({ "removed": removed })),
            Err(error) => (status_of(&error), json!({ "error": error.to_string() })),
        }
    }
}

fn status_of(error: &ProgramsError) -> StatusCode {
    match error {
        ProgramsError::Program { .. } | ProgramsError::Compile { .. } => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        ProgramsError::Another { .. }
        | ProgramsError::Twice { .. }
        | ProgramsError::Waiting { .. } => StatusCode::CONFLICT,
        ProgramsError::TooMany(_)
        | ProgramsError::TooManyVersions(_)
        | ProgramsError::Memory { .. } => StatusCode::INSUFFICIENT_STORAGE,
        ProgramsError::Io { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
