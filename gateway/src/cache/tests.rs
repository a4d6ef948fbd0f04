//! The cache as the pipeline uses it, with an origin in a closure and a clock in a variable.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use http_body::Frame;
use http_body_util::StreamBody;

use super::*;
use crate::body::BodyError;

mod policies;

const MIB: u64 = 1 << 20;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn headers(lines: &[&str]) -> HeaderMap {
    let field = |line: &&str| {
        let (name, value) = line.split_once(": ").expect("a test header has `: `");
        let name = HeaderName::try_from(name).expect("a field name");
        (name, HeaderValue::try_from(value).expect("a field value"))
    };
    lines
        .iter()
        .map(field)
        .fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        })
}

fn answer(status: u16, lines: &[&str], body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    *response.headers_mut() = headers(lines);
    response
}

fn streamed(parts: &[&'static str]) -> Body {
    let frames: Vec<Result<_, BodyError>> = parts
        .iter()
        .map(|part| Ok(Frame::data(Bytes::from_static(part.as_bytes()))))
        .collect();
    Body::wrap_with(
        StreamBody::new(futures_util::stream::iter(frames)),
        |error| error,
    )
}

/// What an origin was asked, and what it will answer.
#[derive(Default)]
struct Origin {
    answers: Mutex<VecDeque<Option<Response<Body>>>>,
    asked: Mutex<Vec<HeaderMap>>,
}

/// A client, a cache, an origin, and the time.
struct World {
    cache: Arc<Cache>,
    origin: Origin,
    now: SystemTime,
    directives: Directives,
    stale_if_error: Option<Duration>,
    key_parts: Vec<String>,
    body_digest: Option<[u8; 32]>,
}

/// What the client got.
#[derive(Debug, PartialEq)]
struct Got {
    status: u16,
    body: String,
    /// Without the cache's name.
    cache: String,
    source: Source,
}

impl World {
    fn new() -> Self {
        Self::with_limits(MIB, 256 * 1024)
    }

    fn with_limits(max_bytes: u64, max_object_bytes: u64) -> Self {
        Self {
            cache: Cache::new(&CacheConfig {
                max_bytes,
                max_object_bytes,
            }),
            origin: Origin::default(),
            now: UNIX_EPOCH + secs(1_800_000_000),
            directives: Directives::default(),
            stale_if_error: None,
            key_parts: Vec::new(),
            body_digest: None,
        }
    }

    /// Queues what the origin answers next; `None` is no answer at all.
    fn next(&self, response: impl Into<Option<Response<Body>>>) {
        self.origin
            .answers
            .lock()
            .expect("free")
            .push_back(response.into());
    }

    fn next_text(&self, lines: &[&str], text: &'static str) {
        self.next(answer(200, lines, streamed(&[text])));
    }

    fn origin_answer(&self, asked: &HeaderMap) -> Option<Response<Body>> {
        self.origin.asked.lock().expect("free").push(asked.clone());
        let next = self.origin.answers.lock().expect("free").pop_front();
        next.expect("the test queued an answer")
    }

    fn asked(&self) -> usize {
        self.origin.asked.lock().expect("free").len()
    }

    fn last_asked(&self) -> HeaderMap {
        self.origin
            .asked
            .lock()
            .expect("free")
            .last()
            .expect("it was asked")
            .clone()
    }

    fn lookup(&self, method: &Method, path: &str, headers: &HeaderMap, may_wait: bool) -> Lookup {
        let request = CacheRequest {
            method,
            authority: "a.test",
            path_and_query: path,
            headers,
            key_parts: &self.key_parts,
            body_digest: self.body_digest,
            bypass: false,
            may_wait,
        };
        self.cache.lookup(&request, self.now)
    }

    /// As the pipeline does it; a background validation runs before this returns.
    async fn ask(&self, method: Method, path: &str, lines: &[&str]) -> (Got, HeaderMap) {
        let request = headers(lines);
        match self.lookup(&method, path, &request, true) {
            Lookup::Serve(served) => self.client(served.response, served.source).await,
            Lookup::ServeThenRevalidate(served, mut ticket) => {
                let mut upstream = request.clone();
                ticket.prepare(&mut upstream);
                if let Some(response) = self.origin_answer(&upstream) {
                    ticket.refresh(response, self.now).await;
                }
                self.client(served.response, served.source).await
            }
            Lookup::Forward(mut ticket) => {
                let mut upstream = request.clone();
                ticket.prepare(&mut upstream);
                match self.origin_answer(&upstream) {
                    Some(response) => {
                        let received = ticket.receive(response, self.stale_if_error, self.now);
                        let (response, _) =
                            received.fill.finish(received.response, &self.directives);
                        self.client(response, received.source).await
                    }
                    None => match ticket.on_error(self.stale_if_error, self.now) {
                        Some(served) => self.client(served.response, served.source).await,
                        None => (got(502, "", "", Source::Local), HeaderMap::new()),
                    },
                }
            }
            Lookup::Unsatisfiable => (got(504, "", "", Source::Local), HeaderMap::new()),
            Lookup::Wait(_) => panic!("nobody else is asking"),
        }
    }

    async fn client(&self, response: Response<Body>, source: Source) -> (Got, HeaderMap) {
        let (parts, body) = response.into_parts();
        let bytes = body.collect_bounded(MIB).await.expect("a whole body");
        let cache = parts
            .headers
            .get("cache-status")
            .map(|value| value.to_str().expect("text").to_owned());
        let got = Got {
            status: parts.status.as_u16(),
            body: String::from_utf8(bytes.to_vec()).expect("text"),
            cache: cache.unwrap_or_default().replace("veilgate; ", ""),
            source,
        };
        (got, parts.headers)
    }

    async fn get(&self, path: &str) -> Got {
        self.ask(Method::GET, path, &[]).await.0
    }

    async fn get_with(&self, path: &str, lines: &[&str]) -> Got {
        self.ask(Method::GET, path, lines).await.0
    }
}

fn got(status: u16, body: &str, cache: &str, source: Source) -> Got {
    Got {
        status,
        body: body.into(),
        cache: cache.into(),
        source,
    }
}

#[tokio::test]
async fn a_second_request_is_a_hit_with_its_age() {
    let mut world = World::new();
    world.next(answer(
        200,
        &[
            "cache-control: max-age=60",
            "content-type: text/plain",
            "connection: x",
        ],
        streamed(&["he", "llo"]),
    ));
    assert_eq!(
        world.get("/x").await,
        got(
            200,
            "hello",
            "fwd=uri-miss; ttl=60; stored",
            Source::Upstream
        )
    );
    world.now += secs(7);
    let (hit, fields) = world.ask(Method::GET, "/x", &[]).await;
    assert_eq!(hit, got(200, "hello", "hit; ttl=53", Source::Cache));
    assert_eq!(
        fields.get("age").map(HeaderValue::as_bytes),
        Some(b"7".as_slice())
    );
    assert!(
        fields.contains_key("date")
            && fields.contains_key("content-type")
            && !fields.contains_key("connection")
    );
    let (head, fields) = world.ask(Method::HEAD, "/x", &[]).await;
    assert_eq!(head, got(200, "", "hit; ttl=53", Source::Cache));
    assert_eq!(
        fields.get("content-length").map(HeaderValue::as_bytes),
        Some(b"5".as_slice())
    );
    assert_eq!(world.asked(), 1);
    world.next_text(&["cache-control: max-age=60"], "other");
    assert_eq!(world.get("/x?q").await.body, "other");
}

#[tokio::test]
async fn a_client_that_has_it_gets_a_304_from_the_store() {
    let world = World::new();
    world.next_text(
        &[
            "cache-control: max-age=60",
            "etag: \"v1\"",
            "content-type: text/plain",
        ],
        "hello",
    );
    world.get("/x").await;
    let (answer, fields) = world
        .ask(Method::GET, "/x", &["if-none-match: W/\"v1\""])
        .await;
    assert_eq!(answer, got(304, "", "hit; ttl=60", Source::Cache));
    assert!(fields.contains_key("etag") && !fields.contains_key("content-type"));
    assert_eq!(
        world
            .get_with("/x", &["if-none-match: \"v2\""])
            .await
            .status,
        200
    );
    assert_eq!(world.asked(), 1);
}

#[tokio::test]
async fn a_stale_response_is_validated_and_updated_by_a_304() {
    let mut world = World::new();
    world.next_text(
        &["cache-control: max-age=10", "etag: \"v1\"", "x-n: 1"],
        "hello",
    );
    world.get("/x").await;
    world.now += secs(11);
    world.next(answer(
        304,
        &["cache-control: max-age=100", "etag: \"v1\"", "x-n: 2"],
        Body::empty(),
    ));
    let (validated, fields) = world
        .ask(
            Method::GET,
            "/x",
            &["if-none-match: \"other\"", "if-range: x"],
        )
        .await;
    let expected = "fwd=stale; fwd-status=304; ttl=100; stored";
    assert_eq!(validated, got(200, "hello", expected, Source::Cache));
    assert_eq!(
        fields.get("x-n").map(HeaderValue::as_bytes),
        Some(b"2".as_slice())
    );
    let asked = world.last_asked();
    assert_eq!(
        asked.get(header::IF_NONE_MATCH).map(HeaderValue::as_bytes),
        Some(b"\"v1\"".as_slice())
    );
    assert!(!asked.contains_key(header::IF_RANGE));
    world.now += secs(50);
    assert_eq!(
        world.get("/x").await,
        got(200, "hello", "hit; ttl=50", Source::Cache)
    );

    world.now += secs(51);
    world.next_text(&["cache-control: max-age=10", "etag: \"v2\""], "changed");
    assert_eq!(
        world.get("/x").await,
        got(
            200,
            "changed",
            "fwd=stale; ttl=10; stored",
            Source::Upstream
        )
    );
    assert_eq!(world.get("/x").await.body, "changed");
    assert_eq!(world.cache.objects(), 1);
}

#[tokio::test]
async fn a_304_about_another_version_is_not_taken_over() {
    let mut world = World::new();
    world.next_text(&["cache-control: max-age=10", "etag: \"v1\""], "hello");
    world.get("/x").await;
    world.now += secs(11);
    world.next(answer(
        304,
        &["cache-control: max-age=100", "etag: \"v9\""],
        Body::empty(),
    ));
    assert_eq!(world.get("/x").await.status, 200);
    assert_eq!(world.cache.objects(), 0);
}

#[tokio::test]
async fn vary_keeps_variants_apart() {
    let world = World::new();
    let lines = &["cache-control: max-age=60", "vary: accept-language"][..];
    world.next_text(lines, "hallo");
    world.get_with("/x", &["accept-language: de"]).await;
    world.next_text(lines, "hello");
    let miss = world.get_with("/x", &["accept-language: en"]).await;
    assert_eq!(
        miss,
        got(
            200,
            "hello",
            "fwd=vary-miss; ttl=60; stored",
            Source::Upstream
        )
    );
    assert_eq!(
        world.get_with("/x", &["accept-language: DE"]).await.body,
        "hallo"
    );
    assert_eq!(
        world.get_with("/x", &["accept-language: en"]).await.body,
        "hello"
    );
    assert_eq!((world.asked(), world.cache.objects()), (2, 2));
}

#[tokio::test]
async fn variants_of_one_key_are_bounded() {
    let world = World::new();
    for n in 0..100 {
        world.next_text(&["cache-control: max-age=60", "vary: x-n"], "x");
        world.get_with("/x", &[&format!("x-n: {n}")]).await;
    }
    assert_eq!(world.cache.objects(), 16);
    assert_eq!(
        world.get_with("/x", &["x-n: 99"]).await.source,
        Source::Cache
    );
}

#[tokio::test]
async fn what_may_not_be_stored_is_not() {
    let check = async |request: &[&str], response: &[&str], expected: &str| {
        let world = World::new();
        for _ in 0..2 {
            world.next_text(response, "secret");
            let answer = world.get_with("/x", request).await;
            assert_eq!(
                answer,
                got(200, "secret", expected, Source::Upstream),
                "{request:?} {response:?}"
            );
        }
        assert_eq!((world.cache.objects(), world.cache.size_bytes()), (0, 0));
    };
    check(
        &[],
        &["cache-control: no-store, max-age=60"],
        "fwd=uri-miss; detail=response-no-store",
    )
    .await;
    check(
        &[],
        &["cache-control: private, max-age=60"],
        "fwd=uri-miss; detail=private",
    )
    .await;
    check(
        &["authorization: x"],
        &["cache-control: max-age=60"],
        "fwd=uri-miss; detail=authorization",
    )
    .await;
    check(
        &["cache-control: no-store"],
        &["cache-control: max-age=60"],
        "fwd=uri-miss; detail=request-no-store",
    )
    .await;
    check(
        &["range: bytes=0-1"],
        &["cache-control: max-age=60"],
        "fwd=bypass",
    )
    .await;
    check(
        &[],
        &["cache-control: max-age=60", "vary: *"],
        "fwd=uri-miss; detail=vary",
    )
    .await;
}

#[tokio::test]
async fn a_policy_stores_what_the_origin_left_open_and_forbids_what_it_likes() {
    let mut world = World::new();
    world.directives.store = Some(Override {
        ttl: secs(20),
        stale_while_revalidate: secs(5),
        stale_if_error: secs(50),
    });
    world.next_text(&[], "a");
    assert_eq!(world.get("/a").await.cache, "fwd=uri-miss; ttl=20; stored");
    world.next_text(&["cache-control: no-store"], "b");
    assert_eq!(
        world.get("/b").await.cache,
        "fwd=uri-miss; detail=response-no-store"
    );
    world.directives = Directives {
        no_store: true,
        ..Directives::default()
    };
    world.next_text(&["cache-control: max-age=60"], "c");
    assert_eq!(
        world.get("/c").await.cache,
        "fwd=uri-miss; detail=response-no-store"
    );

    // Behind the client's back no policy is asked: its word on the stored response holds for the new one.
    world.now += secs(22);
    world.next_text(&[], "a2");
    assert_eq!(
        world.get("/a").await,
        got(200, "a", "hit; ttl=-2", Source::StaleCache)
    );
    assert_eq!(
        world.get("/a").await,
        got(200, "a2", "hit; ttl=20", Source::Cache)
    );
    world.now += secs(60);
    world.next(None);
    assert_eq!(
        world.get("/a").await,
        got(
            200,
            "a2",
            "fwd=stale; detail=stale-if-error",
            Source::StaleCache
        )
    );
}

#[tokio::test]
async fn a_post_whose_body_is_in_the_key_is_stored_and_another_post_removes_it() {
    let mut world = World::new();
    let cacheable = &["cache-control: max-age=60", "etag: \"1\""];
    world.body_digest = Some([1; 32]);
    world.next_text(cacheable, "one");
    assert_eq!(world.ask(Method::POST, "/x", &[]).await.0.body, "one");
    let hit = world
        .ask(Method::POST, "/x", &["if-none-match: \"1\""])
        .await
        .0;
    assert_eq!(
        (hit.status, hit.body.as_str()),
        (200, "one"),
        "a POST is no condition for 304"
    );
    world.body_digest = Some([2; 32]);
    world.next_text(cacheable, "two");
    assert_eq!(world.ask(Method::POST, "/x", &[]).await.0.body, "two");
    world.body_digest = Some([1; 32]);
    assert_eq!(world.ask(Method::POST, "/x", &[]).await.0.body, "one");
    // Stale: it is fetched anew, since an origin would answer 412 to the validator.
    world.now += secs(61);
    world.next_text(cacheable, "new");
    assert_eq!(world.ask(Method::POST, "/x", &[]).await.0.body, "new");
    assert!(!world.last_asked().contains_key("if-none-match"));
    assert_eq!(world.ask(Method::POST, "/x", &[]).await.0.body, "new");
    // One that nobody said only asks.
    world.body_digest = None;
    world.next_text(&[], "done");
    world.ask(Method::POST, "/x", &[]).await;
    world.body_digest = Some([1; 32]);
    world.next_text(cacheable, "after");
    assert_eq!(world.ask(Method::POST, "/x", &[]).await.0.body, "after");
}

#[tokio::test]
async fn key_parts_of_policies_keep_tenants_apart() {
    let mut world = World::new();
    for tenant in ["one", "two"] {
        world.key_parts = vec![tenant.to_owned()];
        world.next_text(&["cache-control: max-age=60"], tenant);
        assert_eq!(world.get("/x").await.source, Source::Upstream);
    }
    for tenant in ["one", "two"] {
        world.key_parts = vec![tenant.to_owned()];
        assert_eq!(world.get("/x").await.body, tenant);
    }
    assert_eq!(
        (
            world.asked(),
            world.cache.invalidate("A.test", "/x"),
            world.cache.objects()
        ),
        (2, 2, 0)
    );
}

#[tokio::test]
async fn stale_answers_stand_in_for_errors_where_allowed() {
    let mut world = World::new();
    world.next_text(&["cache-control: max-age=10, stale-if-error=100"], "old");
    world.get("/x").await;
    world.now += secs(50);
    world.next(answer(503, &[], Body::full("down")));
    let (stale, fields) = world.ask(Method::GET, "/x", &[]).await;
    assert_eq!(
        stale,
        got(
            200,
            "old",
            "fwd=stale; fwd-status=503; detail=stale-if-error",
            Source::StaleCache
        )
    );
    assert_eq!(
        fields.get("age").map(HeaderValue::as_bytes),
        Some(b"50".as_slice())
    );
    world.next(None);
    assert_eq!(world.get("/x").await.status, 200);
    world.next(answer(404, &[], Body::full("gone")));
    assert_eq!(world.get("/x").await.status, 404);
    world.now += secs(61);
    world.next(None);
    assert_eq!(world.get("/x").await.status, 502);
}

#[tokio::test]
async fn requests_can_demand_and_decline() {
    let mut world = World::new();
    assert_eq!(
        world
            .get_with("/x", &["cache-control: only-if-cached"])
            .await
            .status,
        504
    );
    world.next_text(&["cache-control: max-age=60"], "one");
    world.get("/x").await;
    assert_eq!(
        world
            .get_with("/x", &["cache-control: only-if-cached"])
            .await
            .status,
        200
    );
    world.next_text(&["cache-control: max-age=60"], "two");
    let forced = world.get_with("/x", &["cache-control: no-cache"]).await;
    assert_eq!(
        forced,
        got(200, "two", "fwd=request; ttl=60; stored", Source::Upstream)
    );
    assert_eq!(world.get("/x").await.body, "two");
    world.now += secs(100);
    assert_eq!(
        world
            .get_with("/x", &["cache-control: max-stale=50"])
            .await
            .cache,
        "hit; ttl=-40"
    );
}

#[tokio::test]
async fn a_write_drops_what_was_stored() {
    let world = World::new();
    for path in ["/x", "/y"] {
        world.next_text(&["cache-control: max-age=60"], "old");
        world.get(path).await;
    }
    world.next(answer(500, &[], Body::empty()));
    world.ask(Method::PUT, "/x", &[]).await;
    assert_eq!(world.cache.objects(), 2);
    world.next(answer(201, &["location: /y"], Body::empty()));
    assert_eq!(
        world.ask(Method::POST, "/x", &[]).await.0.cache,
        "fwd=method"
    );
    assert_eq!(world.cache.objects(), 0);
}

#[tokio::test]
async fn a_response_that_a_write_overtook_is_not_kept() {
    let world = World::new();
    let none = HeaderMap::new();
    let mut tickets =
        ["/x", "/y"].map(|path| match world.lookup(&Method::GET, path, &none, true) {
            Lookup::Forward(ticket) => (path, Some(ticket)),
            _ => panic!("a miss"),
        });
    world.next(answer(200, &[], Body::empty()));
    world.ask(Method::DELETE, "/x", &[]).await;
    for (path, ticket) in &mut tickets {
        let ticket = ticket.take().expect("once");
        let received = ticket.receive(
            answer(200, &["cache-control: max-age=60"], streamed(&["old"])),
            None,
            world.now,
        );
        let (response, _) = received
            .fill
            .finish(received.response, &Directives::default());
        response
            .into_body()
            .collect_bounded(MIB)
            .await
            .expect("a whole body");
        let stored = matches!(
            world.lookup(&Method::GET, path, &none, false),
            Lookup::Serve(_)
        );
        assert_eq!(stored, *path == "/y");
    }
}

#[tokio::test]
async fn only_whole_bodies_within_the_limit_are_kept() {
    let world = World::with_limits(MIB, 4096);
    let big: &'static str = "x".repeat(5000).leak();
    let lines = &["cache-control: max-age=60"][..];
    world.next_text(lines, big);
    assert_eq!(world.get("/big").await.body.len(), 5000);
    world.next(answer(200, lines, Body::full(big)));
    assert_eq!(
        world.get("/known").await.cache,
        "fwd=uri-miss; detail=too-large"
    );
    let frames = [
        Ok(Frame::data(Bytes::from_static(b"half"))),
        Err(BodyError::Cancelled("test")),
    ];
    let broken = Body::wrap_with(
        StreamBody::new(futures_util::stream::iter(frames)),
        |error| error,
    );
    for (path, body) in [("/broken", broken), ("/left", streamed(&["a", "b"]))] {
        let request = HeaderMap::new();
        let Lookup::Forward(ticket) = world.lookup(&Method::GET, path, &request, true) else {
            panic!("a miss");
        };
        let received = ticket.receive(answer(200, lines, body), None, world.now);
        let (response, status) = received
            .fill
            .finish(received.response, &Directives::default());
        assert!(status.stored, "it is meant to be");
        let mut body = response.into_body();
        // One chunk, then an error, or nobody who reads on.
        assert!(http_body_util::BodyExt::frame(&mut body).await.is_some());
        if path == "/broken" {
            assert!(body.collect_bounded(MIB).await.is_err());
        }
    }
    assert_eq!(world.cache.objects(), 0);
}

#[tokio::test]
async fn the_store_keeps_its_budget_and_what_is_asked_for_again() {
    let world = World::with_limits(256 * 1024, 64 * 1024);
    let body: &'static str = "x".repeat(3000).leak();
    let lines = &["cache-control: max-age=60"][..];
    world.next_text(lines, body);
    world.get("/loved").await;
    for n in 0..1000 {
        world.next_text(lines, body);
        world.get(&format!("/scan/{n}")).await;
        assert!(world.cache.size_bytes() <= 256 * 1024);
        assert_eq!(world.get("/loved").await.source, Source::Cache, "after {n}");
    }
    assert!(world.cache.objects() > 40);
}

#[tokio::test]
async fn concurrent_misses_are_fetched_once() {
    let world = World::new();
    let none = HeaderMap::new();
    let Lookup::Forward(leader) = world.lookup(&Method::GET, "/x", &none, true) else {
        panic!("a miss");
    };
    let Lookup::Wait(follower) = world.lookup(&Method::GET, "/x", &none, true) else {
        panic!("somebody fetches it");
    };
    assert!(
        matches!(
            world.lookup(&Method::GET, "/x", &none, false),
            Lookup::Forward(_)
        ),
        "nobody waits twice"
    );
    assert!(matches!(
        world.lookup(&Method::GET, "/y", &none, true),
        Lookup::Forward(_)
    ));
    let waiting = tokio::spawn(follower.done());
    let received = leader.receive(
        answer(200, &["cache-control: max-age=60"], streamed(&["a", "b"])),
        None,
        world.now,
    );
    let (response, _) = received
        .fill
        .finish(received.response, &Directives::default());
    response
        .into_body()
        .collect_bounded(MIB)
        .await
        .expect("a whole body");
    waiting.await.expect("no panic");
    assert!(matches!(
        world.lookup(&Method::GET, "/x", &none, false),
        Lookup::Serve(_)
    ));
}

#[tokio::test]
async fn a_leader_that_fails_or_may_not_store_holds_up_nobody() {
    let world = World::new();
    let none = HeaderMap::new();
    let Lookup::Forward(leader) = world.lookup(&Method::GET, "/x", &none, true) else {
        panic!("a miss");
    };
    let Lookup::Wait(follower) = world.lookup(&Method::GET, "/x", &none, true) else {
        panic!("somebody fetches it");
    };
    drop(leader);
    follower.done().await;
    let Lookup::Forward(leader) = world.lookup(&Method::GET, "/x", &none, true) else {
        panic!("the next one leads");
    };
    let received = leader.receive(
        answer(200, &["cache-control: no-store"], streamed(&["a"])),
        None,
        world.now,
    );
    let (held, _) = received
        .fill
        .finish(received.response, &Directives::default());
    let answers = [(); 3].map(|()| world.lookup(&Method::GET, "/x", &none, true));
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer, Lookup::Forward(_))),
        "it is known not to be storable"
    );
    drop(held);
}

#[tokio::test]
async fn only_one_validates_behind_the_clients_backs() {
    let mut world = World::new();
    world.next_text(
        &[
            "cache-control: max-age=10, stale-while-revalidate=30",
            "etag: \"v1\"",
        ],
        "old",
    );
    world.get("/x").await;
    world.now += secs(15);
    let none = HeaderMap::new();
    let Lookup::ServeThenRevalidate(served, mut ticket) =
        world.lookup(&Method::GET, "/x", &none, true)
    else {
        panic!("stale, and one may fetch");
    };
    assert_eq!(
        (served.source, served.status.label()),
        (Source::StaleCache, "stale-hit")
    );
    assert!(
        matches!(
            world.lookup(&Method::GET, "/x", &none, true),
            Lookup::Serve(_)
        ),
        "another fetches already"
    );
    let mut asked = HeaderMap::new();
    ticket.prepare(&mut asked);
    assert!(asked.contains_key(header::IF_NONE_MATCH));
    ticket
        .refresh(answer(304, &[], Body::empty()), world.now)
        .await;
    assert_eq!(
        world.get("/x").await,
        got(200, "old", "hit; ttl=10", Source::Cache)
    );
}
