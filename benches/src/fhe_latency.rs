//! What encrypted scoring costs everybody else: the latency of a plain proxied route of a gateway whose engine has nothing to do, and of
//! the same gateway while several clients keep the engine busy with a tree ensemble. In one run, in turns.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use examples::client::{Client, Connection, Error, Version};
use examples::rows::Table;
use fhe::{ClientKey, EvaluationKey, OsEntropy, ParamSet, Program, PublicProgram};
use hdrhistogram::Histogram;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::report::Row;
use crate::{Context, gateway, load};

const PROGRAM: &str = "breast-cancer-trees";
/// Clients that each have a request with the engine: it is never idle, and its queue is never full.
const SCORERS: usize = 4;
/// Rows of one request: more than one batch has time for on a few cores, and answered in time on one.
const ROWS: usize = 8;
/// Turns of each mode, and how long one is.
const TURNS: usize = 12;
const TURN: Duration = Duration::from_secs(2);
/// From the first request of the scorers until the engine is in the middle of its work.
const SETTLE: Duration = Duration::from_millis(500);
/// Between looks whether the engine is done.
const POLL: Duration = Duration::from_millis(10);
/// A refused scorer waits so long.
const REFUSED: Duration = Duration::from_millis(50);
const PATH: &str = "/bytes/1024";
const LATENCY_US_MAX: u64 = 60_000_000;

pub const CONFIG: &str = r#"
[[route]]
name = "fhe"
path_prefix = "/fhe/v1"
handler = "fhe"
max_body_bytes = "64MiB"

[fhe]
keys_dir = "keys"
programs_dir = "programs"
"#;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Idle,
    Scoring,
}

/// What a mode's turns came to.
struct Sum {
    requests: u64,
    wall: Duration,
    latency_us: Histogram<u64>,
}

pub async fn run(context: &Context) -> Result<Vec<Row>, Error> {
    let folder = tempfile::tempdir()?;
    let (_origin, origin) = gateway::start_origin(context, folder.path()).await?;
    let own = folder.path().join("gateway");
    std::fs::create_dir_all(own.join("programs"))?;
    let model = context.root.join(format!("examples/models/{PROGRAM}.json"));
    std::fs::copy(&model, own.join(format!("programs/{PROGRAM}.json")))?;
    let gateway = gateway::start(context, &own, origin, CONFIG, "[]").await?;
    context.say("fhe-latency: making and registering a key");
    let (key, request) = encrypted(context, &model)?;
    register(&gateway.client, &key).await?;

    let shared = Arc::new(Shared::default());
    let (switch, _) = watch::channel(Mode::Idle);
    let mut scorers = JoinSet::new();
    for _ in 0..SCORERS {
        let connection = gateway.client.connect(Version::H1).await?;
        let (request, shared, mode) = (request.clone(), shared.clone(), switch.subscribe());
        scorers.spawn(score(connection, request, shared, mode));
    }
    let mut connections = load::open(&gateway.client, Version::H1).await?;
    load::run(&mut connections, PATH, TURN).await?;
    context.say(&format!(
        "fhe-latency: {} plain requests at once, with and without {SCORERS} clients of {ROWS} rows, in turns",
        load::IN_FLIGHT
    ));
    let mut sums = [Sum::new()?, Sum::new()?];
    // What the engine still does when a turn has ended does not count.
    let (mut scored, mut scoring) = (0, Duration::ZERO);
    for _ in 0..TURNS {
        for (mode, sum) in [Mode::Idle, Mode::Scoring].into_iter().zip(&mut sums) {
            let (began, before) = (Instant::now(), shared.rows.load(Ordering::Relaxed));
            switch.send_replace(mode);
            match mode {
                Mode::Idle => shared.until_idle().await,
                Mode::Scoring => tokio::time::sleep(SETTLE).await,
            }
            sum.add(load::run(&mut connections, PATH, TURN).await?)?;
            if mode == Mode::Scoring {
                scored += shared.rows.load(Ordering::Relaxed) - before;
                scoring += began.elapsed();
            }
            // A scorer that ended failed: a figure without its load would say nothing.
            if let Some(ended) = scorers.try_join_next() {
                return Err(ended?.err().unwrap_or_else(|| Error::new("a scorer ended")));
            }
        }
    }
    Ok(report(&sums, scored as f64 / scoring.as_secs_f64()))
}

