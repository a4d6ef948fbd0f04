//! `veilgate policy test`, `bench` and `inspect`: on the policies that ship, on tiny guests, and on files that are none.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::guests::request_hook;
use crate::site::{Folder, Said};

const SHIPPED: [&str; 4] = ["routing", "caching", "rate-limit", "circuit-breaker"];
/// Address 4096 of a guest is never written: a decision that says nothing.
const GOES_ON: &str = "(i32.const 4096)";

fn built(name: &str) -> PathBuf {
    let dir = std::env::var_os("VEILGATE_POLICIES_DIR")
        .expect("VEILGATE_POLICIES_DIR is not set: run `cargo xtask test`, which builds the policies and sets it");
    Path::new(&dir).join(format!("{name}.wasm"))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

/// A folder with a guest that goes on with everything, and this test file.
fn folder(test: &str) -> Folder {
    let folder = Folder::new();
    folder.write("guest.wasm", request_hook(GOES_ON));
    folder.write("guest.toml", test);
    folder
}

fn test(folder: &Folder, args: &[&str]) -> Said {
    let all = [
        &["policy", "test", "guest.toml", "--module", "guest.wasm"],
        args,
    ]
    .concat();
    folder.veilgate(&all)
}

#[test]
fn the_policies_that_ship_do_what_their_test_files_say() {
    let folder = Folder::new();
    for name in SHIPPED {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../policies")
            .join(name);
        let module = built(name);
        let said = folder
            .veilgate(&[
                "policy",
                "test",
                text(&dir),
                "--module",
                text(&module),
                "--json",
            ])
            .fine();
        let report = json(&said);
        assert_eq!(report["passed"], true, "{name}");
        assert!(report["exchanges"].as_u64() > Some(5), "{name}: {report}");
    }
}

#[test]
fn what_is_not_as_expected_is_shown_beside_what_came() {
    let folder = folder(
        "[[exchange]]\nname = \"goes on\"\nrepeat = 3\nexpect = { decision = \"continue\", status = 200 }\n\
         [[exchange]]\nname = \"is refused\"\nrequest = { path = \"/x\", headers = { a = \"1\" } }\n\
         response = { body = { json = { a = 1, b = [1, 2] } } }\n[exchange.expect]\ndecision = \"respond\"\nstatus = 401\n\
         headers = { www-authenticate = true }\nbody = { json = { a = 1, b = [1, 3] } }\n\
         request = { headers = { a = [\"1\", \"2\"] } }\nreasons = [\"no\"]\n",
    );
    let said = test(&folder, &[]);
    said.refused(1, &["1 of 4 exchanges did not go as expected"]);
    let (shown, _) = said.out.rsplit_once(" (").expect("a time");
    let expected = "guest.toml (guest.wasm)
  ok    goes on (3 times)
  FAIL  is refused
          decision: expected respond, got continue
          status: expected 401, got 200
          headers.www-authenticate: expected any value, got none
          body: - expected, + got
                \"b\": [
                  1,
            -     3
            +     2
                ]
              }
          request.headers.a: expected [\"1\", \"2\"], got \"1\"
          reasons: expected [\"no\"], got []

4 exchanges in 1 file: 1 not as expected";
    assert_eq!(shown, expected);
    let report = json(&test(&folder, &["--json"]));
    assert_eq!(
        (&report["passed"], &report["failed"]),
        (&false.into(), &1.into())
    );
    let mismatch = &report["files"][0]["exchanges"][1]["failed"]["mismatches"][1];
    assert_eq!(mismatch["what"], "status");
    assert_eq!(
        (&mismatch["expected"], &mismatch["got"]),
        (&"401".into(), &"200".into())
    );
}

#[test]
fn a_fault_fails_an_exchange_unless_it_is_expected() {
    let exchange = "[[exchange]]\nname = \"traps\"\nrepeat = 20\n";
    let folder = folder(exchange);
    folder.write("guest.wasm", request_hook("unreachable"));
    let said = test(&folder, &[]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.out.contains("(20 of 20 times, first the 1st)"),
        "{}",
        said.out
    );
    assert!(
        said.out.contains("fault: expected none, got trap (") || said.out.contains("+ trap ("),
        "{}",
        said.out
    );
    // Not set aside, however often; and what the operator's rule makes of it.
    for (rule, decision, status) in [("deny", "unavailable", 503), ("skip", "continue", 200)] {
        let expect = format!(
            "expect = {{ fault = \"trap\", decision = \"{decision}\", status = {status} }}\n"
        );
        folder.write(
            "guest.toml",
            format!("[policy]\non_fault = \"{rule}\"\n{exchange}{expect}"),
        );
        test(&folder, &[]).fine();
    }
    folder.write("guest.wasm", request_hook("(loop (br 0)) unreachable"));
    folder.write(
        "guest.toml",
        "[policy]\nfuel = 10000\ndeadline = \"10s\"\n[[exchange]]\nexpect = { fault = \"fuel\" }\n",
    );
    test(&folder, &[]).fine();
}

#[test]
fn wrong_test_files_are_shown_with_their_place_and_what_to_do() {
    for (written, words) in [
        (
            "[[exchange]]\nrepaet = 2\n",
            &[
                "guest.toml:2:1",
                "unknown key `repaet`",
                "did you mean `repeat`?",
            ][..],
        ),
        (
            "[[exchange]]\nexpect = { decision = \"respnd\" }\n",
            &["guest.toml:2:23", "respnd", "did you mean \"respond\"?"],
        ),
        (
            "[[exchange]]\nexpect = { headers = { a = 1 } }\n",
            &["guest.toml:2:28", "true (it is there)"],
        ),
        (
            "[[exchange]]\nexpect = { body = { jsn = 1 } }\n",
            &["guest.toml:2:19", "unknown key `jsn`", "`json`"],
        ),
        (
            "[[exchange]]\nrequest = { client = \"somewhere\" }\n",
            &["guest.toml:2:22", "IP address"],
        ),
        (
            "[[exchange]]\nrequest = { body = \"a\", chunks = [\"b\"] }\n",
            &["guest.toml:2:", "not both"],
        ),
        (
            "[[exchange]]\nrequest = { body = { file = \"none\" } }\n",
            &["guest.toml:2:20", "none", "No such file"],
        ),
        (
            "[[exchange]]\nrepeat = 0\n",
            &["guest.toml:2:10", "between 1 and 100000"],
        ),
        (
            "[policy]\ngrants = [\"limts\"]\n",
            &["guest.toml:2:11", "did you mean \"limits\"?"],
        ),
        (
            "[clock]\nstart = 1960-01-01T00:00:00Z\n",
            &["guest.toml:2:9", "1970"],
        ),
        (
            "[[exchange]]\nattempt = [{}]\nresponse = { source = \"cache\" }\n",
            &["guest.toml:2:12", "no attempt"],
        ),
        (
            "[policy]\nrefused = \"x\"\n[[exchange]]\n",
            &["guest.toml:3:1", "refused"],
        ),
    ] {
        // Not `refused`: the lines that are shown have braces of their own.
        let said = test(&folder(written), &[]);
        assert_eq!(said.code, Some(2), "{said:?}");
        for word in words {
            assert!(said.err.contains(word), "{word:?} is not in:\n{}", said.err);
        }
    }
}

#[test]
fn a_command_without_its_files_says_which_it_needs() {
    let folder = Folder::new();
    folder
        .veilgate(&["policy", "test"])
        .refused(2, &["no test file", "docs/policy-test.md"]);
    folder
        .veilgate(&["policy", "test", "none.toml"])
        .refused(2, &["none.toml", "cannot be read"]);
    folder.write("a.toml", "[[exchange]]\n");
    folder
        .veilgate(&["policy", "test"])
        .refused(2, &["a.toml", "--module"]);
    folder
        .veilgate(&["policy", "bench", "a.toml", "--module", "none.wasm"])
        .refused(2, &["none.wasm", "cannot be read"]);
    folder.write("text.wasm", "no Wasm");
    folder
        .veilgate(&["policy", "test", "--module", "text.wasm"])
        .refused(2, &["text.wasm", "not Wasm"]);
    folder
        .veilgate(&["policy", "inspect", "none.wasm"])
        .refused(2, &["none.wasm", "cannot be read"]);
}

#[test]
fn a_policys_folder_knows_its_module() {
    let folder = Folder::new();
    for dir in ["p/tests", "p/build", "p/src"] {
        std::fs::create_dir_all(folder.path().join(dir)).expect("made");
    }
    folder.write(
        "p/veilgate-policy.toml",
        "name = \"mine\"\nlanguage = \"js\"\nentry = \"src/policy.js\"\nworld = \"policy\"\n",
    );
    folder.write(
        "p/tests/a.toml",
        "[[exchange]]\nexpect = { decision = \"continue\" }\n",
    );
    folder
        .veilgate(&["policy", "test", "p"])
        .refused(2, &["p/build/mine.wasm", "veilgate policy build"]);
    folder.write("p/build/mine.wasm", request_hook(GOES_ON));
    let said = folder.veilgate(&["policy", "test", "p"]).fine();
    assert!(
        said.out.starts_with("p/tests/a.toml (p/build/mine.wasm)\n"),
        "{}",
        said.out
    );
    folder
        .veilgate(&["policy", "test", "p/tests/a.toml"])
        .fine();
}

#[test]
fn a_bench_counts_calls_time_fuel_and_memory() {
    let folder = folder("[[exchange]]\nrepeat = 10\n");
    let bench = |more: &[&str]| {
        folder
            .veilgate(
                &[
                    &[
                        "policy",
                        "bench",
                        "guest.toml",
                        "--module",
                        "guest.wasm",
                        "--time",
                        "100ms",
                    ],
                    more,
                ]
                .concat(),
            )
            .fine()
    };
    let report = json(&bench(&["--json"]));
    let build = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
    assert_eq!(report["build"], build);
    let figures = &report["files"][0];
    let request = &figures["hooks"]["request"];
    let number = |value: &Value| {
        value
            .as_u64()
            .unwrap_or_else(|| panic!("no number in {report}"))
    };
    assert_eq!(request["calls"], figures["exchanges"]);
    assert!(number(&request["calls"]) >= 10);
    assert!((1..100).contains(&number(&request["fuel"])), "{request}");
    let nanos = &request["nanos"];
    assert!(0 < number(&nanos["min"]) && number(&nanos["min"]) <= number(&nanos["median"]));
    assert!(number(&nanos["median"]) <= number(&nanos["p99"]));
    // Two pages, and they are all that it has.
    assert_eq!(figures["memory_bytes"], 128 * 1024);
    assert!(number(&figures["fresh_instance_nanos"]["median"]) > 0);
    let text = bench(&[]).out;
    for words in [
        "guest.toml (guest.wasm",
        "request",
        "fresh instance",
        "memory of an instance: 128 KiB",
        "One figure is",
    ] {
        assert!(text.contains(words), "{words:?}: {text}");
    }
    assert_eq!(text.contains("DEBUG BUILD"), cfg!(debug_assertions));
}

#[test]
fn an_inspection_tells_what_a_module_is_and_needs() {
    let folder = folder("");
    let said = folder.veilgate(&["policy", "inspect", "guest.wasm"]).fine();
    let told: Vec<&str> = said.out.lines().map(str::trim).collect();
    assert_eq!(told[0], "guest.wasm");
    assert_eq!(
        told[1],
        "kind      component on version 0.2.1 of the contract"
    );
    assert_eq!(told[2], "hooks     request-hook");
    for line in [
        "grants    none needed",
        "WASI      none",
        "memory    128 KiB (2 pages) when an instance begins",
        "called    directly",
    ] {
        assert!(told.contains(&line), "{line:?}: {told:#?}");
    }
    let limit = built("rate-limit");
    let report = json(
        &folder
            .veilgate(&["policy", "inspect", text(&limit), "--json"])
            .fine(),
    );
    assert_eq!(report["kind"], "component");
    assert_eq!(report["direct"], true);
    assert_eq!(
        (&report["waits"], &report["wasi"]),
        (&false.into(), &false.into())
    );
    let grants = report["grants"].as_array().expect("a list");
    assert!(grants.contains(&"limits".into()), "{report}");
    let bytes = std::fs::read(&limit).expect("built");
    assert_eq!(
        report["digest"],
        format!("blake3:{}", blake3::hash(&bytes).to_hex())
    );
    assert!(report["compiled_bytes"].as_u64() > Some(10_000), "{report}");
}

#[test]
fn what_is_no_policy_is_told_apart() {
    let folder = folder("");
    let wat = |text: &str| wat::parse_str(text).expect("a module");
    folder.write("text.wasm", "This is not Wasm.");
    folder.write("core.wasm", wat("(module)"));
    folder.write("bare.wasm", wat("(component)"));
    folder.write(
        "huge.wasm",
        wat("(module (memory 65536) (func (export \"proxy_abi_version_0_2_1\")))"),
    );
    folder.write(
        "wrong.wasm",
        wat("(module (func (export \"proxy_abi_version_0_2_1\") (result i32) i32.const 1))"),
    );
    let whole = std::fs::read(folder.path().join("guest.wasm")).expect("written");
    folder.write("short.wasm", &whole[..whole.len() / 2]);
    for (name, words) in [
        ("text.wasm", "not Wasm"),
        ("core.wasm", "no proxy-wasm filter"),
        ("bare.wasm", "neither imports nor exports"),
        ("short.wasm", "broken"),
    ] {
        let said = folder.veilgate(&["policy", "inspect", name]);
        said.refused(1, &[name, words]);
        assert!(
            said.out.contains("neither a policy nor a filter"),
            "{}",
            said.out
        );
        assert_eq!(
            json(&folder.veilgate(&["policy", "inspect", name, "--json"]))["kind"],
            "neither"
        );
    }
    // A module that would want 4 GiB is only read.
    let said = folder.veilgate(&["policy", "inspect", "huge.wasm"]);
    assert!(
        said.out
            .contains("filter on version 0.2.1 of the proxy-wasm ABI"),
        "{said:?}"
    );
    assert!(said.out.contains("65536 pages"), "{said:?}");
}
