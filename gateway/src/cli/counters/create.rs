//! `veilgate counters create`.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fhe::counters::PublicKey;
use fhe::files;
use http::Method;

use super::{MAX_ANSWER_BYTES, path_of, read_schema};
use crate::cli::Failure;
use crate::cli::keys::unreadable;
use crate::cli::remote::Target;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// The folder with your keys
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// What is counted (JSON)
    #[arg(long, value_name = "FILE")]
    schema: PathBuf,
    /// The stream's name
    #[arg(long, value_name = "NAME")]
    stream: String,
    /// How long a window is
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    window_seconds: u32,
}

pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let path = path_of(&args.stream)?;
    let client = files::read_client_key(&args.keys).map_err(unreadable)?;
    let schema = read_schema(&args.schema)?;
    let failed = |error: fhe::FheError| Failure::new(error.to_string());
    let public = PublicKey::of(&client).map_err(failed)?;
    let parsed: serde_json::Value = serde_json::from_slice(&schema.to_json())
        .map_err(|error| Failure::new(error.to_string()))?;
    let body = serde_json::json!({
        "window_seconds": args.window_seconds,
        "public_key": STANDARD.encode(public.as_bytes()),
        "schema": parsed,
    });
    let remote = args.target.connect().await?;
    let body = Bytes::from(body.to_string());
    let answer = remote
        .call(Method::PUT, &path, body, MAX_ANSWER_BYTES, |_| ())
        .await?;
    answer.success()?;
    remote.close().await;
    println!(
        "The stream {} is there: {} of 2048 slots, windows of {} s, public key {}",
        args.stream,
        schema.slots(),
        args.window_seconds,
        public.id()
    );
    Ok(())
}
