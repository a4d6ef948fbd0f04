//! Who is turned away is told why and when to come again, as the document says.

use super::*;
use std::time::Instant;

/// A batch that nobody fills in the time of a test: what was admitted waits.
const NEVER_FULL: Duration = Duration::from_secs(600);

/// A problem that is worth another try: the field says when, and the document promises both.
#[track_caller]
fn check_busy(response: &Response<Bytes>, status: u16, name: &str) {
    check_problem(response, status, name);
    let seconds = response.headers()["retry-after"].to_str().unwrap();
    assert!(seconds.parse::<u64>().unwrap() >= 1, "{seconds}");
    let document = include_str!("../../../../docs/specs/fhe-openapi.json");
    let document: serde_json::Value = serde_json::from_str(document).unwrap();
    let operation = &document["paths"]["/fhe/v1/programs/{name}/evaluate"]["post"];
    let reference = &operation["responses"][status.to_string()]["$ref"];
    let way = reference.as_str().unwrap().trim_start_matches('#');
    let promised = document.pointer(way).unwrap();
    assert!(promised["headers"]["Retry-After"].is_object());
    let description = promised["description"].as_str().unwrap();
    assert!(description.contains(&format!("`{name}`")), "{description}");
}

impl Bench {
    async fn evaluate(
        &self,
        tenant: &str,
        name: &str,
        wait: &str,
        route: Option<Instant>,
        body: &[u8],
    ) -> Response<Bytes> {
        let mut request = Request::post(format!("/fhe/v1/programs/{name}/evaluate"))
            .header("prefer", wait)
            .body(Full::new(Bytes::copy_from_slice(body)))
            .unwrap();
        if let Some(route) = route {
            request.extensions_mut().insert(RouteDeadline(route));
        }
        self.service.handle(request, &tenant.parse().unwrap()).await
    }

    async fn register_as(&self, tenant: &str, key: &EvaluationKey) {
        let bytes = key.as_bytes().to_vec();
        let made = self.call_as(tenant, Method::POST, "/fhe/v1/keys", bytes);
        assert_eq!(made.await.status(), StatusCode::CREATED);
    }
}

#[tokio::test]
async fn a_tenant_with_a_full_queue_is_told_so_and_others_only_when_the_whole_queue_is_full() {
    let bench = bench_with(|options| {
        options.max_queue = 2;
        options.max_tenant_queue = Some(1);
        options.batch_wait = NEVER_FULL;
    });
    let key = make_key(ParamSet::Linear, 70);
    for tenant in ["a", "b", "c"] {
        bench.register_as(tenant, &key.1).await;
    }
    let body = bench.request_for(LINEAR, &key, 1).await;
    let path = format!("/fhe/v1/programs/{LINEAR}/evaluate");
    let post = |tenant| bench.call_as(tenant, Method::POST, &path, body.clone());
    let rest = async {
        // Whoever is polled before this is in the queue once it waits.
        tokio::task::yield_now().await;
        check_busy(&post("a").await, 429, "tenant-busy");
        tokio::select! {
            biased;
            response = post("b") => panic!("answered with a batch to wait for: {response:?}"),
            () = async {
                tokio::task::yield_now().await;
                check_busy(&post("c").await, 503, "busy");
                // Its own share is the nearer limit.
                check_busy(&post("b").await, 429, "tenant-busy");
            } => {}
        }
    };
    tokio::select! {
        biased;
        response = post("a") => panic!("answered with a batch to wait for: {response:?}"),
        () = rest => {}
    }
}

#[tokio::test]
async fn more_bytes_than_wait_are_turned_away_as_more_requests_are() {
    let bench = bench_with(|options| {
        options.queue_bytes = 1;
        options.batch_wait = NEVER_FULL;
    });
    let key = make_key(ParamSet::Linear, 72);
    for tenant in ["a", "b"] {
        bench.register_as(tenant, &key.1).await;
    }
    let body = bench.request_for(LINEAR, &key, 1).await;
    let path = format!("/fhe/v1/programs/{LINEAR}/evaluate");
    let post = |tenant| bench.call_as(tenant, Method::POST, &path, body.clone());
    tokio::select! {
        biased;
        // Alone, a request is never too large for the queue.
        response = post("a") => panic!("answered with a batch to wait for: {response:?}"),
        () = async {
            tokio::task::yield_now().await;
            check_busy(&post("a").await, 429, "tenant-busy");
            check_busy(&post("b").await, 503, "busy");
        } => {}
    }
}

#[tokio::test]
async fn a_deadline_that_cannot_be_kept_is_told_before_anything_is_computed() {
    let bench = bench();
    let key = bootstrap_key();
    bench.register(&key.1).await;
    // Before anything was measured a bootstrap is taken to need 20 ms, and this needs hundreds.
    let long = bench.request_for(TREES, key, 256).await;
    let late = bench
        .evaluate("default", TREES, "wait=1", None, &long)
        .await;
    check_busy(&late, 503, "too-late");
    let one = bench.request_for(LINEAR, key, 1).await;
    let late = bench
        .evaluate("default", LINEAR, "wait=0", None, &one)
        .await;
    check_busy(&late, 503, "too-late");
    // The route's is as good as the client's.
    let over = Some(Instant::now());
    let late = bench
        .evaluate("default", LINEAR, "wait=60", over, &one)
        .await;
    check_busy(&late, 503, "too-late");
    let kept = bench
        .evaluate("default", LINEAR, "wait=60", None, &one)
        .await;
    assert_eq!(kept.status(), StatusCode::OK, "{:?}", kept.body());
    assert_eq!(kept.headers()["preference-applied"], "wait=60");
}

#[tokio::test]
async fn a_deadline_that_passes_while_others_are_gathered_is_told() {
    let bench = bench_with(|options| options.batch_wait = Duration::from_millis(300));
    let key = make_key(ParamSet::Linear, 74);
    bench.register(&key.1).await;
    let body = bench.request_for(LINEAR, &key, 1).await;
    let soon = Some(Instant::now() + Duration::from_millis(200));
    let late = bench
        .evaluate("default", LINEAR, "wait=60", soon, &body)
        .await;
    check_busy(&late, 503, "too-late");
}
