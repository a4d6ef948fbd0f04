//! The one door for bytes: tells the format by what they contain, and gives them to its reader.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::{ModelError, within};
use crate::model::Model;
use crate::{catboost, lightgbm, limits, onnx, xgboost};

/// What tells the two JSON formats apart.
#[derive(Deserialize)]
struct Outline {
    learner: Option<IgnoredAny>,
    features_info: Option<IgnoredAny>,
}

/// Reads a model; the format is told by the content.
pub fn read_bytes(bytes: &[u8]) -> Result<Model, ModelError> {
    within("bytes", bytes.len(), limits::BYTES_MAX)?;
    let unknown = |why: &str| {
        Err(ModelError::UnknownFormat {
            why: why.to_owned(),
        })
    };
    let start = bytes.iter().position(|byte| !byte.is_ascii_whitespace());
    let Some(start) = start else {
        return unknown("they are empty");
    };
    if bytes[start] == b'{' && looks_like_ubjson(&bytes[start..]) {
        return unknown(
            "they begin like XGBoost's binary JSON (UBJSON); save with the ending .json",
        );
    }
    if bytes[start] == b'{' {
        return match serde_json::from_slice(bytes) {
            Ok(Outline {
                learner: Some(_), ..
            }) => xgboost::read(bytes),
            Ok(Outline {
                features_info: Some(_),
                ..
            }) => catboost::read(bytes),
            Ok(_) => unknown(
                "this JSON has neither \"learner\" (XGBoost) nor \"features_info\" (CatBoost)",
            ),
            Err(error) => unknown(&format!("they begin like JSON, and are not: {error}")),
        };
    }
    if bytes[start..].starts_with(b"tree\n") || bytes[start..].starts_with(b"tree\r\n") {
        return match std::str::from_utf8(bytes) {
            Ok(text) => lightgbm::read(text),
            Err(_) => unknown("they begin like LightGBM's text, and are not UTF-8"),
        };
    }
    if bytes.starts_with(b"CBM1") {
        return unknown("they are CatBoost's binary format; save with format=\"json\"");
    }
    if bytes.starts_with(b"binf")
        || bytes.starts_with(b"\x80\x04")
        || bytes.starts_with(b"\x80\x05")
    {
        return unknown(
            "they are a pickle, or XGBoost's old binary format, which run code or have no definition; save as JSON or ONNX",
        );
    }
    // An ONNX file begins with its first field, the version: a tag of one byte, and a small number.
    if bytes[0] == 0x08 {
        return onnx::read(bytes);
    }
    unknown("they begin like none of the formats")
}

/// In UBJSON a brace is followed by a marker of the key's length, or of a typed object.
fn looks_like_ubjson(bytes: &[u8]) -> bool {
    matches!(
        bytes.get(1),
        Some(b'i' | b'U' | b'I' | b'l' | b'L' | b'$' | b'#')
    )
}

/// Reads a model file. No more of it is taken into memory than is allowed.
pub fn read(path: &Path) -> Result<Model, ModelError> {
    let cannot = |error: std::io::Error| ModelError::UnknownFormat {
        why: format!("{} cannot be read: {error}", path.display()),
    };
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(cannot)?
        .take(limits::BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    read_bytes(&bytes)
}
