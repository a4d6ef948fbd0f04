//! `veilgate keys register`: small keys in one request; large ones in parts, going on after a lost connection and when
//! the command is run again.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fhe::{EvaluationKey, KeyId, files};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use indicatif::{ProgressBar, ProgressStyle};

use super::{MAX_ANSWER_BYTES, size, unreadable};
use crate::cli::Failure;
use crate::cli::remote::{Answer, Call, Lost, Remote, Target};

/// Keys up to this size are sent in one request: less than a round trip more would cost.
const ONE_PIECE_BYTES: usize = 1 << 20;
/// Of one part: below the limits on bodies that gateways have, and sent in a few seconds over a slow line.
const PART_BYTES: usize = 4 << 20;
/// A gateway that lives answers pings: one that does not for so long is lost, and the upload goes on over a new connection.
const IDLE: Duration = Duration::from_secs(9);
/// Failures one after the other, without a byte that got further, after which it is given up.
const MAX_TRIES: u32 = 6;
/// Before the second try; doubled before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_COMPLETE: HeaderName = HeaderName::from_static("upload-complete");

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// The folder that `veilgate keys new` wrote
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    #[command(flatten)]
    wishes: Wishes,
    /// The key that this one is registered in the place of: it works until its grace ends
    #[arg(long, value_name = "ID")]
    replaces: Option<KeyId>,
}

/// What a key is registered with.
#[derive(clap::Args, Clone, Default)]
pub(super) struct Wishes {
    /// A few words that `veilgate keys list` shows
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Seconds after which the gateway deletes the key
    #[arg(long, value_name = "SECONDS")]
    expires_s: Option<u64>,
}

/// What became of a registration.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Registered,
    WasThere,
}

pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let key = files::read_evaluation_key(&args.keys).map_err(unreadable)?;
    register(&args.target, &key, &args.wishes, args.replaces).await
}

/// Registers the key, and says so.
pub(super) async fn register(
    target: &Target,
    key: &EvaluationKey,
    wishes: &Wishes,
    replaces: Option<KeyId>,
) -> Result<(), Failure> {
    let bytes = key.as_bytes().len();
    let bar = ProgressBar::new(bytes as u64).with_message("sending");
    let style = "{msg} {bar:40} {bytes}/{total_bytes} {bytes_per_sec}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    let started = Instant::now();
    let sending = Sending {
        target,
        key,
        body: Bytes::copy_from_slice(key.as_bytes()),
        wishes,
        replaces,
        bar: bar.clone(),
    };
    let outcome = match bytes <= ONE_PIECE_BYTES {
        true => sending.in_one_piece().await,
        false => sending.in_parts().await,
    };
    bar.finish_and_clear();
    let id = key.id();
    match outcome? {
        Outcome::WasThere => println!("The gateway had this key already: {id}"),
        Outcome::Registered => println!(
            "Registered {id} ({} in {:.1} s)",
            size(bytes as u64),
            started.elapsed().as_secs_f64()
        ),
    }
    Ok(())
}

struct Sending<'s> {
    target: &'s Target,
    key: &'s EvaluationKey,
    body: Bytes,
    wishes: &'s Wishes,
    replaces: Option<KeyId>,
    bar: ProgressBar,
}

/// Why one step did not succeed.
enum Stop {
    /// The same again may go well.
    Again {
        why: String,
        pause: Option<Duration>,
    },
    Final(Failure),
}

impl From<Lost> for Stop {
    fn from(lost: Lost) -> Self {
        Self::Again {
            why: lost.0,
            pause: None,
        }
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Final(failure)
    }
}

/// A gateway that is busy is asked again; whatever else is no success is the end.
fn success(answer: Answer) -> Result<Answer, Stop> {
    if answer.status.is_success() {
        return Ok(answer);
    }
    if let Some(pause) = answer.retry_after() {
        return Err(Stop::Again {
            why: "the gateway is busy".to_owned(),
            pause: Some(pause),
        });
    }
    match answer.success() {
        Err(failure) => Err(Stop::Final(failure)),
        Ok(_) => Err(Stop::Final(Failure::new("a success that is none"))),
    }
}

