//! `veilgate counters add`: what was counted, encrypted on this machine, sent until the gateway has it on disk.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use edge_types::Digest;
use fhe::OsEntropy;
use fhe::counters::{Contribution, PUBLIC_KEY_BYTES, PublicKey, Schema, Window};
use http::{HeaderMap, HeaderValue, Method};
use serde::Deserialize;

use super::{MAX_ANSWER_BYTES, path_of, read_file, read_schema, wrong};
use crate::cli::Failure;
use crate::cli::remote::{Call, Target};

/// The same bytes count once: to send them again costs nothing but the link.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// The public key of whoever is to read it, from them (VGPK)
    #[arg(long, value_name = "FILE")]
    public_key: PathBuf,
    /// What is counted (JSON), from them too
    #[arg(long, value_name = "FILE")]
    schema: PathBuf,
    /// The stream's name
    #[arg(long, value_name = "NAME")]
    stream: String,
    /// When it was counted, in seconds since 1970 (UTC); now, if it is not given
    #[arg(long, value_name = "SECONDS")]
    at: Option<u64>,
    /// name=amount for counters and sums, name=value for histograms; a name may come again
    #[arg(value_name = "NAME=VALUE", required = true)]
    values: Vec<String>,
}

/// Of the gateway's description.
#[derive(Deserialize)]
struct Described {
    window_seconds: u32,
    public_key: String,
    schema_digest: String,
}

#[derive(Deserialize)]
struct Counted {
    counted: String,
    contributions: u32,
}

pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let path = path_of(&args.stream)?;
    let key = read_file(&args.public_key, PUBLIC_KEY_BYTES)?;
    let key = PublicKey::from_bytes(key).map_err(|error| wrong(&args.public_key, &error))?;
    let schema = read_schema(&args.schema)?;
    let contribution = contribution(&schema, &args.values)?;
    let described = describe(args, &path).await?;
    // What the gateway says is not trusted: whoever could change it there could read what is encrypted under it.
    let same = [
        (described.public_key == key.id().to_string(), "public key"),
        (
            described.schema_digest == schema.digest().to_string(),
            "schema",
        ),
    ];
    if let Some((_, what)) = same.iter().find(|(same, _)| !same) {
        return Err(Failure::new(format!(
            "the stream {} at this gateway has another {what} than the file that you gave; nothing was sent. Ask its owner for the right one",
            args.stream
        )));
    }
    let window = Window::at(args.at.unwrap_or_else(now), described.window_seconds)
        .map_err(|error| Failure::wrong_input(format!("--at: {error}")))?;
    let encrypted = contribution
        .encrypt(&key, window, &mut OsEntropy)
        .map_err(|error| Failure::new(error.to_string()))?;
    let counted = send(args, &path, encrypted.to_bytes().into()).await?;
    println!(
        "Counted ({}): the window of {} s from {} has {} contributions at this gateway",
        counted.counted,
        window.seconds(),
        window.start(),
        counted.contributions
    );
    Ok(())
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn contribution<'s>(schema: &'s Schema, values: &[String]) -> Result<Contribution<'s>, Failure> {
    let mut contribution = Contribution::new(schema);
    for text in values {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| Failure::wrong_input(format!("`{text}`: give it as name=value")))?;
        contribution
            .take(name, value)
            .map_err(|error| Failure::wrong_input(error.to_string()))?;
    }
    Ok(contribution)
}

async fn describe(args: &Args, path: &str) -> Result<Described, Failure> {
    let remote = args.target.connect().await?;
    let body = remote.fetch(path, MAX_ANSWER_BYTES).await?;
    remote.close().await;
    serde_json::from_slice(&body)
        .map_err(|error| Failure::new(format!("the gateway's answer cannot be read: {error}")))
}

/// Over a new connection each time: the one before may be lost.
async fn send(args: &Args, path: &str, body: Bytes) -> Result<Counted, Failure> {
    let mut headers = HeaderMap::new();
    let id = Digest::of(&body).to_string();
    if let Ok(id) = HeaderValue::try_from(id) {
        headers.insert("idempotency-key", id);
    }
    let mut attempt = 1;
    loop {
        let pause = match once(args, path, headers.clone(), body.clone()).await {
            Ok(counted) => return Ok(counted),
            Err((_, Some(pause))) if attempt < ATTEMPTS => pause,
            Err((failure, _)) => return Err(failure),
        };
        tokio::time::sleep(pause).await;
        attempt += 1;
    }
}

/// With how long to wait before the same again, if that may help.
async fn once(
    args: &Args,
    path: &str,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Counted, (Failure, Option<Duration>)> {
    let remote = args.target.connect().await.map_err(|f| (f, Some(PAUSE)))?;
    let call = Call {
        method: Method::POST,
        path,
        headers,
        body,
        limit: MAX_ANSWER_BYTES,
    };
    let answer = remote
        .send(call, |_| ())
        .await
        .map_err(|lost| (lost.into(), Some(PAUSE)))?;
    remote.close().await;
    let pause = answer.retry_after();
    let body = answer.success().map_err(|failure| (failure, pause))?;
    serde_json::from_slice(&body).map_err(|error| {
        let failure = format!("the gateway's answer cannot be read: {error}");
        (Failure::new(failure), None)
    })
}
