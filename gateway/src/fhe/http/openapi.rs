//! `/fhe/v1` and `/fhe/v1/openapi.json`: what there is, for people and for machines.

use bytes::Bytes;
use http::{Response, StatusCode};

use super::routes::ROUTES;
use super::{PREFIX, json};
use crate::fhe::FheService;

/// Part of the binary: it describes this version, wherever it runs.
const DOCUMENT: &str = include_str!("../../../../docs/specs/fhe-openapi.json");

pub(super) fn document() -> Response<Bytes> {
    json(StatusCode::OK, Bytes::from_static(DOCUMENT.as_bytes()))
}

impl FheService {
    pub(super) fn index(&self) -> Response<Bytes> {
        let resources: Vec<String> = ROUTES
            .iter()
            .filter(|route| !route.path.is_empty())
            .map(|route| format!("{PREFIX}{}", route.path.join("/")))
            .collect();
        let body = serde_json::json!({
            "openapi": format!("{PREFIX}openapi.json"),
            "resources": resources,
        });
        json(StatusCode::OK, body.to_string().into())
    }
}

#[cfg(test)]
mod tests;
