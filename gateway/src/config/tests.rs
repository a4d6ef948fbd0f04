use std::path::Path;

use super::*;

const MINIMAL: &str = r#"
[[listener]]
addr = "127.0.0.1:8080"

[[upstream]]
name = "origin"
endpoints = ["http://127.0.0.1:9000"]

[[route]]
name = "all"
path_prefix = "/"
upstream = "origin"
"#;

fn parse_ok(text: &str) -> Config {
    parse(text, "edge.toml", Path::new("/etc/veilgate")).unwrap_or_else(|error| panic!("{error}"))
}

/// The whole message for a config that is `MINIMAL` with `extra` after it.
#[track_caller]
fn check(extra: &str, expected: &str) {
    let text = format!("{MINIMAL}{extra}");
    let error = parse(&text, "edge.toml", Path::new("/etc/veilgate"))
        .expect_err("the config is wrong")
        .to_string();
    assert_eq!(error.trim(), expected.trim(), "\n--- got:\n{error}");
}

#[test]
fn a_minimal_config_gets_defaults() {
    let config = parse_ok(MINIMAL);
    assert_eq!(
        config.listeners[0].protocols,
        Protocols {
            h1: true,
            h2: true,
            h3: false
        }
    );
    assert_eq!(
        config.upstreams[0].endpoints[0].authority(),
        "127.0.0.1:9000"
    );
    assert_eq!(config.routes[0].record, RecordMode::None);
    assert_eq!(config.limits.h2_max_streams, 100);
    assert!(config.outbox.is_none() && config.admin.is_none());
}

#[test]
fn an_unknown_key_is_shown_with_its_line_and_the_key_that_was_meant() {
    check(
        "polices = [\"routing\"]\n",
        r#"
edge.toml:13:1: unknown key `polices`
   |
13 | polices = ["routing"]
   | ^^^^^^^
   = did you mean `policies`?
"#,
    );
    check(
        "frobnicate = 1\n",
        r#"
edge.toml:13:1: unknown key `frobnicate`
   |
13 | frobnicate = 1
   | ^^^^^^^^^^
   = the keys here are `name`, `host`, `path`, `path_prefix`, `methods`, `policies`, `upstream`, `handler`, `record`, `max_body_bytes`, `timeout`
"#,
    );
}

#[test]
fn a_value_of_the_wrong_kind_is_shown() {
    check(
        "timeout = \"5 parsecs\"\n",
        r#"
edge.toml:13:11: invalid value: string "5 parsecs", expected a duration in quotes, such as "250ms", "5s", "2m", "1h" or "7d"
   |
13 | timeout = "5 parsecs"
   |           ^^^^^^^^^^^
"#,
    );
    check(
        "[limits]\nmax_headers = 100000\n",
        r#"
edge.toml:14:15: 100000 is not between 8 and 1000
   |
14 | max_headers = 100000
   |               ^^^^^^
"#,
    );
}

#[test]
fn a_name_that_refers_to_nothing_is_shown() {
    check(
        "[[route]]\nname = \"more\"\npath = \"/more\"\nupstream = \"orgin\"\n",
        r#"
edge.toml:16:12: unknown upstream "orgin"
   |
16 | upstream = "orgin"
   |            ^^^^^^^
   = did you mean "origin"?
"#,
    );
    check(
        "record = \"durable\"\n",
        r#"
edge.toml:13:10: records need an [outbox] section
   |
13 | record = "durable"
   |          ^^^^^^^^^
   = add [outbox] with dir and site, or record = "none"
"#,
    );
}

#[test]
fn every_problem_is_shown_in_the_order_of_the_file() {
    check(
        "handler = \"fhe\"\n[[listener]]\naddr = \"0.0.0.0:80\"\n[[listener]]\naddr = \"localhost\"\n",
        r#"
edge.toml:13:11: a route has `upstream` or `handler`, not both
   |
13 | handler = "fhe"
   |           ^^^^^

edge.toml:15:8: this listener would speak plain text on an address that others can reach
   |
15 | addr = "0.0.0.0:80"
   |        ^^^^^^^^^^^^
   = add tls = { cert = "…", key = "…" }, or allow_plain = true if something in front of it ends TLS

edge.toml:17:8: "localhost" is not an address to listen on
   |
17 | addr = "localhost"
   |        ^^^^^^^^^^^
   = write an IP address and a port, such as "127.0.0.1:8443", "0.0.0.0:443" or "[::]:443"
"#,
    );
}

