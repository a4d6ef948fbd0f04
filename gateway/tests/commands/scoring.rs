//! Encrypted scoring with wrong keys, programs and ciphertexts: by the CLI, where a person reads why, and over HTTP/3, where a program
//! reads the type of the problem. After all of it the gateway still computes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fhe::wire::MAX_REQUEST_BYTES;
use fhe::{Client, ClientKey, EvaluationKey, KeyId, OsEntropy, ParamSet, Program, PublicProgram};
use http::{Method, Request, StatusCode};
use transport::tls::Protocol;
use veilgate::body::Body;

use crate::client::{Connection, Reply};
use crate::origin::Origin;
use crate::site::{Folder, Gateway, Said, free_port, plain, problem};

const LINEAR: &str = "breast-cancer-linear";
const TREES: &str = "breast-cancer-trees";
/// Where the set's number is in a key and in a request, and then the program's and the key's digest in a request.
const SET_AT: usize = 6;
const PROGRAM_AT: usize = 8;
const KEY_AT: usize = 40;
const COUNTS_AT: usize = 88;
const VALUES_AT: usize = 92;

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/models")
}

fn model(name: &str) -> Vec<u8> {
    std::fs::read(models().join(format!("{name}.json"))).expect("a model")
}

/// Certificates and programs.
fn folder() -> Folder {
    let folder = Folder::with_certificates();
    std::fs::create_dir(folder.path().join("programs")).expect("made");
    for name in [LINEAR, TREES] {
        folder.write(&format!("programs/{name}.json"), model(name));
    }
    folder
}

/// A plain listener for the origin, and one with all protocols for scoring.
fn config(origin: SocketAddr) -> String {
    plain(
        origin,
        "[[listener]]\naddr = \"127.0.0.1:0\"\ntls = { cert = \"server.pem\", key = \"server.key\" }\n\
         [[route]]\nname = \"other\"\npath_prefix = \"/other\"\nupstream = \"origin\"\n\
         [[route]]\nname = \"fhe\"\npath_prefix = \"/fhe/v1\"\nhandler = \"fhe\"\nmax_body_bytes = \"64MiB\"\n\
         [fhe]\nkeys_dir = \"keys\"\nprograms_dir = \"programs\"\nthreads = 1\n",
    )
}

/// `veilgate keys register` or `infer` against this gateway, with more arguments.
fn ask(folder: &Folder, gateway: &Gateway, command: &[&str], more: &[&str]) -> Said {
    let url = format!("https://localhost:{}", gateway.last.port());
    let target = ["--url", &*url, "--ca", "ca.pem"];
    folder.veilgate(&[command, &target, more].concat())
}

fn infer(folder: &Folder, gateway: &Gateway, keys: &str, program: &str) -> Said {
    let data = models().join("breast-cancer-test.csv");
    let data = data.to_str().expect("text");
    let clear = models().join(format!("{program}.json"));
    let more = [
        "--keys",
        keys,
        "--program",
        program,
        "--data",
        data,
        "--limit",
        "2",
        "--json",
    ];
    // The clear side can only be asked of a program that is there.
    let clear: &[&str] = if clear.exists() {
        &["--clear", clear.to_str().expect("text")]
    } else {
        &[]
    };
    ask(folder, gateway, &["infer"], &[&more, clear].concat())
}

