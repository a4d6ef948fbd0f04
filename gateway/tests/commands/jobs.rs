//! A job of encrypted scoring outlives the gateway that promised it: killed while it computes, it is started again, and the result is
//! there for who asks.

use std::path::Path;

use fhe::{Client, ClientKey, OsEntropy, ParamSet, Program, PublicProgram};
use http::{Method, Request, StatusCode};
use veilgate::body::Body;

use crate::client::{Connection, Reply, fetch};
use crate::origin::Origin;
use crate::site::{Folder, Gateway, plain, problem, until};

const TREES: &str = "breast-cancer-trees";
/// Seconds of work for one thread: the kill comes in the middle.
const ROWS: usize = 8;

fn models() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/models"))
}

async fn send(
    gateway: &Gateway,
    method: Method,
    path: &str,
    prefer: &str,
    body: impl Into<bytes::Bytes>,
) -> Reply {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("prefer", prefer)
        .body(Body::full(body.into()))
        .expect("a request");
    Connection::plain(gateway.addr).await.send(request).await
}

/// Jobs on disk, whoever's they are.
fn files(folder: &Folder) -> usize {
    let jobs = std::fs::read_dir(folder.path().join("jobs")).expect("a folder");
    let tenants = jobs.map(|entry| entry.expect("an entry").path());
    tenants
        .filter(|path| path.is_dir())
        .flat_map(|tenant| std::fs::read_dir(tenant).expect("a folder"))
        .filter(|file| file.as_ref().expect("an entry").path().extension() == Some("job".as_ref()))
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_survives_that_the_gateway_is_killed_while_it_computes() {
    let (_, origin) = Origin::start().await;
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("programs")).expect("made");
    let model = std::fs::read(models().join(format!("{TREES}.json"))).expect("a model");
    folder.write("programs/trees.json", &model);
    let config = plain(
        origin,
        "[[route]]\nname = \"fhe\"\npath_prefix = \"/fhe/v1\"\nhandler = \"fhe\"\nmax_body_bytes = \"64MiB\"\n\
         [fhe]\nkeys_dir = \"keys\"\nprograms_dir = \"programs\"\nthreads = 1\n",
    );
    let program = Program::from_json(&model).expect("a program");
    let public = PublicProgram::from(&program);
    let secret = ClientKey::generate(ParamSet::Bootstrap, &mut OsEntropy).expect("a key");
    let key = secret.evaluation_key(&mut OsEntropy).expect("a key");
    let client = Client::new(secret, key.id());
    let csv = std::fs::read_to_string(models().join("breast-cancer-test.csv")).expect("rows");
    let row = |line: &str| -> Vec<f64> {
        let cells = line.rsplit_once(',').expect("a label").0.split(',');
        cells.map(|cell| cell.parse().expect("a number")).collect()
    };
    let rows: Vec<_> = csv.lines().skip(1).take(ROWS).map(row).collect();
    let pending = client
        .encrypt_rows(&public, &rows, &mut OsEntropy)
        .expect("encrypted");

    let first = folder.run(&config).await;
    let bytes = key.as_bytes().to_vec();
    let registered = send(&first, Method::POST, "/fhe/v1/keys", "", bytes).await;
    assert_eq!(registered.status, StatusCode::CREATED);
    let evaluate = format!("/fhe/v1/programs/{TREES}/evaluate");
    let ask = || {
        send(
            &first,
            Method::POST,
            &evaluate,
            "respond-async",
            pending.bytes.clone(),
        )
    };
    let begun = ask().await;
    assert_eq!(begun.status, StatusCode::ACCEPTED, "{}", begun.text());
    assert_eq!(begun.header("preference-applied"), Some("respond-async"));
    let job = begun.header("location").expect("a place").to_owned();
    assert_eq!(
        job,
        format!(
            "/fhe/v1/jobs/{}",
            begun.json()["id"].as_str().expect("an id")
        )
    );
    // One more, which waits behind, or is computed together with it.
    let second = ask().await.header("location").expect("a place").to_owned();
    assert_eq!(files(&folder), 2);
    let id = job.rsplit('/').next().expect("an id");
    let file = folder.path().join(format!("jobs/default/{id}.job"));
    until("the job runs, which is an attempt", async || {
        let running = fetch(first.addr, &job).await.json()["status"] == "running";
        let file = std::fs::read(&file).expect("the job");
        running && String::from_utf8_lossy(&file).contains("\"attempts\":1")
    })
    .await;
    drop(first);

    // It had not ended: what is on disk is its request.
    let file = std::fs::read(file).expect("the job");
    assert!(String::from_utf8_lossy(&file).contains("\"state\":\"waiting\""));

    let gateway = folder.run(&config).await;
    for job in [&job, &second] {
        until("the job is done", async || {
            let result = fetch(gateway.addr, &format!("{job}/result")).await;
            assert!(result.status.is_success(), "{}", result.text());
            result.status == StatusCode::OK
        })
        .await;
        let result = fetch(gateway.addr, &format!("{job}/result")).await;
        let timing = result.header("server-timing").expect("where time went");
        assert!(timing.contains("bootstrap;dur="), "{timing}");
        let scores = client
            .decrypt(&public, &pending, &result.body)
            .expect("scores");
        for (row, scores) in rows.iter().zip(&scores) {
            let inputs = public.encode(0, row).expect("inputs");
            let clear = program.evaluate_clear(&inputs).expect("evaluated");
            let clear = public.clear_scores(&clear);
            assert_eq!(public.label(scores), public.label(&clear));
        }
        assert_eq!(scores.len(), ROWS);
    }
    let gone = send(&gateway, Method::DELETE, &job, "", "").await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    let gone = fetch(gateway.addr, &job).await;
    problem(
        &gone,
        StatusCode::NOT_FOUND,
        ":fhe:unknown-job",
        "no such job",
    );
    assert_eq!(files(&folder), 1);
    gateway.stop();
}
