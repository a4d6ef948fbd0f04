use super::*;
use std::path::Path;
use std::sync::OnceLock;

use ::fhe::wire::MAX_REQUEST_BYTES;
use ::fhe::{Client, ClientKey, EvaluationKey, OsEntropy, ParamSet, PublicProgram, TestEntropy};
use ::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::Full;

mod cards;
mod counters;
mod jobs;
mod lifecycle;
mod parts;
mod turned_away;

const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/models");
const LINEAR: &str = "breast-cancer-linear";
const TREES: &str = "breast-cancer-trees";

/// The key of a client that bootstraps: made once, it takes a second.
fn bootstrap_key() -> &'static (ClientKey, EvaluationKey) {
    static KEY: OnceLock<(ClientKey, EvaluationKey)> = OnceLock::new();
    KEY.get_or_init(|| make_key(ParamSet::Bootstrap, 7))
}

fn make_key(set: ParamSet, seed: u128) -> (ClientKey, EvaluationKey) {
    let client = ClientKey::generate(set, &mut TestEntropy(seed)).unwrap();
    let evaluation = client.evaluation_key(&mut TestEntropy(seed + 1)).unwrap();
    (client, evaluation)
}

fn options(dir: &Path) -> FheOptions {
    FheOptions {
        threads: Some(2),
        ..FheOptions::new(dir.join("keys"), MODELS)
    }
}

struct Bench {
    service: FheService,
    _dir: tempfile::TempDir,
}

fn bench() -> Bench {
    bench_with(|_| ())
}

fn bench_with(change: impl FnOnce(&mut FheOptions)) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    change(&mut options);
    Bench {
        service: FheService::open(&options).unwrap(),
        _dir: dir,
    }
}

impl Bench {
    async fn call(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Response<Bytes> {
        self.call_as("default", method, path, body).await
    }

    async fn call_as(
        &self,
        tenant: &str,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Response<Bytes> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Full::new(body.into()))
            .unwrap();
        self.service.handle(request, &tenant.parse().unwrap()).await
    }

    async fn register(&self, key: &EvaluationKey) {
        let response = self
            .call(Method::POST, "/fhe/v1/keys", key.as_bytes().to_vec())
            .await;
        assert_eq!(response.status(), StatusCode::CREATED);
    }

    async fn program(&self, name: &str) -> PublicProgram {
        let response = self
            .call(Method::GET, &format!("/fhe/v1/programs/{name}"), "")
            .await;
        assert_eq!(response.status(), StatusCode::OK);
        PublicProgram::from_json(response.body()).unwrap()
    }

    /// Encrypts, evaluates, decrypts; checks every label and score against the clear.
    async fn check_scores(&self, name: &str, key: &(ClientKey, EvaluationKey), rows: &[Vec<f64>]) {
        let public = self.program(name).await;
        let client = Client::new(key.0.clone(), key.1.id());
        let pending = client.encrypt_rows(&public, rows, &mut OsEntropy).unwrap();
        let response = self
            .call(
                Method::POST,
                &format!("/fhe/v1/programs/{name}/evaluate"),
                pending.bytes.clone(),
            )
            .await;
        assert_eq!(response.status(), StatusCode::OK, "{:?}", response.body());
        let timing = response.headers()["server-timing"].to_str().unwrap();
        assert!(
            ["queue", "batch", "linear", "keyswitch", "bootstrap"]
                .iter()
                .all(|part| timing.contains(&format!("{part};dur="))),
            "{timing}"
        );
        let scores = client.decrypt(&public, &pending, response.body()).unwrap();
        let program =
            ::fhe::Program::from_json(&std::fs::read(format!("{MODELS}/{name}.json")).unwrap())
                .unwrap();
        for (row, scores) in rows.iter().zip(&scores) {
            let inputs = public.encode(0, row).unwrap();
            let clear = public.clear_scores(&program.evaluate_clear(&inputs).unwrap());
            assert_eq!(public.label(scores), public.label(&clear));
            assert!((scores[0].value - clear[0].value).abs() <= public.noise.score_error[0]);
        }
    }