/// Both rows scored, as the program in the clear does.
fn computes(said: Said) {
    let report: serde_json::Value = serde_json::from_str(&said.fine().out).expect("a report");
    assert_eq!(
        (&report["rows"], &report["mismatches"]),
        (&2.into(), &0.into()),
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_is_told_what_is_wrong_with_keys_programs_and_addresses() {
    let (_, origin) = Origin::start().await;
    let folder = folder();
    let gateway = folder.run(&config(origin)).await;
    folder
        .veilgate(&["keys", "new", "--set", "linear", "--out", "mine"])
        .fine();
    let register = |keys: &str| ask(&folder, &gateway, &["keys", "register"], &["--keys", keys]);

    infer(&folder, &gateway, "mine", "no-such-model")
        .refused(1, &["404", "no program of this name"]);
    infer(&folder, &gateway, "mine", LINEAR).refused(1, &["404", "veilgate keys register"]);
    register("mine").fine();
    infer(&folder, &gateway, "mine", TREES).refused(
        2,
        &["linear-2048-128", "is needed", "keys new --set bootstrap"],
    );
    register("nobody").refused(2, &["nobody/evaluation.key", "veilgate keys new"]);

    // Damaged files never leave this side.
    let key = std::fs::read(folder.path().join("mine/evaluation.key")).expect("a key");
    for (name, bytes, words) in [
        ("short", key[..key.len() - 100].to_vec(), "cut short"),
        ("empty", Vec::new(), "cut short"),
        ("long", [&*key, b"more"].concat(), "too large"),
        (
            "text",
            b"# This is not a key at all".to_vec(),
            "no evaluation key",
        ),
    ] {
        let file = format!("{name}/evaluation.key");
        std::fs::create_dir(folder.path().join(name)).expect("made");
        folder.write(&file, bytes);
        register(name).refused(2, &[&file, words]);
    }
    folder
        .veilgate(&["keys", "new", "--set", "linear", "--out", "mine"])
        .refused(1, &["mine/client.key", "never overwritten"]);

    let url = format!("https://localhost:{}", gateway.last.port());
    let elsewhere = |url: &str, ca: &str| {
        folder.veilgate(&[
            "keys", "register", "--url", url, "--ca", ca, "--keys", "mine",
        ])
    };
    let other = Folder::with_certificates();
    let other_ca = other.path().join("ca.pem");
    elsewhere(&url, other_ca.to_str().expect("text")).refused(
        1,
        &[
            "cannot reach",
            "certificate is not to be trusted",
            "authority",
        ],
    );
    elsewhere(&url, "none.pem").refused(2, &["none.pem", "cannot read"]);
    elsewhere("http://localhost:1", "ca.pem").refused(2, &["--url", "https://host:port"]);
    let nobody = format!("https://127.0.0.1:{}", free_port());
    elsewhere(&nobody, "ca.pem").refused(1, &["cannot reach", "Is it running"]);

    computes(infer(&folder, &gateway, "mine", LINEAR));
    gateway.still_serves("/other").await;
    gateway.stop();
}

/// A client of its own program, with what it would send.
struct Asker {
    connection: Connection,
    client: Client,
    key: EvaluationKey,
    program: PublicProgram,
    rows: Vec<Vec<f64>>,
}

impl Asker {
    async fn new(gateway: &Gateway, folder: &Folder) -> Self {
        let secret = ClientKey::generate(ParamSet::Linear, &mut OsEntropy).expect("a key");
        let key = secret.evaluation_key(&mut OsEntropy).expect("a key");
        let program = Program::from_json(&model(LINEAR)).expect("a program");
        let program = PublicProgram::from(&program);
        let csv = std::fs::read_to_string(models().join("breast-cancer-test.csv")).expect("rows");
        let row = |line: &str| {
            line.split(',')
                .filter_map(|cell| cell.parse().ok())
                .collect()
        };
        Self {
            connection: Connection::encrypted(gateway.last, folder.path(), Protocol::Http3).await,
            client: Client::new(secret, key.id()),
            key,
            program,
            rows: csv.lines().skip(1).take(2).map(row).collect(),
        }
    }

    async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> Reply {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("/fhe/v1/{path}"));
        self.connection
            .send(request.body(Body::full(body.into())).expect("a request"))
            .await
    }

    async fn evaluate(&mut self, name: &str, body: impl Into<Bytes>) -> Reply {
        self.post(&format!("programs/{name}/evaluate"), body).await
    }

    fn encrypted(&self) -> fhe::client::Pending {
        let rows = self
            .client
            .encrypt_rows(&self.program, &self.rows, &mut OsEntropy);
        rows.expect("rows")
    }
}

fn with(bytes: &[u8], at: usize, value: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + value.len()].copy_from_slice(value);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_keys_and_ciphertexts_are_told_apart_over_http3() {
    let (_, origin) = Origin::start().await;
    let folder = folder();
    let gateway = folder.run(&config(origin)).await;
    let mut asker = Asker::new(&gateway, &folder).await;
    let (bootstrap, nobodys) = (ParamSet::Bootstrap.id().to_le_bytes(), 999u16.to_le_bytes());

    let key = asker.key.as_bytes().to_vec();
    let oversize = vec![0; EvaluationKey::MAX_BYTES + 1];
    for (body, status, kind, words) in [
        (key[..key.len() / 2].to_vec(), 400, "truncated", "cut short"),
        (key[..5].to_vec(), 400, "truncated", "cut short"),
        (Vec::new(), 400, "truncated", "cut short"),
        ([&*key, b"more"].concat(), 413, "oversize", "too large"),
        (oversize, 413, "oversize", "too large"),
        (with(&key, 0, b"MINE"), 400, "malformed", "evaluation key"),
        (
            with(&key, 4, &[9, 0]),
            422,
            "unsupported-version",
            "format version 9",
        ),
        (
            with(&key, SET_AT, &nobodys),
            422,
            "wrong-parameter-set",
            "parameter set 999",
        ),
        // As long as the other set's keys are it is not.
        (
            with(&key, SET_AT, &bootstrap),
            400,
            "truncated",
            "cut short",
        ),
    ] {
        let reply = asker.post("keys", body).await;
        problem(
            &reply,
            StatusCode::from_u16(status).expect("a status"),
            &format!(":fhe:{kind}"),
            words,
        );
    }

    let good = asker.encrypted();
    let unregistered = asker.evaluate(LINEAR, good.bytes.clone()).await;
    problem(
        &unregistered,
        StatusCode::NOT_FOUND,
        ":fhe:unknown-key",
        "POST /fhe/v1/keys",
    );
    assert_eq!(
        asker.post("keys", key.clone()).await.status,
        StatusCode::CREATED
    );

    let trees = Program::from_json(&model(TREES))
        .expect("a program")
        .digest();
    let flipped = |at: usize| with(&good.bytes, at, &[good.bytes[at] ^ 1]);
    let short = |len: usize| good.bytes[..len].to_vec();
    for (name, body, status, kind, words) in [
        (
            "no-such-model",
            good.bytes.clone(),
            404,
            "unknown-program",
            "GET /fhe/v1/programs",
        ),
        (
            TREES,
            good.bytes.clone(),
            409,
            "program-changed",
            "another program",
        ),
        // A linear key, and rows that say they are for the trees.
        (
            TREES,
            with(&good.bytes, PROGRAM_AT, &trees.0),
            422,
            "wrong-parameter-set",
            "tfhe-2_2-ks32-128",
        ),
        (
            LINEAR,
            with(&good.bytes, SET_AT, &bootstrap),
            422,
            "wrong-parameter-set",
            "linear-2048-128",
        ),
        (
            LINEAR,
            with(&good.bytes, SET_AT, &nobodys),
            422,
            "wrong-parameter-set",
            "parameter set 999",
        ),
        (
            LINEAR,
            with(&good.bytes, 4, &[9, 0]),
            422,
            "unsupported-version",
            "format version 9",
        ),
        (LINEAR, short(0), 400, "truncated", "cut short"),
        (LINEAR, short(50), 400, "truncated", "cut short"),
        (
            LINEAR,
            short(good.bytes.len() - 1),
            400,
            "truncated",
            "cut short",
        ),
        (
            LINEAR,
            [&*good.bytes, b"more"].concat(),
            413,
            "oversize",
            "too large",
        ),
        (
            LINEAR,
            vec![0; MAX_REQUEST_BYTES + 1],
            413,
            "oversize",
            "too large",
        ),
        (LINEAR, flipped(0), 400, "malformed", "encrypted request"),
        (
            LINEAR,
            flipped(PROGRAM_AT + 3),
            409,
            "program-changed",
            "another program",
        ),
        (
            LINEAR,
            flipped(KEY_AT + 3),
            404,
            "unknown-key",
            "POST /fhe/v1/keys",
        ),
        // Two rows become none, and then three.
        (
            LINEAR,
            with(&good.bytes, COUNTS_AT, &[0, 0]),
            400,
            "malformed",
            "0 rows",
        ),
        (LINEAR, flipped(COUNTS_AT), 400, "truncated", "cut short"),
    ] {
        let reply = asker.evaluate(name, body).await;
        problem(
            &reply,
            StatusCode::from_u16(status).expect("a status"),
            &format!(":fhe:{kind}"),
            words,
        );
        assert_eq!(reply.header("retry-after"), None, "it would fail again");
    }

    // A bit flipped among the encrypted values cannot be seen by who cannot read them; the client sees that the answer is to
    // something that it has not asked.
    let strange = asker.evaluate(LINEAR, flipped(VALUES_AT + 11)).await;
    assert_eq!(strange.status, StatusCode::OK);
    let read = asker.client.decrypt(&asker.program, &good, &strange.body);
    assert!(read.is_err_and(|error| error.to_string().contains("does not belong")));

    for path in ["programs/none", "keys/none", "elsewhere"] {
        let reply = asker.connection.fetch(&format!("/fhe/v1/{path}")).await;
        assert_eq!(
            reply.status,
            StatusCode::NOT_FOUND,
            "{path}: {}",
            reply.text()
        );
    }
    // The same connection and key still get their scores.
    let reply = asker.evaluate(LINEAR, good.bytes.clone()).await;
    assert_eq!(reply.status, StatusCode::OK, "{:?}", reply.body);
    let scores = asker
        .client
        .decrypt(&asker.program, &good, &reply.body)
        .expect("scores");
    assert_eq!(scores.len(), 2);
    gateway.still_serves("/other").await;
    gateway.stop();
}

/// The keys that a bootstrap needs, once: that the larger format is cut and refused in the same way, and works when it is whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_with_bootstraps_are_taken_whole_or_not_at_all() {
    let (_, origin) = Origin::start().await;
    let folder = folder();
    let gateway = folder.run(&config(origin)).await;
    folder
        .veilgate(&["keys", "new", "--set", "bootstrap", "--out", "mine"])
        .fine();
    let key = std::fs::read(folder.path().join("mine/evaluation.key")).expect("a key");
    let mut asker = Asker::new(&gateway, &folder).await;
    let cut = asker.post("keys", key[..key.len() - 1].to_vec()).await;
    problem(&cut, StatusCode::BAD_REQUEST, ":fhe:truncated", "cut short");
    let linear = ParamSet::Linear.id().to_le_bytes();
    let other = asker.post("keys", with(&key, SET_AT, &linear)).await;
    problem(
        &other,
        StatusCode::PAYLOAD_TOO_LARGE,
        ":fhe:oversize",
        "too large",
    );
    let id = KeyId(edge_types::Digest::of(&key));
    let known = asker.connection.fetch(&format!("/fhe/v1/keys/{id}")).await;
    problem(
        &known,
        StatusCode::NOT_FOUND,
        ":fhe:unknown-key",
        "no such evaluation key",
    );

    ask(
        &folder,
        &gateway,
        &["keys", "register"],
        &["--keys", "mine"],
    )
    .fine();
    computes(infer(&folder, &gateway, "mine", TREES));
    gateway.still_serves("/other").await;
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_not_sound_stops_the_start_with_its_file() {
    let (_, origin) = Origin::start().await;
    let folder = folder();
    let text = config(origin);
    let sound = String::from_utf8(model(LINEAR)).expect("text");
    for (content, words) in [
        (
            "garbage, not a program".to_owned(),
            &["programs/odd.json"][..],
        ),
        (sound[..sound.len() / 2].to_owned(), &["programs/odd.json"]),
        (
            sound.replace("linear-2048-128", "my-own-set"),
            &["programs/odd.json", "my-own-set"],
        ),
        (
            sound.clone(),
            &["breast-cancer-linear", "rename one of them"],
        ),
    ] {
        folder.write("programs/odd.json", content);
        folder.run_in_vain(&text).refused(1, words);
        folder.check(&text).refused(2, words);
    }
    std::fs::remove_file(folder.path().join("programs/odd.json")).expect("there");
    let gateway = folder.run(&text).await;
    gateway.still_serves("/other").await;
    gateway.stop();
}
