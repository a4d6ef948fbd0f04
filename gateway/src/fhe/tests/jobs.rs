//! Jobs over HTTP: begun, looked at, fetched, deleted, by their tenant alone.

use super::*;

impl Bench {
    async fn begin_job(&self, tenant: &str, name: &str, body: Vec<u8>) -> Response<Bytes> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("/fhe/v1/programs/{name}/evaluate"))
            .header("prefer", "respond-async")
            .body(Full::new(body.into()))
            .unwrap();
        self.service.handle(request, &tenant.parse().unwrap()).await
    }

    /// The answer of the result, once the job has ended.
    async fn result(&self, job: &str) -> Response<Bytes> {
        loop {
            let result = self.call(Method::GET, &format!("{job}/result"), "").await;
            if result.status() != StatusCode::ACCEPTED {
                return result;
            }
            assert!(result.headers().contains_key("retry-after"));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn location(response: &Response<Bytes>) -> String {
    assert_eq!(
        response.status(),
        StatusCode::ACCEPTED,
        "{:?}",
        response.body()
    );
    assert_eq!(response.headers()["preference-applied"], "respond-async");
    response.headers()["location"].to_str().unwrap().to_owned()
}

fn json(response: &Response<Bytes>) -> serde_json::Value {
    serde_json::from_slice(response.body()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_promised_evaluated_fetched_and_deleted() {
    let bench = bench();
    let key = make_key(ParamSet::Linear, 90);
    bench.register(&key.1).await;
    let public = bench.program(LINEAR).await;
    let client = Client::new(key.0.clone(), key.1.id());
    let pending = client
        .encrypt_rows(&public, &held_out(3), &mut OsEntropy)
        .unwrap();
    let begun = bench
        .begin_job("default", LINEAR, pending.bytes.clone())
        .await;
    let job = location(&begun);
    assert_eq!(begun.headers()["cache-control"], "no-store");
    let said = json(&begun);
    assert_eq!(
        (&said["status"], &said["program"]),
        (&"queued".into(), &LINEAR.into())
    );
    assert_eq!(said["key"], key.1.id().to_string());
    assert!(said["finished"].is_null());

    let reply = bench.result(&job).await;
    assert_eq!(reply.status(), StatusCode::OK);
    assert!(
        reply.headers()["server-timing"]
            .to_str()
            .unwrap()
            .contains("linear;dur=")
    );
    assert_eq!(reply.headers()["content-type"], "application/octet-stream");
    assert_eq!(
        client
            .decrypt(&public, &pending, reply.body())
            .unwrap()
            .len(),
        3
    );
    let view = bench.call(Method::GET, &job, "").await;
    assert!(!view.headers().contains_key("retry-after"));
    let said = json(&view);
    assert_eq!(said["status"], "done");
    let finished = said["finished"].as_u64().unwrap();
    assert_eq!(said["expires"], finished + 24 * 3600);

    for path in [job.clone(), format!("{job}/result")] {
        let theirs = bench.call_as("other", Method::GET, &path, "").await;
        check_problem(&theirs, 404, "unknown-job");
    }
    let theirs = bench.call_as("other", Method::DELETE, &job, "").await;
    check_problem(&theirs, 404, "unknown-job");
    assert_eq!(
        bench.call(Method::DELETE, &job, "").await.status(),
        StatusCode::NO_CONTENT
    );
    check_problem(
        &bench.call(Method::DELETE, &job, "").await,
        404,
        "unknown-job",
    );
    check_problem(
        &bench.call(Method::GET, "/fhe/v1/jobs/..%2Fx", "").await,
        404,
        "unknown-job",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_request_is_told_at_once_and_what_comes_later_by_the_job() {
    // The job waits for others that never come.
    let bench = bench_with(|options| options.batch_wait = Duration::from_millis(500));
    let key = make_key(ParamSet::Linear, 92);
    let body = bench.request_for(LINEAR, &key, 1).await;
    check_problem(
        &bench.begin_job("default", LINEAR, body.clone()).await,
        404,
        "unknown-key",
    );
    bench.register(&key.1).await;
    check_problem(
        &bench
            .begin_job("default", LINEAR, body[..40].to_vec())
            .await,
        400,
        "truncated",
    );
    check_problem(
        &bench.begin_job("other", LINEAR, body.clone()).await,
        404,
        "unknown-key",
    );
    let job = location(&bench.begin_job("default", LINEAR, body).await);
    let forgotten = bench
        .call(Method::DELETE, &format!("/fhe/v1/keys/{}", key.1.id()), "")
        .await;
    assert_eq!(forgotten.status(), StatusCode::NO_CONTENT);
    check_problem(&bench.result(&job).await, 404, "unknown-key");
    let said = json(&bench.call(Method::GET, &job, "").await);
    assert_eq!(
        (&said["status"], &said["problem"]["status"]),
        (&"failed".into(), &404.into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_past_their_space_are_refused_and_those_of_a_stopped_gateway_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.batch_wait = Duration::from_secs(600);
    // Room for one job, of which a tenant has half.
    options.job_store_bytes = 40_000;
    let open = |options: &FheOptions| Bench {
        service: FheService::open(options).unwrap(),
        _dir: tempfile::tempdir().unwrap(),
    };
    let first = open(&options);
    let key = make_key(ParamSet::Linear, 94);
    first.register(&key.1).await;
    let body = first.request_for(LINEAR, &key, 1).await;
    let job = location(&first.begin_job("default", LINEAR, body.clone()).await);
    let more = first
        .begin_job("default", LINEAR, first.request_for(LINEAR, &key, 4).await)
        .await;
    check_problem(&more, 429, "too-many-job-bytes");
    assert!(more.headers().contains_key("retry-after"));
    drop(first);

    options.batch_wait = Duration::ZERO;
    let second = open(&options);
    assert_eq!(second.result(&job).await.status(), StatusCode::OK);
    // A result takes what it takes, and is there after another start.
    drop(second);
    let third = open(&options);
    assert_eq!(third.result(&job).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_ended_three_gateways_has_failed_and_one_that_ended_two_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.batch_wait = Duration::from_secs(600);
    let open = |options: &FheOptions| Bench {
        service: FheService::open(options).unwrap(),
        _dir: tempfile::tempdir().unwrap(),
    };
    let first = open(&options);
    let key = make_key(ParamSet::Linear, 96);
    first.register(&key.1).await;
    let body = first.request_for(LINEAR, &key, 1).await;
    let job = location(&first.begin_job("default", LINEAR, body).await);
    // It stops as it should, whether or not it had begun the job.
    drop(first);
    options.batch_wait = Duration::ZERO;
    let name = job.rsplit_once('/').unwrap().1;
    let path = dir.path().join(format!("jobs/default/{name}.job"));
    let file = std::fs::read(&path).unwrap();
    let with_attempts = |attempts: &[u8]| {
        let count = b"\"attempts\":";
        let at = file.windows(count.len()).position(|part| part == count);
        let at = at.unwrap() + count.len();
        assert_eq!(file[at], b'0');
        let changed = [&file[..at], attempts, &file[at + 1..]].concat();
        std::fs::write(&path, changed).unwrap();
    };
    with_attempts(b"3");
    let second = open(&options);
    check_problem(&second.result(&job).await, 500, "too-many-attempts");
    assert_eq!(
        json(&second.call(Method::GET, &job, "").await)["status"],
        "failed"
    );
    drop(second);
    with_attempts(b"2");
    let third = open(&options);
    assert_eq!(third.result(&job).await.status(), StatusCode::OK);
}