#[test]
fn broken_toml_is_shown() {
    let error = parse("[[listener]\naddr = 1", "edge.toml", Path::new("/"))
        .expect_err("broken")
        .to_string();
    assert!(error.starts_with("edge.toml:1:"), "{error}");
    let error = parse("", "edge.toml", Path::new("/"))
        .expect_err("empty")
        .to_string();
    assert!(
        error.contains("there is no listener") && error.contains("there is no route"),
        "{error}"
    );
}

#[test]
fn paths_are_resolved_against_the_folder_of_the_file_and_tables_become_json() {
    let config = parse_ok(&format!(
        "{MINIMAL}policies = [\"limit\"]\n[[policy]]\nname = \"limit\"\nmodule = \"policies/limit.wasm\"\ngrants = [\"limits\"]\n\
         on_fault = \"skip\"\n[policy.config]\nper_second = 5\nkeys = [\"x-api-key\"]\n"
    ));
    let policy = &config.policies[0];
    assert_eq!(
        policy.module,
        Path::new("/etc/veilgate/policies/limit.wasm")
    );
    assert_eq!(policy.on_fault, OnFault::Skip);
    let json: serde_json::Value = serde_json::from_str(&policy.config_json).expect("JSON");
    assert_eq!(
        json,
        serde_json::json!({"per_second": 5, "keys": ["x-api-key"]})
    );
    assert_eq!(config.policy_uses()["limit"], 1);
}

#[test]
fn a_policy_says_how_long_bodies_may_be_and_how_often_it_ticks() {
    let with = |settings: &str| {
        let policy = "[[policy]]\nname = \"p\"\nmodule = \"p.wasm\"\n";
        parse(
            &format!("{MINIMAL}{policy}{settings}"),
            "edge.toml",
            Path::new("/"),
        )
    };
    let config =
        with("max_body_bytes = \"64KiB\"\ntick = \"10s\"\ngrants = [\"llm\"]").expect("fine");
    let policy = &config.policies[0];
    assert_eq!(policy.max_body_bytes, Some(64 * 1024));
    assert_eq!(policy.tick, Some(Duration::from_secs(10)));
    for (bad, word) in [
        ("max_body_bytes = 0", "between"),
        ("max_body_bytes = \"65MiB\"", "between"),
        ("tick = \"10ms\"", "not between 100 ms and a day"),
        ("tick = \"48h\"", "not between 100 ms and a day"),
    ] {
        let error = with(bad).expect_err(bad).to_string();
        assert!(error.contains(word), "{bad}: {error}");
    }
}

#[test]
fn endpoints_are_addresses() {
    for good in [
        "http://a",
        "https://a:1",
        "http://[::1]:80",
        "http://10.0.0.1:9000/",
    ] {
        parse_ok(&MINIMAL.replace("http://127.0.0.1:9000", good));
    }
    for bad in [
        "a:1",
        "ftp://a",
        "http://a/x",
        "http://u@a",
        "http://:80",
        "http://a:99999",
        "",
        "http://a:0",
        "http://a?b",
    ] {
        let text = MINIMAL.replace("http://127.0.0.1:9000", bad);
        let error = parse(&text, "edge.toml", Path::new("/"))
            .expect_err(bad)
            .to_string();
        assert!(
            error.contains("is not the address of an endpoint"),
            "{bad}: {error}"
        );
    }
}

#[test]
fn no_text_makes_the_reader_panic() {
    let config = format!("{MINIMAL}[limits]\nheader_timeout = \"5s\"\n# é\n");
    for cut in (0..config.len()).filter(|at| config.is_char_boundary(*at)) {
        let _ =
            parse(&config[..cut], "edge.toml", Path::new("/")).map_err(|error| error.to_string());
        let _ = parse(
            &format!("{}\u{e9}=[{}", &config[..cut], &config[cut..]),
            "é",
            Path::new("/"),
        )
        .map_err(|e| e.to_string());
    }
}

