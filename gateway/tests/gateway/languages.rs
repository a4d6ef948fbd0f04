//! The example policy in every language, as `cargo xtask languages` built it: all give the same answers, in the test bed of
//! `veilgate policy test` and in a real gateway with a real origin. And the small ones that benchmarks measure answer as written.

use std::path::PathBuf;
use std::process::Command;

use http::Request;
use veilgate::body::Body;

use crate::client::{Connection, Reply};
use crate::origin::Origin;
use crate::site::Site;

const LANGUAGES: [&str; 8] = [
    "rust",
    "c",
    "zig",
    "assemblyscript",
    "js",
    "ts",
    "python",
    "go",
];
/// benches/policies, in the languages that this program, a debug build, compiles in seconds; the benchmark checks the others.
const SMALL: [&str; 10] = [
    "rust-noop",
    "rust-header",
    "c-noop",
    "c-header",
    "zig-noop",
    "zig-header",
    "assemblyscript-noop",
    "assemblyscript-header",
    "go-noop",
    "go-header",
];
/// CPython with the standard library that a policy imports; all others fit into the default.
const MEMORY: &str = "64MiB";

/// The modules of these folders. Outside CI a machine may lack a compiler, and all of them; in CI none may be missing.
fn built(names: &[&'static str]) -> Vec<(&'static str, PathBuf)> {
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true" || value == "1");
    let Some(folder) = std::env::var_os("VEILGATE_LANGUAGES_DIR").map(PathBuf::from) else {
        assert!(
            !in_ci,
            "VEILGATE_LANGUAGES_DIR is not set: run `cargo xtask test`"
        );
        eprintln!(
            "not tried: VEILGATE_LANGUAGES_DIR is not set (`cargo xtask languages` builds what goes there)"
        );
        return Vec::new();
    };
    let module = |name: &str| folder.join(name).join(format!("build/{name}.wasm"));
    let all: Vec<_> = names.iter().map(|name| (*name, module(name))).collect();
    if in_ci {
        for (name, module) in &all {
            assert!(module.is_file(), "{name}: {} is missing", module.display());
        }
    }
    all.into_iter()
        .filter(|(_, module)| module.is_file())
        .collect()
}

/// `veilgate policy test` of each: its own test file is what it is held to.
fn go_as_written(names: &[&'static str]) {
    for (name, module) in built(names) {
        let folder = module
            .parent()
            .and_then(|build| build.parent())
            .expect("a project");
        let output = Command::new(env!("CARGO_BIN_EXE_veilgate"))
            .args(["policy", "test"])
            .arg(folder)
            .output()
            .expect("the program runs");
        assert!(
            output.status.success(),
            "{name}:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn the_same_written_exchanges_go_as_expected_in_every_language() {
    go_as_written(&LANGUAGES);
}

#[test]
fn the_small_policies_of_the_benchmarks_answer_as_written() {
    go_as_written(&SMALL);
}

/// What a client and the origin see of one request.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    body: String,
    remaining: Option<String>,
    waits: bool,
}

impl Seen {
    fn of(reply: &Reply) -> Self {
        let waits = reply.header("retry-after").map(|wait| {
            let seconds: u64 = wait.parse().expect("seconds");
            assert!((1..=20).contains(&seconds), "{seconds}");
        });
        // the origin tells which headers it got
        let body = if reply.status == 200 {
            reply.json()["headers"]["x-caller"].to_string()
        } else {
            reply.text().to_owned()
        };
        Self {
            status: reply.status.as_u16(),
            body,
            remaining: reply.header("x-remaining").map(str::to_owned),
            waits: waits.is_some(),
        }
    }
}

async fn ask(connection: &mut Connection, language: &str, headers: &[(&str, &str)]) -> Seen {
    let mut request = Request::get("/head").header("host", format!("{language}.test"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).expect("a request");
    Seen::of(&connection.send(request).await)
}

/// A route for each language, told apart by its host.
fn config(built: &[(&str, PathBuf)]) -> String {
    let mut text = String::new();
    for (language, module) in built {
        text += &format!(
            "[[policy]]\nname = \"{language}\"\nmodule = \"{}\"\ngrants = [\"limits\", \"kv\"]\nmax_memory_bytes = \"{MEMORY}\"\n\
             config = {{ header = \"x-api-key\", limit = 3, seconds = 60, strikes = 2 }}\n\
             [[route]]\nname = \"{language}\"\nhost = \"{language}.test\"\npath_prefix = \"/\"\n\
             upstream = \"origin\"\npolicies = [\"{language}\"]\n",
            module.display()
        );
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_gateway_asks_the_policy_of_each_language_and_all_answer_alike() {
    let built = built(&LANGUAGES);
    if built.is_empty() {
        return;
    }
    let (_, addr) = Origin::start().await;
    let site = Site::plain(addr, &config(&built)).await;
    let ann = [("x-api-key", "ann"), ("x-tenant", "blue")];
    let passes = |remaining: &str| Seen {
        status: 200,
        body: "\"blue/ann\"".to_owned(),
        remaining: Some(remaining.to_owned()),
        waits: false,
    };
    let refused = |status: u16, body: &str, waits: bool| Seen {
        status,
        body: body.to_owned(),
        remaining: None,
        waits,
    };
    for (language, _) in &built {
        let mut connection = Connection::plain(site.addr).await;
        let mut seen = vec![ask(&mut connection, language, &[]).await];
        for _ in 0..6 {
            seen.push(ask(&mut connection, language, &ann).await);
        }
        let over = || refused(429, "over the limit\n", true);
        let expected = [
            refused(401, "say who you are: x-api-key\n", false),
            passes("2"),
            passes("1"),
            passes("0"),
            over(),
            over(),
            refused(403, "blocked: too many requests over the limit\n", false),
        ];
        assert_eq!(seen, expected, "{language}");
    }
    site.stop().await;
}
