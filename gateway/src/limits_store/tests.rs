//! Against a real server: whatever is asked, it does exactly what policy-host's definition says.

#[path = "../../tests/gateway/server.rs"]
#[allow(dead_code, reason = "the tests of the whole gateway use the rest")]
mod server;

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use policy_host::{Algorithm, LimitEntry, LimitState, LimitStep, RateSpec, WithoutStore};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use server::Server;

const STEPS: usize = 4000;

fn config(server: &Server) -> LimitsStoreConfig {
    LimitsStoreConfig {
        tls: false,
        host: "127.0.0.1".to_owned(),
        port: server.port,
        database: 3,
        user: None,
        password_file: None,
        ca: None,
        prefix: "t".to_owned(),
        timeout: Duration::from_secs(5),
        without: WithoutStore::Deny,
    }
}

const MONTH_MS: u64 = 31 * 86_400_000;

/// From the smallest to the largest that there can be; of one that is busy, and of one whose windows pass quickly.
fn specs() -> Vec<RateSpec> {
    let mut specs = Vec::new();
    for algorithm in [
        Algorithm::Gcra,
        Algorithm::SlidingWindow,
        Algorithm::FixedWindow,
    ] {
        for (limit, per_ms, burst) in [
            (7, 1, 0),
            (3, 40, 0),
            (1_000, 7, 13),
            (1, MONTH_MS, 1000),
            (999_999_937, MONTH_MS, 1),
            (1_000_000_000, MONTH_MS, 1_000_000_000),
            (999_999_937, 1, 1_000_000_000),
        ] {
            specs.push(RateSpec::new(algorithm, limit, per_ms, burst).expect("a good one"));
        }
    }
    specs
}

fn cost(random: &mut StdRng, capacity: u64) -> u64 {
    match random.random_range(0..8) {
        0 => 0,
        1 => capacity,
        2 => capacity + 1,
        3 => u64::MAX,
        4 => random.random_range(0..=capacity),
        5 => random.random_range(0..=capacity.min(1000)),
        _ => 1,
    }
}

fn step(random: &mut StdRng, specs: &[RateSpec]) -> LimitStep {
    let entry = |random: &mut StdRng| {
        let at = random.random_range(0..specs.len());
        LimitEntry {
            key: format!("{at}-{}", random.random_range(0..2)),
            spec: specs[at],
            cost: cost(random, specs[at].capacity()),
        }
    };
    match random.random_range(0..10) {
        0 => LimitStep::Peek(entry(random)),
        1 => LimitStep::Settle(entry(random), random.random_range(-5..5)),
        2 => LimitStep::Settle(entry(random), random.random()),
        3 => LimitStep::Settle(
            entry(random),
            random.random_range(-2_000_000_000..2_000_000_000),
        ),
        _ => {
            let count = random.random_range(1..6);
            LimitStep::Take((0..count).map(|_| entry(random)).collect())
        }
    }
}

/// Whether it decides as if it were not there, so that the server may have forgotten it.
fn is_idle(state: LimitState, spec: &RateSpec, now_us: u64) -> bool {
    match state {
        LimitState::Bucket { full_at } => {
            full_at.whole < now_us || (full_at.whole == now_us && full_at.parts == 0)
        }
        LimitState::Window {
            index,
            previous,
            current,
        } => {
            let now = now_us / spec.per_us();
            let counts = match now.saturating_sub(index) {
                0 => previous + current,
                1 if spec.algorithm() == Algorithm::SlidingWindow => current,
                _ => 0,
            };
            counts == 0
        }
    }
}

#[tokio::test]
async fn the_server_does_what_is_defined() {
    let Some(server) = Server::started().await else {
        return;
    };
    let limits = RedisLimits::start(&config(&server)).await.expect("started");
    let store = limits.store();
    let specs = specs();
    let mut random = StdRng::seed_from_u64(7);
    let mut kept = HashMap::new();
    let (mut taken, mut refused) = (0, 0);
    for n in 0..STEPS {
        let step = step(&mut random, &specs);
        let mut answer = store.step(&step, Duration::MAX).await.expect("an answer");
        let mut defined = step
            .apply(&mut kept, answer.now_us)
            .expect("states of ours");
        for (at, entry) in step.entries().iter().enumerate() {
            for state in [&mut answer.before[at], &mut defined.before[at]] {
                *state = state.filter(|state| !is_idle(*state, &entry.spec, answer.now_us));
            }
        }
        assert_eq!(answer.before, defined.before, "step {n}: {step:?}");
        if matches!(step, LimitStep::Take(_)) {
            assert_eq!(answer.taken, defined.taken, "step {n}: {step:?}");
        }
        match (&step, answer.taken) {
            (LimitStep::Take(_), true) => taken += 1,
            (LimitStep::Take(_), false) => refused += 1,
            _ => {}
        }
    }
    // Both happened, often.
    assert!(
        taken > STEPS / 20 && refused > STEPS / 20,
        "{taken} {refused}"
    );
    limits.stop();
}