#[test]
fn every_shipped_config_is_well_formed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../edge-configs");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).expect("edge-configs/") {
        let path = entry.expect("an entry").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            load(&path).unwrap_or_else(|error| panic!("{error}"));
            files += 1;
        }
    }
    assert!(files >= 3, "{files} configs");
}

#[test]
fn grants_that_cannot_be_served_are_refused() {
    let wrong = |policy: &str| {
        let text = format!("{MINIMAL}[[policy]]\nname = \"p\"\nmodule = \"p.wasm\"\n{policy}\n");
        let parsed = parse(&text, "edge.toml", Path::new("/etc/veilgate"));
        parsed
            .err()
            .map_or(String::new(), |error| error.to_string())
    };
    for (policy, word) in [
        ("grants = [\"http-call\"]", "add `calls = [\"NAME\"]`"),
        ("calls = [\"origin\"]", "add \"http-call\" to its grants"),
        (
            "grants = [\"http-call\"]\ncalls = [\"orign\"]",
            "did you mean \"origin\"?",
        ),
        ("grants = [\"outbox\"]", "add an [outbox] section"),
        ("max_wait = \"10m\"", "5 min"),
        ("instances = 0", "instances"),
    ] {
        let problem = wrong(policy);
        assert!(problem.contains(word), "{policy}: {problem}");
    }
    assert_eq!(wrong("grants = [\"http-call\"]\ncalls = [\"origin\"]"), "");
}

