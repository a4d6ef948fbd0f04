//! Guests that loop, allocate without end or trap, in a gateway with its ordinary limits: the operator's rule for that is applied,
//! the fault is counted by its kind, and requests on other routes, at the same time too, notice nothing.

use http::StatusCode;

use crate::client::fetch;
use crate::guests::request_hook;
use crate::origin::Origin;
use crate::site::{Folder, plain, problem, until};

/// The guest, the kind of its fault as metrics name it, and its body.
const GUESTS: [(&str, &[&str], &str); 4] = [
    ("traps", &["trap"], "unreachable"),
    // Whether the fuel or the time runs out first depends on the machine.
    ("loops", &["fuel", "deadline"], "(loop (br 0)) unreachable"),
    (
        "grows",
        &["memory"],
        "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable",
    ),
    (
        "grows-and-loops",
        &["memory", "fuel", "deadline"],
        "(loop (drop (memory.grow (i32.const 16))) (br 0)) unreachable",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_misbehaves_harms_nobody_else() {
    let (_, origin) = Origin::start().await;
    let folder = Folder::new();
    let mut rest =
        "[[route]]\nname = \"other\"\npath_prefix = \"/other\"\nupstream = \"origin\"\n".to_owned();
    for (name, _, body) in GUESTS {
        folder.write(&format!("{name}.wasm"), request_hook(body));
        for rule in ["deny", "skip"] {
            rest += &format!(
                "[[policy]]\nname = \"{name}-{rule}\"\nmodule = \"{name}.wasm\"\non_fault = \"{rule}\"\n\
                 [[route]]\nname = \"{name}-{rule}\"\npath = \"/{name}/{rule}\"\nupstream = \"origin\"\npolicies = [\"{name}-{rule}\"]\n"
            );
        }
    }
    let gateway = folder.run(&plain(origin, &rest)).await;
    for (name, ..) in GUESTS {
        let (deny, skip) = (format!("/{name}/deny"), format!("/{name}/skip"));
        let (denied, skipped, other) = tokio::join!(
            fetch(gateway.addr, &deny),
            fetch(gateway.addr, &skip),
            fetch(gateway.addr, "/other"),
        );
        problem(
            &denied,
            StatusCode::SERVICE_UNAVAILABLE,
            ":gateway:rule-failed",
            "A rule of this service could not be applied",
        );
        assert_eq!(denied.header("retry-after"), Some("1"));
        // What went wrong inside is the operator's business.
        for word in ["wasm", "trap", "fuel", "memory", name] {
            assert!(!denied.text().contains(word), "{}", denied.text());
        }
        assert_eq!(
            (skipped.status, skipped.text()),
            (StatusCode::OK, "hello"),
            "{name}"
        );
        assert_eq!(
            (other.status, other.text()),
            (StatusCode::OK, "hello"),
            "{name}"
        );
    }
    let metrics = gateway.metrics().await;
    for (name, kinds, _) in GUESTS {
        for rule in ["deny", "skip"] {
            let policy = format!("policy=\"{name}-{rule}\"");
            let counted = |kind: &&str| {
                metrics.lines().any(|line| {
                    line.starts_with("gateway_policy_faults_total{")
                        && line.contains(&policy)
                        && line.contains(&format!("\"{kind}\""))
                })
            };
            let lines: Vec<&str> = metrics
                .lines()
                .filter(|line| line.contains("faults"))
                .collect();
            assert!(kinds.iter().any(counted), "{policy}, {kinds:?}: {lines:#?}");
        }
    }
    gateway.still_serves("/other").await;
    // The log says which policy it was.
    let said = gateway.stop();
    assert!(said.err.contains("loops-deny"), "{}", said.err);
}

/// A guest that answers every request with this status.
fn answering(status: u16) -> Vec<u8> {
    request_hook(&format!(
        "(i32.store8 (i32.const 1024) (i32.const 1)) (i32.store16 (i32.const 1028) (i32.const {status})) (i32.const 1024)"
    ))
}

/// Where files are not watched, a module is taken anew when the process is told so, and not before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_has_changed_modules_loaded_again() {
    let (_, origin) = Origin::start().await;
    let folder = Folder::new();
    folder.write("guest.wasm", answering(201));
    let rest = "[policies]\nwatch = false\n[[policy]]\nname = \"p\"\nmodule = \"guest.wasm\"\n\
        [[route]]\nname = \"all\"\npath_prefix = \"/\"\nupstream = \"origin\"\npolicies = [\"p\"]\n";
    let gateway = folder.run(&plain(origin, rest)).await;
    let answers = async || fetch(gateway.addr, "/").await.status.as_u16();
    let module = async || gateway.status().await["policies"][0]["module"].clone();
    assert_eq!(answers().await, 201);
    // Nothing has changed: nothing is swapped, and the process goes on.
    gateway.hang_up();
    folder.write("guest.wasm", b"not wasm");
    gateway.hang_up();
    until("the module is refused", async || {
        module().await["refused"].is_object()
    })
    .await;
    assert_eq!(
        (answers().await, &module().await["swaps"]),
        (201, &0.into())
    );
    folder.write("guest.wasm", answering(202));
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(answers().await, 201, "nobody watches");
    gateway.hang_up();
    until("the module is swapped", async || answers().await == 202).await;
    let module = module().await;
    assert_eq!(module["swaps"], 1, "{module}");
    gateway.stop();
}

/// The config itself is read at the start alone, and a hangup says so where it has changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_names_the_settings_that_wait_for_a_restart() {
    let (_, origin) = Origin::start().await;
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("programs")).expect("made");
    let hash = |digit: &str| format!("blake3:{}", digit.repeat(64));
    let rest = format!(
        "[[route]]\nname = \"all\"\npath_prefix = \"/\"\nupstream = \"origin\"\n\
         [fhe]\nkeys_dir = \"keys\"\nprograms_dir = \"programs\"\nthreads = 1\nbatch_size = 8\n\
         [[fhe.tenant]]\nname = \"a\"\ntoken_hash = \"{}\"\n",
        hash("1")
    );
    let config = plain(origin, &rest);
    let gateway = folder.run(&config).await;
    let named = |settings: &str| {
        let logged = gateway.logged();
        logged.contains("restart the gateway") && logged.contains(settings)
    };
    let changed = config
        .replace("batch_size = 8", "batch_size = 9\nmax_queue = 7")
        .replace(&hash("1"), &hash("2"));
    folder.write("edge.toml", &changed);
    gateway.hang_up();
    until("the settings are named", async || {
        named("fhe.batch_size, fhe.tenant, fhe.max_queue")
    })
    .await;
    folder.write("edge.toml", "[fhe");
    gateway.hang_up();
    until("the fault is told", async || {
        gateway.logged().contains("would not start again")
    })
    .await;
    gateway.still_serves("/hello").await;
    let said = gateway.stop().err;
    assert!(!said.contains(&hash("2")[..20]), "{said}");
}
