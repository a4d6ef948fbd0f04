//! `/fhe/v1/programs`: what can be asked for.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};

use super::{Answer, json};
use crate::fhe::programs::Entry;
use crate::fhe::{FheService, Problem};

impl FheService {
    pub(super) fn list_programs(&self) -> Response<Bytes> {
        let programs: Vec<_> = self.programs.all().iter().map(|one| listed(one)).collect();
        let body = serde_json::json!({ "programs": programs });
        json(StatusCode::OK, body.to_string().into())
    }

    /// The newest version.
    pub(super) fn program(&self, name: &str) -> Result<Arc<Entry>, Problem> {
        self.programs.get(name).ok_or_else(unknown)
    }

    pub(super) fn describe_version(&self, name: &str, version: &str) -> Answer {
        let version = version.parse().map_err(|_| unknown())?;
        let entry = self.programs.version(name, version).ok_or_else(unknown)?;
        Ok(json(StatusCode::OK, entry.public.clone()))
    }
}

/// One line of the list.
pub(in crate::fhe) fn listed(entry: &Entry) -> serde_json::Value {
    let program = entry.compiled.program();
    serde_json::json!({
        "name": program.name(),
        "version": program.version(),
        "digest": program.digest(),
        "params": program.params(),
        "bootstraps_per_row": program.bootstraps_per_row(),
    })
}

pub(in crate::fhe) fn unknown() -> Problem {
    let detail = "there is no program of this name, or version of it, here; GET /fhe/v1/programs lists those that are";
    Problem::new(StatusCode::NOT_FOUND, "unknown-program", detail)
}
