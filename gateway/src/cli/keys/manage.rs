//! `veilgate keys list` and `veilgate keys delete`: what a gateway has of a client.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use fhe::{KeyId, files};
use http::Method;
use serde::Deserialize;

use super::{MAX_ANSWER_BYTES, size, unreadable};
use crate::cli::Failure;
use crate::cli::remote::Target;

/// Of a list of up to 2000 keys.
const MAX_LIST_BYTES: usize = 2 << 20;

#[derive(clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    target: Target,
    /// The gateway's answer as it is, for scripts
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(super) struct Delete {
    #[command(flatten)]
    target: Target,
    /// The key's id, as `veilgate keys list` shows it
    #[arg(value_name = "ID", required_unless_present = "keys")]
    id: Option<KeyId>,
    /// The folder with the key, instead of its id
    #[arg(long, value_name = "DIR", conflicts_with = "id")]
    keys: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Listed {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    id: String,
    params: String,
    bytes: u64,
    created: u64,
    last_used: Option<u64>,
    expires: Option<u64>,
    label: Option<String>,
    replaced_by: Option<String>,
}

pub(super) async fn list(args: &List) -> Result<(), Failure> {
    let remote = args.target.connect().await?;
    let body = remote.fetch("/fhe/v1/keys", MAX_LIST_BYTES).await?;
    remote.close().await;
    if args.json {
        println!("{}", String::from_utf8_lossy(&body));
        return Ok(());
    }
    let listed: Listed = serde_json::from_slice(&body)
        .map_err(|error| Failure::new(format!("the gateway's list cannot be read: {error}")))?;
    if listed.keys.is_empty() {
        println!("The gateway has no key of you; give it one with `veilgate keys register`");
    }
    let now = SystemTime::now();
    for key in &listed.keys {
        println!("{}  {}, {}", key.id, key.params, size(key.bytes));
        let mut facts = vec![format!("registered {}", when(key.created, now))];
        facts.push(match key.last_used {
            Some(used) => format!("last used {}", when(used, now)),
            None => "never used".to_owned(),
        });
        if let Some(expires) = key.expires {
            facts.push(format!("expires {}", when(expires, now)));
        }
        if let Some(by) = &key.replaced_by {
            facts.push(format!("replaced by {}", &by[..by.len().min(12)]));
        }
        // A label is text of whoever registered the key: no control character of it reaches a terminal.
        if let Some(label) = &key.label {
            facts.push(format!("label {label:?}"));
        }
        println!("    {}", facts.join("; "));
    }
    Ok(())
}

pub(super) async fn delete(args: &Delete) -> Result<(), Failure> {
    let id = match (&args.id, &args.keys) {
        (Some(id), _) => *id,
        (None, Some(dir)) => files::read_evaluation_key(dir).map_err(unreadable)?.id(),
        (None, None) => return Err(Failure::wrong_input("give a key's id, or --keys")),
    };
    let remote = args.target.connect().await?;
    let path = format!("/fhe/v1/keys/{id}");
    let answer = remote
        .call(
            Method::DELETE,
            &path,
            Bytes::new(),
            MAX_ANSWER_BYTES,
            |_| (),
        )
        .await?;
    answer.success()?;
    remote.close().await;
    println!("Deleted {id}: the gateway does not have it any more");
    Ok(())
}

/// A time as people say it: `3 h ago`, `in 2 d`.
fn when(seconds: u64, now: SystemTime) -> String {
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(u64::from(u32::MAX) * 16));
    match now.duration_since(at) {
        Ok(past) => format!("{} ago", span(past)),
        Err(future) => format!("in {}", span(future.duration())),
    }
}

fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_people_say_them() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (seconds, words) in [
            (999_990, "10 s ago"),
            (1_000_000, "0 s ago"),
            (1_000_600, "in 10 min"),
            (990_000, "2 h ago"),
            (1_864_000, "in 10 d"),
        ] {
            assert_eq!(when(seconds, now), words);
        }
        when(u64::MAX, now);
    }
}
