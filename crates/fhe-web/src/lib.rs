//! The FHE client for a page in a browser: keys, encryption and decryption stay here, and only ciphertexts leave.
//!
//! Each export is one step of a client's work; fetching is the page's. Making a key takes seconds: call it from a worker.

use fhe::{
    Client, ClientKey, EvaluationKey, FheError, KeyId, OsEntropy, ParamSet, PublicProgram, Score,
};
use wasm_bindgen::prelude::*;

fn said(error: FheError) -> String {
    error.to_string()
}

/// A client's key, and the id of the evaluation key that was made from it.
#[wasm_bindgen]
pub struct Keys {
    key: ClientKey,
    id: KeyId,
}

/// What is made once: keys, and the evaluation key that a gateway needs.
#[wasm_bindgen]
pub struct Made {
    keys: Option<Keys>,
    evaluation: EvaluationKey,
}

/// A client's key alone: the first of two steps, so that a page can show where it is.
#[wasm_bindgen]
pub struct Secret {
    key: ClientKey,
}

#[wasm_bindgen]
impl Secret {
    /// `set`: as a program's `params` has it.
    pub fn generate(set: &str) -> Result<Self, String> {
        let set = ParamSet::from_name(set).ok_or_else(|| {
            format!("there is no parameter set `{set}`; take a program's `params`")
        })?;
        let key = ClientKey::generate(set, &mut OsEntropy).map_err(said)?;
        Ok(Self { key })
    }

    /// The slow step of sets that bootstrap.
    pub fn evaluation_key(self) -> Result<Made, String> {
        let evaluation = self.key.evaluation_key(&mut OsEntropy).map_err(said)?;
        let keys = Keys {
            key: self.key,
            id: evaluation.id(),
        };
        Ok(Made {
            keys: Some(keys),
            evaluation,
        })
    }
}

#[wasm_bindgen]
impl Made {
    /// What `POST /fhe/v1/keys` takes.
    pub fn evaluation_key(&self) -> Vec<u8> {
        self.evaluation.as_bytes().to_vec()
    }

    /// The client's part; it is there once.
    pub fn keys(&mut self) -> Result<Keys, String> {
        self.keys
            .take()
            .ok_or_else(|| "the keys were taken already: keep what was given".into())
    }
}

#[wasm_bindgen]
impl Keys {
    /// Keys that were kept: what `to_bytes` and `id` gave.
    pub fn restore(bytes: &[u8], id: &str) -> Result<Self, String> {
        Ok(Self {
            key: ClientKey::from_bytes(bytes).map_err(said)?,
            id: id
                .parse()
                .map_err(|_| format!("{id:?} is no key id: take what `id` gave"))?,
        })
    }

    /// Secret: whoever has it reads every answer.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.key.to_bytes()
    }

    /// The name under which a gateway knows the evaluation key.
    pub fn id(&self) -> String {
        self.id.to_string()
    }

    pub fn set(&self) -> String {
        self.key.set().name().to_owned()
    }
}

/// One program, asked with one key.
#[wasm_bindgen]
pub struct Asker {
    client: Client,
    program: PublicProgram,
}

/// An encrypted request, kept until its reply is there.
#[wasm_bindgen]
pub struct Pending {
    pending: fhe::client::Pending,
}

#[wasm_bindgen]
impl Pending {
    /// What `POST /fhe/v1/programs/{name}/evaluate` takes.
    pub fn bytes(&self) -> Vec<u8> {
        self.pending.bytes.clone()
    }
}

#[wasm_bindgen]
impl Asker {
    /// `program`: what `GET /fhe/v1/programs/{name}` answered.
    #[wasm_bindgen(constructor)]
    pub fn new(keys: &Keys, program: &[u8]) -> Result<Self, String> {
        Ok(Self {
            client: Client::new(keys.key.clone(), keys.id),
            program: PublicProgram::from_json(program).map_err(said)?,
        })
    }

    /// Values in the order of the program's columns; NaN where one is missing.
    pub fn encrypt_row(&self, values: &[f64]) -> Result<Pending, String> {
        let pending = self
            .client
            .encrypt_rows(&self.program, &[values], &mut OsEntropy);
        Ok(Pending {
            pending: pending.map_err(said)?,
        })
    }

    pub fn encrypt_text(&self, text: &str) -> Result<Pending, String> {
        let pending = self
            .client
            .encrypt_texts(&self.program, &[text], &mut OsEntropy);
        Ok(Pending {
            pending: pending.map_err(said)?,
        })
    }

    /// JSON: `{"label", "scores": [{"name", "value", "linked"}]}`, of the reply's one row.
    pub fn decrypt(&self, pending: &Pending, reply: &[u8]) -> Result<String, String> {
        let rows = self
            .client
            .decrypt(&self.program, &pending.pending, reply)
            .map_err(said)?;
        let scores = rows.first().ok_or("the reply has no row")?;
        Ok(described(&self.program, scores).to_string())
    }
}

fn described(program: &PublicProgram, scores: &[Score]) -> serde_json::Value {
    let linked = program.predictions(scores);
    let named = program.result.scores.iter().zip(scores).zip(linked);
    let named: Vec<_> = named
        .map(|((meaning, score), linked)| {
            serde_json::json!({ "name": meaning.name, "value": score.value, "linked": linked })
        })
        .collect();
    serde_json::json!({ "label": program.label(scores), "scores": named })
}

#[cfg(test)]
mod tests;