    async fn request_for(
        &self,
        name: &str,
        key: &(ClientKey, EvaluationKey),
        rows: usize,
    ) -> Vec<u8> {
        let public = self.program(name).await;
        let client = Client::new(key.0.clone(), key.1.id());
        client
            .encrypt_rows(&public, &held_out(rows), &mut OsEntropy)
            .unwrap()
            .bytes
    }
}

fn held_out(count: usize) -> Vec<Vec<f64>> {
    let text = std::fs::read_to_string(format!("{MODELS}/breast-cancer-test.csv")).unwrap();
    let row = |line: &str| {
        let cells = line.rsplit_once(',').unwrap().0;
        cells.split(',').map(|cell| cell.parse().unwrap()).collect()
    };
    text.lines().skip(1).cycle().take(count).map(row).collect()
}

/// The problem's type is the one that is expected, and it is a well-formed problem.
fn check_problem(response: &Response<Bytes>, status: u16, name: &str) {
    let body = String::from_utf8_lossy(response.body());
    assert_eq!(response.status(), status, "{body}");
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let problem: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(
        problem["type"],
        format!("urn:veilgate:fhe:{name}"),
        "{body}"
    );
    assert_eq!(problem["status"], status);
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|detail| detail.len() > 10),
        "{body}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_models_are_scored_for_a_registered_key() {
    let bench = bench();
    let key = bootstrap_key();
    bench.register(&key.1).await;
    bench.check_scores(LINEAR, key, &held_out(20)).await;
    // Several requests at once: they are gathered into a batch.
    let rows = held_out(4);
    let trees = |at: usize| bench.check_scores(TREES, key, &rows[at..at + 2]);
    tokio::join!(trees(0), trees(2), bench.check_scores(LINEAR, key, &rows));
}

#[tokio::test]
async fn a_key_without_bootstraps_serves_linear_programs_only() {
    let bench = bench();
    let key = make_key(ParamSet::Linear, 30);
    bench.register(&key.1).await;
    bench.check_scores(LINEAR, &key, &held_out(3)).await;

    // The client refuses by itself; what it would send is refused too.
    let public = bench.program(TREES).await;
    let client = Client::new(key.0.clone(), key.1.id());
    assert!(
        client
            .encrypt_rows(&public, &held_out(1), &mut OsEntropy)
            .is_err()
    );
    let bodies = vec![0; public.input_count()];
    let forged = ::fhe::Request::new(
        ParamSet::Linear,
        public.digest,
        key.1.id(),
        1,
        bodies.len(),
        public.input_bits,
        bodies,
    )
    .unwrap();
    let response = bench
        .call(
            Method::POST,
            "/fhe/v1/programs/breast-cancer-trees/evaluate",
            forged.to_bytes(),
        )
        .await;
    check_problem(&response, 422, "wrong-parameter-set");
    let mut forged = forged;
    forged.params = ParamSet::Bootstrap;
    let response = bench
        .call(
            Method::POST,
            "/fhe/v1/programs/breast-cancer-trees/evaluate",
            forged.to_bytes(),
        )
        .await;
    check_problem(&response, 422, "wrong-parameter-set");
}

