//! The sensor: it has the secret key, what the gateway publishes of the program, and, because this is an example, the
//! program itself to check every label with.

use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use examples::client::{Client, Connection, Error, Version};
use fhe::client::Pending;
use fhe::{ClientKey, OsEntropy, ParamSet, Program, PublicProgram};

pub const PROGRAM: &str = "flows-boosted";

pub struct Sensor {
    client: fhe::Client,
    public: PublicProgram,
    program: Program,
}

/// What the sensor learned of one flow.
pub struct Judged {
    pub label: String,
    pub score: f64,
    /// What the program gives in the clear.
    pub clear: String,
}

impl Sensor {
    pub async fn register(gateway: &Client, models: &Path) -> Result<Self, Error> {
        let json = std::fs::read(models.join(format!("{PROGRAM}.json")))?;
        let program = Program::from_json(&json).map_err(of)?;
        let began = Instant::now();
        let secret = ClientKey::generate(ParamSet::Bootstrap, &mut OsEntropy).map_err(of)?;
        let evaluation = secret.evaluation_key(&mut OsEntropy).map_err(of)?;
        let client = fhe::Client::new(secret, evaluation.id());
        println!("   keys made in {:.1} s", began.elapsed().as_secs_f64());

        let mut connection = gateway.connect(Version::H3).await?;
        let began = Instant::now();
        let bytes = Bytes::copy_from_slice(evaluation.as_bytes());
        let size = bytes.len();
        let reply = connection.post_bytes("/fhe/v1/keys", bytes, &[]).await?;
        if reply.status != 201 {
            return Err(unexpected("/fhe/v1/keys", reply.status, &reply.text()));
        }
        println!(
            "   {:.1} MB registered in {:.1} s, once; the secret key never left this process",
            size as f64 / 1e6,
            began.elapsed().as_secs_f64()
        );
        let path = format!("/fhe/v1/programs/{PROGRAM}");
        let reply = connection.get(&path, &[]).await?;
        if reply.status != 200 {
            return Err(unexpected(&path, reply.status, &reply.text()));
        }
        let public = PublicProgram::from_json(&reply.body).map_err(of)?;
        if public.digest != program.digest() {
            return Err(Error::new(
                "the gateway serves another program than this one",
            ));
        }
        Ok(Self {
            client,
            public,
            program,
        })
    }

    pub fn columns(&self) -> &[String] {
        &self.public.columns
    }

    pub fn encrypt(&self, flow: &[f64]) -> Result<Pending, Error> {
        let encrypted = self
            .client
            .encrypt_rows(&self.public, &[flow], &mut OsEntropy);
        encrypted.map_err(of)
    }

    /// Encrypts a flow, has it judged, and decrypts what came back.
    pub async fn judge(&self, connection: &mut Connection, flow: &[f64]) -> Result<Judged, Error> {
        let pending = self.encrypt(flow)?;
        let path = format!("/fhe/v1/programs/{PROGRAM}/evaluate");
        let body = Bytes::copy_from_slice(&pending.bytes);
        let reply = connection.post_bytes(&path, body, &[]).await?;
        if reply.status != 200 {
            return Err(unexpected(&path, reply.status, &reply.text()));
        }
        let decrypted = self
            .client
            .decrypt(&self.public, &pending, &reply.body)
            .map_err(of)?;
        let scores = decrypted.first().map(Vec::as_slice).unwrap_or_default();
        let label = self.public.label(scores);
        let score = self.public.predictions(scores).first().copied();
        let (Some(label), Some(score)) = (label, score) else {
            return Err(Error::new("the reply holds no score"));
        };
        Ok(Judged {
            label: label.to_owned(),
            score,
            clear: self.in_the_clear(flow)?,
        })
    }

    fn in_the_clear(&self, flow: &[f64]) -> Result<String, Error> {
        let encoded = self.public.encode(0, flow).map_err(of)?;
        let results = self.program.evaluate_clear(&encoded);
        let scores = results.map(|results| self.public.clear_scores(&results));
        let label = scores.and_then(|scores| self.public.label(&scores).map(str::to_owned));
        label.ok_or_else(|| Error::new("a flow does not fit the program"))
    }
}

fn unexpected(path: &str, status: u16, text: &str) -> Error {
    Error::new(format!("{path} was answered {status} ({text})"))
}

fn of<E: std::error::Error + 'static>(error: E) -> Error {
    Error::of(&error)
}
