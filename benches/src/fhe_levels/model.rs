//! One model behind the gateway as its clients see it: rows to send, what each must come back as, and one whole trip.

use std::path::Path;

use bytes::Bytes;
use examples::client::{Connection, Error};
use examples::rows::{self, Table};
use fhe::client::Pending;
use fhe::{Client, OsEntropy, Program, PublicProgram};

/// Rows that are encrypted beforehand, and sent in turn: the gateway keeps nothing of a request, and cannot tell.
const PREPARED: usize = 64;

pub struct Model {
    client: Client,
    public: PublicProgram,
    path: String,
    samples: Vec<Sample>,
}

struct Sample {
    input: Input,
    /// What the program says of it in the clear.
    label: String,
}

enum Input {
    /// Encrypted beforehand.
    Ready(Pending, Bytes),
    /// Encoded and encrypted anew on every trip.
    Text(String),
}

/// What came of one trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Same,
    /// Decrypted, and another label than the program gives in the clear.
    Differs,
    Refused(u16),
}

impl Model {
    pub fn load(folder: &Path, name: &str, data: &str, client: Client) -> Result<Self, Error> {
        let json = std::fs::read(folder.join(format!("{name}.json")))?;
        let program = Program::from_json(&json).map_err(of)?;
        let public = PublicProgram::from(&program);
        let data = folder.join(data);
        let samples = match &public.text {
            Some(_) => of_texts(&program, &public, &data)?,
            None => of_rows(&program, &public, &data, &client)?,
        };
        Ok(Self {
            client,
            path: format!("/fhe/v1/programs/{name}/evaluate"),
            public,
            samples,
        })
    }

    /// Sends a row and reads what comes back; of a text, encoding and encrypting are part of it.
    pub async fn trip(&self, connection: &mut Connection, number: usize) -> Result<Outcome, Error> {
        let sample = &self.samples[number % self.samples.len()];
        let made;
        let (pending, bytes) = match &sample.input {
            Input::Ready(pending, bytes) => (pending, bytes.clone()),
            Input::Text(text) => {
                let encrypted = self
                    .client
                    .encrypt_texts(&self.public, &[text], &mut OsEntropy);
                made = encrypted.map_err(of)?;
                (&made, Bytes::copy_from_slice(&made.bytes))
            }
        };
        let reply = connection.post_bytes(&self.path, bytes, &[]).await?;
        match reply.status {
            200 => {}
            429 | 503 => return Ok(Outcome::Refused(reply.status)),
            status => {
                let text = reply.text();
                return Err(Error::new(format!(
                    "{} was answered {status} ({text})",
                    self.path
                )));
            }
        }
        let rows = self
            .client
            .decrypt(&self.public, pending, &reply.body)
            .map_err(of)?;
        let label = rows.first().and_then(|scores| self.public.label(scores));
        Ok(match label == Some(sample.label.as_str()) {
            true => Outcome::Same,
            false => Outcome::Differs,
        })
    }
}

fn of_rows(
    program: &Program,
    public: &PublicProgram,
    data: &Path,
    client: &Client,
) -> Result<Vec<Sample>, Error> {
    let mut rows = Table::read(data, &public.columns)?.rows;
    rows.truncate(PREPARED);
    let sample = |row: Vec<f64>| {
        let encoded = public.encode(0, &row).map_err(of)?;
        let pending = client
            .encrypt_rows(public, &[row], &mut OsEntropy)
            .map_err(of)?;
        let bytes = Bytes::copy_from_slice(&pending.bytes);
        Ok(Sample {
            input: Input::Ready(pending, bytes),
            label: label_in_the_clear(program, public, &encoded)?,
        })
    };
    rows.into_iter().map(sample).collect()
}

fn of_texts(program: &Program, public: &PublicProgram, data: &Path) -> Result<Vec<Sample>, Error> {
    let sample = |(text, _): (String, String)| {
        let encoded = public.encode_text(0, &text).map_err(of)?;
        Ok(Sample {
            label: label_in_the_clear(program, public, &encoded)?,
            input: Input::Text(text),
        })
    };
    rows::texts(data)?.into_iter().map(sample).collect()
}

fn label_in_the_clear(
    program: &Program,
    public: &PublicProgram,
    encoded: &[i64],
) -> Result<String, Error> {
    let results = program.evaluate_clear(encoded);
    let label = results.and_then(|results| {
        public
            .label(&public.clear_scores(&results))
            .map(str::to_owned)
    });
    label.ok_or_else(|| Error::new("a row does not fit the program, or the program has no labels"))
}

fn of<E: std::error::Error + 'static>(error: E) -> Error {
    Error::of(&error)
}