impl Sending<'_> {
    async fn in_one_piece(&self) -> Result<Outcome, Failure> {
        let remote = self.target.connect().await?;
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(label) = &self.wishes.label {
            query.append_pair("label", label);
        }
        if let Some(seconds) = self.wishes.expires_s {
            query.append_pair("expires_s", &seconds.to_string());
        }
        if let Some(old) = self.replaces {
            query.append_pair("replaces", &old.to_string());
        }
        let path = match query.finish() {
            query if query.is_empty() => "/fhe/v1/keys".to_owned(),
            query => format!("/fhe/v1/keys?{query}"),
        };
        let moving = self.bar.clone();
        let sent = move |bytes| moving.inc(bytes);
        let body = self.body.clone();
        let answer = remote
            .call(Method::POST, &path, body, MAX_ANSWER_BYTES, sent)
            .await?;
        let status = answer.status;
        answer.success()?;
        remote.close().await;
        Ok(outcome(status))
    }

    async fn in_parts(&self) -> Result<Outcome, Failure> {
        let (mut tries, mut furthest) = (0, 0);
        let mut remote = None;
        loop {
            let stop = match self.go_on(&mut remote).await {
                Ok(outcome) => {
                    if let Some(remote) = remote {
                        remote.close().await;
                    }
                    return Ok(outcome);
                }
                Err(stop) => stop,
            };
            let (why, pause) = match stop {
                Stop::Final(failure) => return Err(failure),
                Stop::Again { why, pause } => (why, pause),
            };
            if self.bar.position() > furthest {
                (furthest, tries) = (self.bar.position(), 0);
            }
            tries += 1;
            if tries == MAX_TRIES {
                return Err(Failure::new(format!(
                    "{why}. It was tried {MAX_TRIES} times; what has arrived is kept for an hour: run this again to go on"
                )));
            }
            self.bar.set_message("waiting to go on");
            let own = FIRST_PAUSE * 2u32.pow(tries - 1);
            tokio::time::sleep(pause.unwrap_or(own)).await;
            self.bar.set_message("sending");
        }
    }

    /// From wherever the upload stands, until it is complete or something is in the way.
    async fn go_on(&self, remote: &mut Option<Remote>) -> Result<Outcome, Stop> {
        let connected = match remote.take() {
            Some(connected) => connected,
            None => match self.target.connect_patient(IDLE).await {
                Ok(connected) => connected,
                // The first time nothing was lost: the address may be wrong.
                Err(failure) if self.bar.position() == 0 => return Err(Stop::Final(failure)),
                Err(failure) => {
                    return Err(Stop::Again {
                        why: failure.to_string(),
                        pause: None,
                    });
                }
            },
        };
        let outcome = self.upload(&connected).await;
        // What was lost is not asked again; what is busy is.
        if !matches!(outcome, Err(Stop::Again { pause: None, .. })) {
            *remote = Some(connected);
        }
        outcome
    }

    async fn upload(&self, remote: &Remote) -> Result<Outcome, Stop> {
        let begin = serde_json::json!({
            "id": self.key.id().to_string(),
            "bytes": self.body.len(),
            "label": self.wishes.label,
            "expires_s": self.wishes.expires_s,
            "replaces": self.replaces.map(|id| id.to_string()),
        });
        let call = Call {
            method: Method::POST,
            path: "/fhe/v1/uploads",
            headers: HeaderMap::from_iter([(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            )]),
            body: begin.to_string().into(),
            limit: MAX_ANSWER_BYTES,
        };
        // An unfinished upload of the same key is found by this, and tells its offset.
        let begun = success(remote.send(call, |_| ()).await?)?;
        let Some(mut offset) = offset(&begun)? else {
            // Nothing to upload: a registration whose answer was lost, or one of before.
            return Ok(match self.bar.position() {
                0 => Outcome::WasThere,
                _ => Outcome::Registered,
            });
        };
        let path = location(&begun)?;
        if offset > self.body.len() {
            return Err(Stop::Final(unexpected("where the upload goes on")));
        }
        loop {
            let end = (offset + PART_BYTES).min(self.body.len());
            let answer = self.part(remote, &path, offset, end).await?;
            if answer.status == StatusCode::CREATED || answer.status == StatusCode::OK {
                return Ok(outcome(answer.status));
            }
            offset = match self::offset(&answer)? {
                Some(offset) if offset == end => offset,
                _ => return Err(Stop::Final(unexpected("where the upload goes on"))),
            };
        }
    }

    async fn part(
        &self,
        remote: &Remote,
        path: &str,
        offset: usize,
        end: usize,
    ) -> Result<Answer, Stop> {
        let last = if end == self.body.len() { "?1" } else { "?0" };
        let headers = HeaderMap::from_iter([
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/partial-upload"),
            ),
            (UPLOAD_OFFSET, HeaderValue::from(offset)),
            (UPLOAD_COMPLETE, HeaderValue::from_static(last)),
        ]);
        let call = Call {
            method: Method::PATCH,
            path,
            headers,
            body: self.body.slice(offset..end),
            limit: MAX_ANSWER_BYTES,
        };
        self.bar.set_position(offset as u64);
        let moving = self.bar.clone();
        let answer = remote.send(call, move |bytes| moving.inc(bytes)).await?;
        // Somebody else wrote meanwhile, or the end of a part that was lost: what is there is asked for again.
        if answer.status == StatusCode::CONFLICT && answer.headers.contains_key(UPLOAD_OFFSET) {
            return Err(Stop::Again {
                why: "the upload goes on elsewhere".to_owned(),
                pause: Some(Duration::ZERO),
            });
        }
        success(answer)
    }
}

fn outcome(status: StatusCode) -> Outcome {
    match status {
        StatusCode::OK => Outcome::WasThere,
        _ => Outcome::Registered,
    }
}

fn unexpected(what: &str) -> Failure {
    Failure::new(format!(
        "the gateway did not say {what}; is it a gateway of another version?"
    ))
}

/// Where the upload goes on; none for an answer that is about no upload.
fn offset(answer: &Answer) -> Result<Option<usize>, Failure> {
    let Some(value) = answer.headers.get(UPLOAD_OFFSET) else {
        return Ok(None);
    };
    let offset = value.to_str().ok().and_then(|text| text.parse().ok());
    offset
        .map(Some)
        .ok_or_else(|| unexpected("where the upload goes on"))
}

/// Of the same gateway: only its path is taken.
fn location(answer: &Answer) -> Result<String, Failure> {
    let value = answer.headers.get(header::LOCATION);
    let path = value.and_then(|value| value.to_str().ok());
    match path {
        Some(path) if path.starts_with("/fhe/v1/uploads/") => Ok(path.to_owned()),
        _ => Err(unexpected("where the upload is")),
    }
}
