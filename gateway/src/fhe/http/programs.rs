//! `/fhe/v1/programs`: what can be asked for.

use bytes::Bytes;
use http::{Response, StatusCode};

use super::json;
use crate::fhe::programs::Entry;
use crate::fhe::{FheService, Problem};

impl FheService {
    pub(super) fn list_programs(&self) -> Response<Bytes> {
        let mut body = b"{\"programs\":[".to_vec();
        for (index, entry) in self.programs.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            let program = entry.compiled.program();
            let item = serde_json::json!({
                "name": program.name(),
                "version": program.version(),
                "digest": program.digest(),
                "params": program.params(),
                "bootstraps_per_row": program.bootstraps_per_row(),
            });
            body.extend_from_slice(item.to_string().as_bytes());
        }
        body.extend_from_slice(b"]}");
        json(StatusCode::OK, body.into())
    }

    pub(super) fn program(&self, name: &str) -> Result<&Entry, Problem> {
        self.programs.get(name).ok_or_else(|| {
            let detail =
                "there is no program of this name here; GET /fhe/v1/programs lists those that are";
            Problem::new(StatusCode::NOT_FOUND, "unknown-program", detail)
        })
    }
}