#[tokio::test]
async fn a_key_that_is_not_ours_is_an_error_of_that_key_alone() {
    let Some(server) = Server::started().await else {
        return;
    };
    let mut config = config(&server);
    config.database = 0;
    let limits = RedisLimits::start(&config).await.expect("started");
    let (store, is_up) = (limits.store(), limits.watch());
    let spec = RateSpec::new(Algorithm::Gcra, 5, 60_000, 0).expect("a good one");
    let take = |key: &str| {
        let entry = LimitEntry {
            key: key.to_owned(),
            spec,
            cost: 1,
        };
        store.step(&LimitStep::Take(vec![entry]), Duration::MAX)
    };
    let huge = "9".repeat(1 << 20);
    for (key, value) in [
        ("junk", "hello"),
        ("empty", " "),
        ("huge", huge.as_str()),
        ("other-kind", "w 1 2 3"),
        ("far", "b 9007199254740992 0"),
        ("parts", "b 1 5"),
        ("many", "b 99999999999999999999999999999999999999 1"),
        ("negative", "b -1 0"),
        ("more", "b 1 2 3"),
    ] {
        server.command(&["SET", &format!("t:{key}"), value]).await;
        assert!(take(key).await.is_err(), "{key}");
    }
    for add in [
        ["LPUSH", "t:list", "x"].as_slice(),
        &["HSET", "t:hash", "a", "b"],
        &["SADD", "t:set", "x"],
    ] {
        server.command(add).await;
        assert!(take(&add[1][2..]).await.is_err(), "{add:?}");
    }
    assert!(is_up());
    assert!(take("good").await.expect("an answer").taken);
    // Nothing is taken of the good one, if another is not ours.
    let entries = ["good", "junk"].map(|key| LimitEntry {
        key: key.to_owned(),
        spec,
        cost: 1,
    });
    assert!(
        store
            .step(&LimitStep::Take(entries.to_vec()), Duration::MAX)
            .await
            .is_err()
    );
    let peek = store
        .step(&LimitStep::Peek(entries[0].clone()), Duration::MAX)
        .await;
    let peek = peek.expect("an answer");
    let ahead = match peek.before[0] {
        Some(LimitState::Bucket { full_at }) => full_at.whole.saturating_sub(peek.now_us),
        _ => 0,
    };
    assert!(
        ahead > 0 && ahead <= 12_000_000,
        "one token's time: {ahead}"
    );
    limits.stop();
    assert!(take("good").await.is_err());
}

#[tokio::test]
async fn who_has_less_time_than_the_store_may_take_is_no_outage() {
    let Some(server) = Server::started().await else {
        return;
    };
    let limits = RedisLimits::start(&config(&server)).await.expect("started");
    server.hang();
    let hurried = limits
        .store()
        .step(&script::trial(), Duration::from_millis(20))
        .await;
    assert_eq!(hurried, Err(ServiceError::Timeout));
    assert!(limits.watch()());
    server.go_on();
    assert!(
        limits
            .store()
            .step(&script::trial(), Duration::MAX)
            .await
            .is_ok()
    );
    limits.stop();
}

/// What was logged, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn count(&self, words: &str) -> usize {
        String::from_utf8_lossy(&self.0.lock())
            .matches(words)
            .count()
    }
}

#[tokio::test]
async fn an_outage_is_one_line_and_its_end_another() {
    let Some(mut server) = Server::started().await else {
        return;
    };
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .finish();
    // The tasks of this test run on its own thread.
    let _logged = tracing::subscriber::set_default(subscriber);
    let limits = RedisLimits::start(&config(&server)).await.expect("started");
    let (store, is_up) = (limits.store(), limits.watch());
    let step = script::trial();
    for outages in 1..3 {
        assert!(store.step(&step, Duration::MAX).await.is_ok());
        server.kill();
        // At the same time, and one after the other while it is tried again and again.
        let all = (0..20).map(|_| store.step(&step, Duration::MAX));
        let all = futures_util::future::join_all(all).await;
        assert!(all.iter().all(Result::is_err));
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(15)).await;
            assert!(store.step(&step, Duration::MAX).await.is_err());
        }
        assert_eq!(
            log.count("is away; until it is back"),
            outages,
            "{}",
            String::from_utf8_lossy(&log.0.lock())
        );
        server.start().await;
        let back = async {
            while !is_up() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let back = timeout(Duration::from_secs(20), back).await;
        back.expect("it is found again");
        assert_eq!(log.count("shared limits is back"), outages);
    }
    assert_eq!(log.count("limits are shared"), 1);
    limits.stop();
}

#[tokio::test]
async fn a_user_with_the_documented_rights_may_do_all_that_is_needed() {
    let Some(server) = Server::started().await else {
        return;
    };
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/config.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let (_, command) = page.split_once("`ACL SETUSER ").expect("the command");
    let command = command.split('`').next().expect("its end");
    let words = command
        .split(' ')
        .map(|word| word.replace("PASSWORD", "opensesame"));
    let words: Vec<String> = ["ACL", "SETUSER"]
        .map(str::to_owned)
        .into_iter()
        .chain(words)
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    assert_eq!(server.command(&words).await, "+OK\r\n");
    let mut config = config(&server);
    config.prefix = "veilgate".to_owned();
    config.user = Some(words[2].to_owned());
    let password = server.dir.path().join("password");
    std::fs::write(&password, "opensesame\r\n").expect("written");
    config.password_file = Some(password.clone());
    let limits = RedisLimits::start(&config).await.expect("started");
    assert!(limits.watch()());
    let LimitStep::Take(mut entries) = script::trial() else {
        panic!("it takes")
    };
    let entry = entries.remove(0);
    let store = limits.store();
    for step in [
        LimitStep::Take(vec![entry.clone()]),
        LimitStep::Settle(entry.clone(), i64::MIN),
        LimitStep::Peek(entry),
    ] {
        assert!(store.step(&step, Duration::MAX).await.is_ok(), "{step:?}");
    }
    limits.stop();
    // Another prefix is not his, and neither is anything with another password.
    config.prefix = "other".to_owned();
    let other = RedisLimits::start(&config).await.expect("started");
    assert!(!other.watch()());
    other.stop();
    config.prefix = "veilgate".to_owned();
    for wrong in ["closesesame", "", "\nopensesame"] {
        std::fs::write(&password, wrong).expect("written");
        let refused = RedisLimits::start(&config).await.expect("started");
        assert!(!refused.watch()(), "{wrong:?}");
        refused.stop();
    }
    assert!(check(&config).is_err());
}