/// A key, and a request that is sent again and again: the engine cannot tell.
fn encrypted(context: &Context, model: &Path) -> Result<(EvaluationKey, Bytes), Error> {
    let program = Program::from_json(&std::fs::read(model)?).map_err(of)?;
    let public = PublicProgram::from(&program);
    let csv = context.root.join("examples/models/breast-cancer-test.csv");
    let mut rows = Table::read(&csv, &public.columns)?.rows;
    rows.truncate(ROWS);
    let secret = ClientKey::generate(ParamSet::Bootstrap, &mut OsEntropy).map_err(of)?;
    let key = secret.evaluation_key(&mut OsEntropy).map_err(of)?;
    let client = fhe::Client::new(secret, key.id());
    let pending = client
        .encrypt_rows(&public, &rows, &mut OsEntropy)
        .map_err(of)?;
    Ok((key, pending.bytes.into()))
}

pub async fn register(client: &Client, key: &EvaluationKey) -> Result<(), Error> {
    let mut connection = client.connect(Version::H1).await?;
    let bytes = Bytes::copy_from_slice(key.as_bytes());
    let reply = connection.post_bytes("/fhe/v1/keys", bytes, &[]).await?;
    match reply.status {
        201 => Ok(()),
        status => Err(Error::new(format!(
            "the key was answered {status} ({})",
            reply.text()
        ))),
    }
}

#[derive(Default)]
struct Shared {
    rows: AtomicU64,
    /// Requests with the engine.
    waiting: AtomicUsize,
}

impl Shared {
    async fn until_idle(&self) {
        while self.waiting.load(Ordering::Acquire) > 0 {
            tokio::time::sleep(POLL).await;
        }
    }
}

/// One request after another while the mode is so. Refusals are part of saturation; any other answer ends it as an error.
async fn score(
    mut connection: Connection,
    request: Bytes,
    shared: Arc<Shared>,
    mut mode: watch::Receiver<Mode>,
) -> Result<(), Error> {
    let path = format!("/fhe/v1/programs/{PROGRAM}/evaluate");
    while mode.wait_for(|mode| *mode == Mode::Scoring).await.is_ok() {
        shared.waiting.fetch_add(1, Ordering::AcqRel);
        let reply = connection.post_bytes(&path, request.clone(), &[]).await;
        shared.waiting.fetch_sub(1, Ordering::AcqRel);
        let reply = reply?;
        match reply.status {
            200 => {
                shared.rows.fetch_add(ROWS as u64, Ordering::Relaxed);
            }
            429 | 503 => tokio::time::sleep(REFUSED).await,
            status => {
                let text = reply.text();
                return Err(Error::new(format!("{path} was answered {status} ({text})")));
            }
        }
    }
    Ok(())
}

impl Sum {
    fn new() -> Result<Self, Error> {
        Ok(Self {
            requests: 0,
            wall: Duration::ZERO,
            latency_us: Histogram::new_with_max(LATENCY_US_MAX, 3).map_err(of)?,
        })
    }

    fn add(&mut self, load: load::Load) -> Result<(), Error> {
        self.requests += load.requests;
        self.wall += load.wall;
        self.latency_us.add(load.latency_us).map_err(of)
    }

    fn ms(&self, quantile: f64) -> f64 {
        self.latency_us.value_at_quantile(quantile) as f64 / 1e3
    }

    fn per_second(&self) -> f64 {
        self.requests as f64 / self.wall.as_secs_f64()
    }
}

/// Over all turns of a mode: a tail that only some turns have is what is asked for.
fn report([idle, scoring]: &[Sum; 2], rows_per_second: f64) -> Vec<Row> {
    let row = |what: String, value, unit| Row::new("fhe-latency", what, value, unit);
    let mut rows = Vec::new();
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
        let base = idle.ms(quantile);
        rows.push(row(format!("plain route, {name}: no scoring"), base, "ms"));
        let loaded = row(
            format!("plain route, {name}: scoring"),
            scoring.ms(quantile),
            "ms",
        );
        rows.push(loaded.against(base, "no scoring"));
    }
    let base = idle.per_second();
    rows.push(row(
        "plain route: no scoring".to_owned(),
        base,
        "requests/s",
    ));
    let loaded = row(
        "plain route: scoring".to_owned(),
        scoring.per_second(),
        "requests/s",
    );
    rows.push(loaded.against(base, "no scoring"));
    let note = format!("{SCORERS} clients, {ROWS} rows a request, {PROGRAM}");
    rows.push(row("scored meanwhile".to_owned(), rows_per_second, "rows/s").note(note));
    rows
}

fn of<E: std::error::Error + 'static>(error: E) -> Error {
    Error::of(&error)
}
