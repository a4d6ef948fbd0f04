//! Requests of many rows are computed in parts, between which others have their turn.

use super::*;

/// The most rows of one request.
const MANY: usize = 256;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_tenants_one_row_overtakes_a_request_of_many() {
    let bench = bench_with(|options| options.batch_time = Duration::from_millis(50));
    let key = bootstrap_key();
    bench.register(&key.1).await;
    let bytes = key.1.as_bytes().to_vec();
    let registered = bench.call_as("other", Method::POST, "/fhe/v1/keys", bytes);
    assert_eq!(registered.await.status(), StatusCode::CREATED);
    let path = format!("/fhe/v1/programs/{TREES}/evaluate");
    let many = bench.request_for(TREES, key, MANY).await;
    let one = bench.request_for(TREES, key, 1).await;
    let long = bench.call(Method::POST, &path, many);
    let short = async {
        // The long one is being computed by then.
        tokio::time::sleep(Duration::from_millis(100)).await;
        bench.call_as("other", Method::POST, &path, one).await
    };
    tokio::select! {
        biased;
        response = long => panic!("the long one was first: {}", response.status()),
        response = short => assert_eq!(response.status(), StatusCode::OK, "{:?}", response.body()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_make_one_reply_in_the_order_of_the_rows() {
    // A row at a time, and others in between.
    let bench = bench_with(|options| options.batch_time = Duration::ZERO);
    let key = bootstrap_key();
    bench.register(&key.1).await;
    let rows = held_out(5);
    tokio::join!(
        bench.check_scores(TREES, key, &rows),
        bench.check_scores(LINEAR, key, &rows),
        bench.check_scores(TREES, key, &rows[3..]),
    );
}
