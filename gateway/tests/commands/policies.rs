//! Guests that loop, allocate without end or trap, in a gateway with its ordinary limits: the operator's rule for that is applied,
//! the fault is counted by its kind, and requests on other routes, at the same time too, notice nothing.

use http::StatusCode;

use crate::client::fetch;
use crate::guests::request_hook;
use crate::origin::Origin;
use crate::site::{Folder, plain, problem};

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
