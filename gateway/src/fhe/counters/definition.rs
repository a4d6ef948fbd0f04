//! What a stream is: the owner's public key, the schema, and how long its windows are.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fhe::counters::{MAX_SCHEMA_BYTES, MAX_WINDOW_SECONDS, PUBLIC_KEY_BYTES, PublicKey, Schema};
use serde::{Deserialize, Serialize};

use super::CounterError;
use crate::fhe::Tenant;

/// Below it, more windows than a few would be open at once.
const MIN_WINDOW_SECONDS: u32 = 10;
/// The key in base64, the schema, and room for the rest.
pub(in crate::fhe) const MAX_DEFINITION_BYTES: usize =
    MAX_SCHEMA_BYTES + PUBLIC_KEY_BYTES * 4 / 3 + 4096;

/// The same alphabet as that of tenants: safe as the name of a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::fhe) struct StreamName(Arc<str>);

impl FromStr for StreamName {
    type Err = CounterError;

    fn from_str(name: &str) -> Result<Self, CounterError> {
        match name.parse::<Tenant>() {
            Ok(_) => Ok(Self(name.into())),
            Err(_) => Err(CounterError::Name),
        }
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::fhe) struct Definition {
    pub key: PublicKey,
    pub schema: Schema,
    pub window_seconds: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DefinitionFile {
    /// Only on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    window_seconds: u32,
    /// Base64.
    public_key: String,
    schema: serde_json::Value,
}

impl Definition {
    /// As its owner sends it.
    pub fn from_json(json: &[u8]) -> Result<Self, CounterError> {
        match parse(json)? {
            (None, definition) => Ok(definition),
            (Some(_), _) => Err(CounterError::Definition(
                "its owner is whoever sends it; leave `owner` out".into(),
            )),
        }
    }

    /// As it lies on disk.
    pub(super) fn from_file(json: &[u8]) -> Result<(Tenant, Self), CounterError> {
        let (owner, definition) = parse(json)?;
        let owner = owner.and_then(|owner| owner.parse().ok());
        match owner {
            Some(owner) => Ok((owner, definition)),
            None => Err(CounterError::Definition("it names no owner".into())),
        }
    }

    pub(super) fn to_file(&self, owner: &Tenant) -> Result<Vec<u8>, CounterError> {
        let schema = self.schema.to_json();
        let file = DefinitionFile {
            owner: Some(owner.to_string()),
            window_seconds: self.window_seconds,
            public_key: STANDARD.encode(self.key.as_bytes()),
            schema: serde_json::from_slice(&schema).map_err(wrong)?,
        };
        serde_json::to_vec(&file).map_err(wrong)
    }
}

fn wrong(error: impl fmt::Display) -> CounterError {
    CounterError::Definition(error.to_string())
}

fn parse(json: &[u8]) -> Result<(Option<String>, Definition), CounterError> {
    let file: DefinitionFile = serde_json::from_slice(json).map_err(wrong)?;
    if !(MIN_WINDOW_SECONDS..=MAX_WINDOW_SECONDS).contains(&file.window_seconds) {
        return Err(wrong(format!(
            "window_seconds is {MIN_WINDOW_SECONDS} to {MAX_WINDOW_SECONDS}, not {}",
            file.window_seconds
        )));
    }
    let key = STANDARD
        .decode(&file.public_key)
        .map_err(|error| wrong(format!("public_key is not base64: {error}")))?;
    let schema = serde_json::to_vec(&file.schema).map_err(wrong)?;
    let definition = Definition {
        key: PublicKey::from_bytes(key)?,
        schema: Schema::from_json(&schema)?,
        window_seconds: file.window_seconds,
    };
    Ok((file.owner, definition))
}