#[tokio::test]
async fn programs_are_listed_without_their_weights() {
    let bench = bench();
    let list = bench.call(Method::GET, "/fhe/v1/programs", "").await;
    let list: serde_json::Value = serde_json::from_slice(list.body()).unwrap();
    let names: Vec<_> = list["programs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["name"].as_str().unwrap())
        .collect();
    assert!(
        names.contains(&LINEAR) && names.contains(&TREES),
        "{names:?}"
    );
    assert!(names.is_sorted(), "{names:?}");
    let public = bench
        .call(Method::GET, "/fhe/v1/programs/breast-cancer-trees", "")
        .await;
    let text = String::from_utf8_lossy(public.body());
    assert!(
        text.contains("above") && !text.contains("tables") && !text.contains("terms"),
        "{text}"
    );
    check_problem(
        &bench
            .call(Method::GET, "/fhe/v1/programs/nothing", "")
            .await,
        404,
        "unknown-program",
    );
    check_problem(
        &bench
            .call(Method::POST, "/fhe/v1/programs/nothing/evaluate", "x")
            .await,
        404,
        "unknown-program",
    );
    check_problem(
        &bench.call(Method::GET, "/fhe/v1/other", "").await,
        404,
        "unknown-resource",
    );
    check_problem(
        &bench.call(Method::GET, "/elsewhere", "").await,
        404,
        "unknown-resource",
    );
    check_problem(
        &bench.call(Method::DELETE, "/fhe/v1/programs", "").await,
        405,
        "method-not-allowed",
    );
    check_problem(
        &bench
            .call(Method::GET, "/fhe/v1/programs/x/evaluate", "")
            .await,
        405,
        "method-not-allowed",
    );
}

#[tokio::test]
async fn keys_are_registered_once_described_and_forgotten() {
    let bench = bench();
    let (_, key) = make_key(ParamSet::Linear, 40);
    let path = format!("/fhe/v1/keys/{}", key.id());
    check_problem(
        &bench.call(Method::GET, &path, "").await,
        404,
        "unknown-key",
    );
    let created = bench
        .call(Method::POST, "/fhe/v1/keys", key.as_bytes().to_vec())
        .await;
    assert_eq!(
        (
            created.status(),
            created.headers()["location"].to_str().unwrap()
        ),
        (StatusCode::CREATED, &*path)
    );
    let again = bench
        .call(Method::POST, "/fhe/v1/keys", key.as_bytes().to_vec())
        .await;
    assert_eq!(again.status(), StatusCode::OK);
    let described = bench.call(Method::GET, &path, "").await;
    let described: serde_json::Value = serde_json::from_slice(described.body()).unwrap();
    assert_eq!(described["id"], key.id().to_string());
    assert_eq!(described["params"], "linear-2048-128");
    check_problem(
        &bench.call_as("other", Method::GET, &path, "").await,
        404,
        "unknown-key",
    );
    check_problem(
        &bench.call_as("other", Method::DELETE, &path, "").await,
        404,
        "unknown-key",
    );
    assert_eq!(
        bench.call(Method::DELETE, &path, "").await.status(),
        StatusCode::NO_CONTENT
    );
    check_problem(
        &bench.call(Method::GET, &path, "").await,
        404,
        "unknown-key",
    );
    check_problem(
        &bench.call(Method::GET, "/fhe/v1/keys/..%2Fetc", "").await,
        404,
        "unknown-key",
    );
}

#[tokio::test]
async fn bad_keys_are_refused_each_in_its_own_words() {
    let bench = bench();
    let (_, key) = make_key(ParamSet::Linear, 50);
    let post = |bytes: Vec<u8>| bench.call(Method::POST, "/fhe/v1/keys", bytes);
    let good = key.as_bytes().to_vec();
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    check_problem(
        &post(good[..good.len() - 1].to_vec()).await,
        400,
        "truncated",
    );
    check_problem(&post([&good[..], &[0]].concat()).await, 413, "oversize");
    check_problem(
        &post(vec![0; EvaluationKey::MAX_BYTES + 1]).await,
        413,
        "oversize",
    );
    check_problem(&post(with(0, b'x')).await, 400, "malformed");
    check_problem(&post(with(4, 2)).await, 422, "unsupported-version");
    check_problem(&post(with(6, 200)).await, 422, "wrong-parameter-set");
    check_problem(&post(Vec::new()).await, 400, "truncated");
}

#[tokio::test]
async fn bad_requests_are_refused_before_any_arithmetic() {
    let bench = bench();
    let key = make_key(ParamSet::Linear, 60);
    let path = format!("/fhe/v1/programs/{LINEAR}/evaluate");
    let good = bench.request_for(LINEAR, &key, 2).await;
    let post = |bytes: Vec<u8>| bench.call(Method::POST, &path, bytes);
    check_problem(&post(good.clone()).await, 404, "unknown-key");
    let elsewhere = bench
        .call_as(
            "other",
            Method::POST,
            "/fhe/v1/keys",
            key.1.as_bytes().to_vec(),
        )
        .await;
    assert_eq!(elsewhere.status(), StatusCode::CREATED);
    // Another tenant's key is as unknown as none.
    let theirs = post(good.clone()).await;
    check_problem(&theirs, 404, "unknown-key");
    bench.register(&key.1).await;
    assert_eq!(post(good.clone()).await.status(), StatusCode::OK);

    check_problem(
        &post(good[..good.len() - 3].to_vec()).await,
        400,
        "truncated",
    );
    check_problem(&post([&good[..], &[1]].concat()).await, 413, "oversize");
    check_problem(&post(vec![0; MAX_REQUEST_BYTES + 1]).await, 413, "oversize");
    let foreign = [&good[..6], &[0xee, 0xee], &good[8..]].concat();
    check_problem(&post(foreign).await, 422, "wrong-parameter-set");
    let other_program = bench.request_for(LINEAR, &key, 1).await;
    let stale = [&other_program[..8], &[0; 32], &other_program[40..]].concat();
    check_problem(&post(stale).await, 409, "program-changed");
    let digest = bench.program(LINEAR).await.digest;
    let narrow =
        ::fhe::Request::new(ParamSet::Linear, digest, key.1.id(), 1, 3, 64, vec![0; 6]).unwrap();
    check_problem(&post(narrow.to_bytes()).await, 422, "wrong-shape");
    let sound = ::fhe::Request::from_bytes(&good).unwrap();
    for bits in [sound.bits() - 1, sound.bits() + 1] {
        let bodies = sound.row_bodies().flatten().copied().collect();
        let (set, id, values) = (ParamSet::Linear, key.1.id(), sound.values_per_row());
        let other = ::fhe::Request::new(set, digest, id, sound.seed, values, bits, bodies);
        let refused = post(other.unwrap().to_bytes()).await;
        check_problem(&refused, 422, "wrong-shape");
        let detail = String::from_utf8_lossy(refused.body()).into_owned();
        assert!(detail.contains("bits a value"), "{detail}");
    }
}

#[test]
fn a_directory_with_an_unsound_program_is_refused_with_the_file() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bad.json"), b"{}").unwrap();
    let bad = FheOptions::new(dir.path().join("keys"), dir.path());
    let error = FheService::open(&bad).err().unwrap().to_string();
    assert!(error.contains("bad.json"), "{error}");
    let missing = FheOptions::new(dir.path().join("keys"), dir.path().join("missing"));
    let error = FheService::open(&missing).err().unwrap().to_string();
    assert!(error.contains("missing"), "{error}");

    let model = std::fs::read(format!("{MODELS}/{LINEAR}.json")).unwrap();
    std::fs::write(dir.path().join("bad.json"), &model).unwrap();
    std::fs::write(dir.path().join("copy.json"), &model).unwrap();
    let error = FheService::open(&bad).err().unwrap().to_string();
    assert!(error.contains("rename"), "{error}");
}

#[test]
fn a_folder_that_another_gateway_uses_is_refused_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let first = FheService::open(&options(dir.path())).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    for name in ["keys", "jobs", "counters"] {
        let mut second = options(elsewhere.path());
        let shared = dir.path().join(name);
        match name {
            "keys" => second.keys_dir = shared.clone(),
            "jobs" => second.jobs_dir = shared.clone(),
            _ => second.counters_dir = shared.clone(),
        }
        let error = FheService::open(&second).err().unwrap();
        assert!(matches!(&error, FheStartError::InUse(dir) if *dir == shared));
        let text = error.to_string();
        assert!(text.contains(&*shared.to_string_lossy()), "{text}");
        assert!(text.contains(&format!("{name}_dir")), "{text}");
    }
    drop(first);
    // One gateway may have them all in one folder, and what another left there does not stop it.
    let mut same = options(dir.path());
    same.jobs_dir = same.keys_dir.clone();
    drop(FheService::open(&same).unwrap());
    FheService::open(&options(dir.path())).unwrap();
}