#[test]
fn a_store_of_limits_is_checked_and_no_secret_is_shown() {
    let read = |text: &str| {
        parse(
            &format!("{MINIMAL}{text}"),
            "edge.toml",
            Path::new("/etc/veilgate"),
        )
    };
    let policy = |more: &str| format!("[[policy]]\nname = \"p\"\nmodule = \"p.wasm\"\n{more}\n");
    let store = |more: &str| format!("[limits_store]\nurl = \"redis://r.test\"\n{more}\n");
    let shared = policy("grants = [\"limits\"]\nlimits = \"shared\"");
    let config = read(&(store("password_file = \"p\"\ntimeout = \"9ms\"") + &shared));
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    assert!(config.policies[0].shared_limits);
    let settings = config.limits_store.expect("the section");
    assert_eq!((settings.host.as_str(), settings.port), ("r.test", 6379));
    assert_eq!(
        settings.password_file.as_deref(),
        Some(Path::new("/etc/veilgate/p"))
    );
    assert_eq!(settings.timeout, Duration::from_millis(9));
    for (text, word) in [
        (shared, "add a [limits_store] section"),
        (
            store("") + &policy("limits = \"shared\""),
            "add \"limits\" to its grants",
        ),
        (store("") + &policy("limits = \"all\""), "\"shared\""),
        (store("on_unavailable = \"ask\""), "\"deny\""),
        (store("timeout = \"0s\""), "between 1 ms and 5 s"),
        (store("timeout = \"6s\""), "between 1 ms and 5 s"),
        (store("prefix = \"a b\""), "cannot be a name"),
        (store("ca = \"ca.pem\""), "write rediss://"),
        (store("user = \"u\""), "add `password_file`"),
        (
            "[limits_store]\nurl = \"http://r.test\"\n".to_owned(),
            "redis://host:port",
        ),
        (
            "[limits_store]\nurl = \"redis://u:hunter2@r.test\"\n".to_owned(),
            "`password_file`",
        ),
        (store("password = \"hunter2\""), "`password_file`"),
    ] {
        let Err(error) = read(&text) else {
            panic!("{text} is taken")
        };
        let error = error.to_string();
        assert!(error.contains(word), "{text}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn tenants_of_encrypted_scoring_have_quotas_and_tokens_that_are_never_shown() {
    let fhe =
        |text: &str| format!("{MINIMAL}[fhe]\nkeys_dir = \"k\"\nprograms_dir = \"p\"\n{text}");
    let read = |text: &str| parse(&fhe(text), "edge.toml", Path::new("/etc/veilgate"));
    let config = parse_ok(&fhe("")).fhe.expect("a section");
    assert!(config.anonymous && config.prewarm && config.tenants.is_empty());
    assert_eq!(config.key_ttl, None);
    assert_eq!(config.rotation_grace.as_secs(), 86_400);
    assert_eq!(config.job_ttl.as_secs(), 86_400);
    assert_eq!(config.jobs_dir, Path::new("/etc/veilgate/jobs"));
    assert_eq!(config.counters_dir, Path::new("/etc/veilgate/counters"));
    assert_eq!(config.max_streams, 64);
    assert_eq!(
        (config.devices, config.device_key_memory),
        (FheDevices::Best, None)
    );
    let hash = format!("token_hash = \"blake3:{}\"\n", "0a".repeat(32));
    let config = parse_ok(&fhe(&format!(
        "key_ttl = \"30d\"\nrotation_grace = \"1h\"\nmax_keys = 8\npriority = 3\n\
         devices = \"cuda\"\ndevice_key_memory = \"8GiB\"\n\
         [[fhe.tenant]]\nname = \"acme\"\n{hash}token_file = \"acme.token\"\npriority = 9\n\
         [[fhe.tenant]]\nname = \"beta\"\nmax_keys = 2\nmax_key_bytes = \"64MB\"\n"
    )));
    let config = config.fhe.expect("a section");
    assert!(
        !config.anonymous,
        "who is nobody is refused once there are tenants"
    );
    assert_eq!(config.devices, FheDevices::Cuda);
    assert_eq!(config.device_key_memory, Some(8 << 30));
    let [acme, beta] = &config.tenants[..] else {
        panic!("two tenants")
    };
    assert_eq!((acme.quotas.max_keys, acme.quotas.priority), (8, 9));
    assert!(
        matches!(&acme.tokens[1], FheToken::File(path) if path == Path::new("/etc/veilgate/acme.token"))
    );
    assert_eq!((beta.quotas.max_keys, beta.quotas.priority), (2, 3));
    assert_eq!(beta.quotas.max_key_bytes, 64_000_000);

    let tenant = |rest: &str| format!("[[fhe.tenant]]\nname = \"acme\"\n{rest}");
    for (text, word) in [
        (tenant("token = \"hunter2\""), "`token_hash`"),
        (tenant("token_hash = \"hunter2\""), "veilgate keys token"),
        (
            tenant("token_hash = \"blake3:hunter2\""),
            "veilgate keys token",
        ),
        (tenant(&hash) + &tenant(""), "two tenants have this name"),
        (
            tenant(&hash) + &format!("[[fhe.tenant]]\nname = \"beta\"\n{hash}"),
            "two tenants have the same token",
        ),
        (tenant("priority = 10"), "between 0 and 9"),
        (tenant("max_keys = 0"), "between 1 and 1000"),
        (
            "[[fhe.tenant]]\nname = \"Acme\"".to_owned(),
            "cannot be the name of a tenant",
        ),
        (
            "[[fhe.tenant]]\nname = \"../a\"".to_owned(),
            "cannot be the name of a tenant",
        ),
        ("key_ttl = \"1s\"".to_owned(), "60 s and 10 years"),
        ("rotation_grace = \"400d\"".to_owned(), "0 and a year"),
        ("job_ttl = \"1s\"".to_owned(), "60 s and a year"),
        ("devices = \"gpu\"".to_owned(), "\"cpu\""),
        ("devices = \"opencl\"".to_owned(), "\"best\", \"cpu\""),
        ("device_key_memory = \"1MiB\"".to_owned(), "is not between"),
    ] {
        let Err(error) = read(&text) else {
            panic!("{text} is taken")
        };
        let error = error.to_string();
        assert!(error.contains(word), "{text}: {error}");
        assert!(
            !error.contains("hunter2") && !error.contains("0a0a0a"),
            "{error}"
        );
    }
}
