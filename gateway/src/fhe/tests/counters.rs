//! Counters over HTTP: a stream is made, added to by others, fetched by its owner alone.

use std::sync::Arc;

use ::fhe::counters::{
    Contribution, CounterCiphertext, PublicKey, Schema, TotalValue, Window, WindowRecord, read,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;

use super::*;

const STREAM: &str = "/fhe/v1/counters/visits";
const SCHEMA: &str = r#"{"format":"veilgate-counters/1","contributions":1024,"entries":[
    {"name":"visits","kind":"counter"},{"name":"minutes","kind":"histogram","edges":[10,30]}]}"#;

fn definition(key: &ClientKey, seconds: u64) -> String {
    let public = STANDARD.encode(PublicKey::of(key).unwrap().as_bytes());
    format!(r#"{{"window_seconds":{seconds},"public_key":"{public}","schema":{SCHEMA}}}"#)
}

fn parsed(response: &Response<Bytes>) -> serde_json::Value {
    serde_json::from_slice(response.body()).unwrap()
}

impl Bench {
    /// As a contributor does it that knows the gateway alone: key and schema come from there.
    async fn encrypted(&self, visits: i64, at: u64) -> Vec<u8> {
        let described = parsed(&self.call_as("van-1", Method::GET, STREAM, "").await);
        let schema = serde_json::to_vec(&described["schema"]).unwrap();
        let schema = Schema::from_json(&schema).unwrap();
        assert_eq!(schema.digest().to_string(), described["schema_digest"]);
        let path = format!("{STREAM}/public-key");
        let key = self.call_as("van-1", Method::GET, &path, "").await;
        let key = PublicKey::from_bytes(key.body().to_vec()).unwrap();
        assert_eq!(key.id().to_string(), described["public_key"]);
        let seconds = described["window_seconds"].as_u64().unwrap() as u32;
        let mut contribution = Contribution::new(&schema);
        contribution.add("visits", visits).unwrap();
        contribution.observe("minutes", 12.0).unwrap();
        let window = Window::at(at, seconds).unwrap();
        let encrypted = contribution.encrypt(&key, window, &mut OsEntropy);
        encrypted.unwrap().to_bytes()
    }

    async fn contribute(&self, bytes: &[u8]) -> Response<Bytes> {
        self.call_as("van-1", Method::POST, STREAM, bytes.to_vec())
            .await
    }
}

fn visits(key: &ClientKey, bytes: &[u8]) -> TotalValue {
    let counters = CounterCiphertext::from_bytes(bytes).unwrap();
    let schema = Schema::from_json(SCHEMA.as_bytes()).unwrap();
    read(key, &schema, &counters).unwrap()[0].value.clone()
}

#[tokio::test]
async fn others_count_and_the_owner_reads() {
    let bench = bench();
    let (key, _) = make_key(ParamSet::Linear, 400);
    // A window that does not end during the test.
    let body = definition(&key, 24 * 3600);
    let made = bench
        .call_as("owner", Method::PUT, STREAM, body.clone())
        .await;
    assert_eq!(made.status(), StatusCode::CREATED, "{:?}", made.body());
    assert_eq!(made.headers()["location"], STREAM);
    let again = bench.call_as("owner", Method::PUT, STREAM, body).await;
    assert_eq!(again.status(), StatusCode::OK);

    let now = crate::fhe::seconds_since_1970();
    let first = bench.encrypted(40, now).await;
    let counted = bench.contribute(&first).await;
    assert_eq!(counted.status(), StatusCode::OK, "{:?}", counted.body());
    assert_eq!(parsed(&counted)["counted"], "now");
    assert_eq!(parsed(&bench.contribute(&first).await)["counted"], "before");
    let second = bench.encrypted(2, now).await;
    assert_eq!(parsed(&bench.contribute(&second).await)["contributions"], 2);

    let windows = format!("{STREAM}/windows");
    check_problem(
        &bench.call_as("van-1", Method::GET, &windows, "").await,
        403,
        "not-the-owner",
    );
    let listed = parsed(&bench.call_as("owner", Method::GET, &windows, "").await);
    let window = &listed["windows"][0];
    assert_eq!(
        (&window["contributions"], &window["state"]),
        (&2.into(), &"open".into())
    );
    let path = format!("{windows}/{}", window["start"]);
    let merged = bench.call_as("owner", Method::GET, &path, "").await;
    assert_eq!(merged.headers()["content-type"], "application/octet-stream");
    assert_eq!(visits(&key, merged.body()), TotalValue::Total(42));

    let gone = bench.call_as("owner", Method::DELETE, STREAM, "").await;
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    let gone = bench.call_as("owner", Method::GET, STREAM, "").await;
    check_problem(&gone, 404, "unknown-stream");
}

#[tokio::test]
async fn what_is_wrong_with_a_stream_or_a_contribution_is_told() {
    let bench = bench_with(|options| options.max_streams = 1);
    let (key, _) = make_key(ParamSet::Linear, 410);
    let put = |tenant: &'static str, path: &'static str, body: String| {
        let bench = &bench;
        async move { bench.call_as(tenant, Method::PUT, path, body).await }
    };
    let body = definition(&key, 24 * 3600);
    check_problem(
        &put("owner", "/fhe/v1/counters/A%20B", body.clone()).await,
        400,
        "bad-stream-name",
    );
    check_problem(
        &put("owner", STREAM, "{}".to_owned()).await,
        422,
        "bad-definition",
    );
    check_problem(
        &put("owner", STREAM, definition(&key, 1)).await,
        422,
        "bad-definition",
    );
    let spoiled = body.replace("veilgate-counters/1", "veilgate-counters/2");
    check_problem(&put("owner", STREAM, spoiled).await, 400, "malformed");
    check_problem(
        &put("owner", STREAM, " ".repeat(400_000)).await,
        413,
        "oversize",
    );
    assert_eq!(
        put("owner", STREAM, body.clone()).await.status(),
        StatusCode::CREATED
    );
    check_problem(
        &put("other", STREAM, body.clone()).await,
        409,
        "stream-taken",
    );
    check_problem(
        &put("owner", STREAM, definition(&key, 60)).await,
        409,
        "stream-differs",
    );
    check_problem(
        &put("owner", "/fhe/v1/counters/two", body).await,
        507,
        "too-many-streams",
    );

    let now = crate::fhe::seconds_since_1970();
    let good = bench.encrypted(1, now).await;
    check_problem(&bench.contribute(&good[..100]).await, 400, "truncated");
    check_problem(
        &bench.contribute(&[&good[..], &[0]].concat()).await,
        413,
        "oversize",
    );
    let late = bench.encrypted(1, now - 3 * 24 * 3600).await;
    check_problem(&bench.contribute(&late).await, 410, "window-closed");
    let early = bench
        .contribute(&bench.encrypted(1, now + 3 * 24 * 3600).await)
        .await;
    check_problem(&early, 409, "window-not-begun");
    assert!(early.headers().contains_key("retry-after"));
    let mut sum = CounterCiphertext::from_bytes(&good).unwrap();
    sum.merge(&sum.clone()).unwrap();
    check_problem(
        &bench.contribute(&sum.to_bytes()).await,
        422,
        "not-one-contribution",
    );
    let with_key = |key: String| {
        let request = Request::builder()
            .method(Method::POST)
            .uri(STREAM)
            .header("idempotency-key", key)
            .body(Full::new(Bytes::from(good.clone())))
            .unwrap();
        async {
            bench
                .service
                .handle(request, &"van-1".parse().unwrap())
                .await
        }
    };
    check_problem(
        &with_key("7".repeat(64)).await,
        400,
        "wrong-idempotency-key",
    );
    check_problem(
        &with_key("mine".to_owned()).await,
        400,
        "wrong-idempotency-key",
    );
    let named = with_key(format!("\"{}\"", edge_types::Digest::of(&good))).await;
    assert_eq!(named.status(), StatusCode::OK);
    let nothing = format!("{STREAM}/windows/86400");
    check_problem(
        &bench.call_as("owner", Method::GET, &nothing, "").await,
        404,
        "unknown-window",
    );
    let nothing = format!("{STREAM}/windows/first");
    check_problem(
        &bench.call_as("owner", Method::GET, &nothing, "").await,
        400,
        "bad-parameter",
    );
    check_problem(
        &bench.call(Method::PATCH, STREAM, "").await,
        405,
        "method-not-allowed",
    );
}

/// The thread that closes windows: one whose time is over is recorded though nothing more comes.
#[tokio::test]
async fn what_a_stopped_gateway_had_counted_is_recorded_when_it_is_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let (key, _) = make_key(ParamSet::Linear, 420);
    let options = options(dir.path());
    let past = crate::fhe::seconds_since_1970() - 1000;
    {
        let counters =
            crate::fhe::counters::Counters::open(crate::fhe::counters::CountersOptions {
                dir: options.counters_dir.clone(),
                max_streams: 1,
            })
            .unwrap();
        let definition = definition(&key, 100);
        let definition =
            crate::fhe::counters::Definition::from_json(definition.as_bytes()).unwrap();
        let mut contribution = Contribution::new(&definition.schema);
        contribution.add("visits", 5).unwrap();
        let window = Window::at(past, 100).unwrap();
        let bytes = contribution
            .encrypt(&definition.key, window, &mut OsEntropy)
            .unwrap()
            .to_bytes();
        let name = "visits".parse().unwrap();
        counters
            .define(&"owner".parse().unwrap(), &name, definition)
            .unwrap();
        counters.contribute(&name, &bytes, past).unwrap();
    }
    let records: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let into = records.clone();
    let sink = Arc::new(move |record| {
        into.lock().push(record);
        Ok(())
    });
    let service = FheService::open_with(&options, Some(sink)).unwrap();
    while records.lock().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(service);
    let records = records.lock();
    let record = WindowRecord::from_json(&records[0]).unwrap().unwrap();
    assert_eq!(records.len(), 1);
    let total = visits(&key, &record.counters.to_bytes());
    assert_eq!(total, TotalValue::Total(5));
}
