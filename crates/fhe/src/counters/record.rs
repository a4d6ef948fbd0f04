//! What a gateway tells the centre of a window that is over: one line of JSON in the lane of events.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::ciphertext::CounterCiphertext;
use crate::error::{FheError, Thing};

const VERSION: u8 = 1;
/// How the centre knows it among other records.
const KIND: &str = "counters";

/// All contributions to one window of one stream that one gateway counted.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowRecord {
    /// 32 hexadecimal digits that are given once: should a crash have it recorded twice, it still counts once.
    pub part: String,
    /// Who owns the stream at that gateway.
    pub tenant: String,
    pub stream: String,
    pub counters: CounterCiphertext,
}

#[derive(Serialize, Deserialize)]
struct Line {
    v: u8,
    kind: String,
    part: String,
    tenant: String,
    stream: String,
    start: u64,
    seconds: u32,
    contributions: u32,
    /// Base64.
    counters: String,
}

/// What every record that a gateway or a policy writes may have.
#[derive(Deserialize)]
struct AnyLine {
    kind: Option<String>,
    policy: Option<serde_json::Value>,
}

impl WindowRecord {
    pub fn to_json(&self) -> Result<Vec<u8>, FheError> {
        let header = self.counters.header();
        let line = Line {
            v: VERSION,
            kind: KIND.into(),
            part: self.part.clone(),
            tenant: self.tenant.clone(),
            stream: self.stream.clone(),
            start: header.window.start(),
            seconds: header.window.seconds(),
            contributions: header.contributions,
            counters: STANDARD.encode(self.counters.to_bytes()),
        };
        serde_json::to_vec(&line).map_err(malformed)
    }

    /// `None` for a record that is about something else; one of a policy, whatever it calls it, is.
    pub fn from_json(json: &[u8]) -> Result<Option<Self>, FheError> {
        let any: AnyLine = match serde_json::from_slice(json) {
            Ok(any) => any,
            Err(_) => return Ok(None),
        };
        if any.kind.as_deref() != Some(KIND) || any.policy.is_some() {
            return Ok(None);
        }
        let line: Line = serde_json::from_slice(json).map_err(malformed)?;
        if line.v != VERSION {
            return Err(FheError::Version {
                thing: Thing::CounterCiphertext,
                got: line.v.into(),
                supported: VERSION.into(),
            });
        }
        let bytes = STANDARD.decode(&line.counters).map_err(malformed)?;
        let counters = CounterCiphertext::from_bytes(&bytes)?;
        let header = counters.header();
        let inside = (
            header.window.start(),
            header.window.seconds(),
            header.contributions,
        );
        // Whoever reads the line alone must not be told something else.
        if (line.start, line.seconds, line.contributions) != inside {
            return Err(malformed(
                "its line says another window, or another number of contributions",
            ));
        }
        Ok(Some(Self {
            part: line.part,
            tenant: line.tenant,
            stream: line.stream,
            counters,
        }))
    }
}

fn malformed(error: impl std::fmt::Display) -> FheError {
    FheError::malformed(Thing::CounterCiphertext, error.to_string())
}
