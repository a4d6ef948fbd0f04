//! What policies may ask of the store beside storing: to purge by tag, and to let a stale answer stand in for an error.

use super::*;

const MINUTE: &[&str] = &["cache-control: max-age=60"];

fn tagged(tags: &[&str]) -> Directives {
    Directives {
        tags: tags.iter().map(|tag| Tag::of(tag)).collect(),
        ..Directives::default()
    }
}

async fn store(world: &mut World, path: &str, tags: &[&str]) {
    world.directives = tagged(tags);
    world.next_text(MINUTE, "text");
    world.get(path).await;
    world.directives = Directives::default();
}

fn is_stored(world: &World, path: &str) -> bool {
    let lookup = world.lookup(&Method::GET, path, &HeaderMap::new(), false);
    matches!(lookup, Lookup::Serve(_))
}

#[tokio::test]
async fn a_purge_takes_what_bears_the_tag_and_nothing_else() {
    let mut world = World::new();
    for n in 0..100 {
        let tags: &[&str] = match n % 3 {
            0 => &["red"],
            1 => &["red", "round"],
            _ => &["round"],
        };
        store(&mut world, &format!("/{n}"), tags).await;
    }
    store(&mut world, "/plain", &[]).await;
    assert_eq!(world.cache.purge("unknown"), 0);
    assert_eq!(world.cache.purge("red"), 67);
    assert_eq!(world.cache.objects(), 34);
    assert!(!is_stored(&world, "/0") && !is_stored(&world, "/1"));
    assert!(is_stored(&world, "/2") && is_stored(&world, "/plain"));
    assert_eq!(
        (world.cache.purge("red"), world.cache.purge("round")),
        (0, 33)
    );
    // What was purged may come back, and is not purged by what is past.
    store(&mut world, "/0", &["red"]).await;
    assert!(is_stored(&world, "/0"));
    world.cache.purge("red");
    world.cache.invalidate("a.test", "/plain");
    assert_eq!((world.cache.objects(), world.cache.size_bytes()), (0, 0));
}

#[tokio::test]
async fn a_response_that_a_purge_overtook_is_not_kept() {
    let world = World::new();
    let none = HeaderMap::new();
    for (path, tag, kept) in [("/x", "red", false), ("/y", "blue", true)] {
        let Lookup::Forward(ticket) = world.lookup(&Method::GET, path, &none, true) else {
            panic!("a miss");
        };
        world.cache.purge("red");
        let received = ticket.receive(answer(200, MINUTE, streamed(&["old"])), None, world.now);
        let (response, _) = received.fill.finish(received.response, &tagged(&[tag]));
        let body = response.into_body();
        body.collect_bounded(MIB).await.expect("a whole body");
        assert_eq!(is_stored(&world, path), kept, "{path}");
    }
}

#[tokio::test]
async fn a_validated_response_keeps_its_tags_unless_it_gets_others() {
    for (said, purged_by) in [(&[][..], "old"), (&["new"][..], "new")] {
        let mut world = World::new();
        world.directives = tagged(&["old"]);
        world.next_text(&["cache-control: max-age=10", "etag: \"1\""], "text");
        world.get("/x").await;
        world.now += secs(20);
        world.directives = tagged(said);
        world.next(answer(304, &["etag: \"1\""], Body::empty()));
        assert_eq!(world.get("/x").await.status, 200);
        for tag in ["old", "new"] {
            let expected = usize::from(tag == purged_by);
            assert_eq!(world.cache.purge(tag), expected, "{said:?} {tag}");
        }
        assert_eq!(world.cache.size_bytes(), 0);
    }
}

#[tokio::test]
async fn tags_of_evicted_responses_are_forgotten() {
    let mut world = World::with_limits(128 * 1024, 64 * 1024);
    for n in 0..2000 {
        let (first, second) = (format!("a{n}"), format!("b{n}"));
        store(&mut world, &format!("/{n}"), &[&first, &second, "all"]).await;
        assert!(world.cache.size_bytes() <= 128 * 1024);
    }
    let objects = world.cache.objects();
    assert_eq!(world.cache.store.tags(), 3 * objects);
    assert_eq!(world.cache.purge("all"), objects);
    assert_eq!((world.cache.store.tags(), world.cache.size_bytes()), (0, 0));
}

#[tokio::test]
async fn a_policy_lets_a_stale_answer_stand_in_but_not_against_the_origins_word() {
    for (control, allowed) in [
        ("cache-control: max-age=10", true),
        ("cache-control: max-age=10, must-revalidate", false),
        ("cache-control: max-age=10, proxy-revalidate", false),
        ("cache-control: max-age=10, no-cache", false),
        ("cache-control: s-maxage=10", false),
    ] {
        let mut world = World::new();
        world.next_text(&[control], "old");
        world.get("/x").await;
        world.now += secs(50);
        // Without a policy's word the error is the answer.
        world.next(None);
        assert_eq!(world.get("/x").await.status, 502, "{control}");
        world.stale_if_error = Some(secs(60));
        for down in [None, Some(answer(503, &[], Body::full("down")))] {
            world.next(down);
            let got = world.get("/x").await;
            assert_eq!(got.source == Source::StaleCache, allowed, "{control}");
            assert_eq!(got.status == 200, allowed, "{control}");
        }
        world.now += secs(25);
        world.next(None);
        assert_eq!(world.get("/x").await.status, 502, "{control}");
    }
}
