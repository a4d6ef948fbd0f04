//! `veilgate run` that cannot serve: it says what is in the way and exits, instead of serving half.

use crate::origin::Origin;
use crate::site::{Folder, ROUTE, plain, silent_port};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_is_named_and_the_first_gateway_goes_on() {
    let (_, origin) = Origin::start().await;
    let folder = Folder::new();
    let first = folder.run(&plain(origin, ROUTE)).await;
    let second = Folder::new();
    let text = plain(origin, ROUTE);
    let taken = |from: &str, port: u16| {
        text.replacen(from, &format!("{}{port}", &from[..from.len() - 1]), 1)
    };

    let listener = taken("addr = \"127.0.0.1:0", first.addr.port());
    let words = [
        &*first.addr.to_string(),
        "TCP",
        "Is another process using the port",
    ];
    second.run_in_vain(&listener).refused(1, &words);
    let admin = taken("listen = \"127.0.0.1:0", first.admin.port());
    let words = [
        &*first.admin.to_string(),
        "[admin]",
        "Is another process using the port",
    ];
    second.run_in_vain(&admin).refused(1, &words);
    first.still_serves("/").await;
    first.stop();
}

#[test]
fn a_port_whose_udp_side_is_taken_is_named() {
    let folder = Folder::with_certificates();
    // The TCP side of the number may be another test's: then there is another number.
    let mut said = (0..5).map(|_| {
        let (_taken, addr) = silent_port();
        let text = format!(
            "[[listener]]\naddr = \"{addr}\"\ntls = {{ cert = \"server.pem\", key = \"server.key\" }}\n\
             [[upstream]]\nname = \"origin\"\nendpoints = [\"http://127.0.0.1:1\"]\n{ROUTE}"
        );
        (addr, folder.run_in_vain(&text))
    });
    let (addr, said) = said
        .find(|(_, said)| !said.err.contains("(TCP)"))
        .expect("a port whose TCP side is free");
    let addr = addr.to_string();
    said.refused(1, &[&addr, "UDP", "Is another process using the port"]);
}

#[test]
fn an_outbox_in_use_or_of_another_site_is_left_alone() {
    let folder = Folder::new();
    let outbox = |site: &str| {
        format!(
            "[[listener]]\naddr = \"127.0.0.1:0\"\n[[upstream]]\nname = \"origin\"\nendpoints = [\"http://127.0.0.1:1\"]\n\
             {ROUTE}[outbox]\ndir = \"outbox\"\nsite = \"{site}\"\nmin_free_bytes = 0\n"
        )
    };
    let name = "edge-1".parse().expect("a name");
    let mut config = outbox::OutboxConfig::new(folder.path().join("outbox"), name);
    config.min_free_bytes = 0;
    let (held, _) = outbox::Outbox::open(config).expect("opens");
    folder
        .run_in_vain(&outbox("edge-1"))
        .refused(1, &["in use by another process", "outbox"]);
    drop(held);
    folder
        .run_in_vain(&outbox("edge-2"))
        .refused(1, &["`edge-1`, not `edge-2`", "another directory"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_gateway_with_the_same_keys_or_jobs_does_not_start() {
    let (_, origin) = Origin::start().await;
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("programs")).expect("made");
    let with = |keys: &str, jobs: &str| {
        let fhe = format!(
            "{ROUTE}[fhe]\nkeys_dir = \"{keys}/keys\"\nprograms_dir = \"programs\"\njobs_dir = \"{jobs}/jobs\"\nthreads = 1\n"
        );
        plain(origin, &fhe)
    };
    let first = folder.run(&with("a", "a")).await;
    for (keys, jobs, used) in [("a", "b", "a/keys"), ("b", "a", "a/jobs")] {
        let words = [used, "in use by another gateway", "of its own"];
        folder.run_in_vain(&with(keys, jobs)).refused(1, &words);
    }
    first.still_serves("/").await;
    first.stop();
    // The locks are gone with the process, however it ended.
    drop(folder.run(&with("a", "a")).await);
    folder.run(&with("a", "a")).await.stop();
}
