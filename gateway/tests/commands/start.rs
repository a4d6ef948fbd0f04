//! `veilgate run` that cannot serve: it says what is in the way and exits, instead of serving half.

use std::net::{TcpListener, UdpSocket};

use crate::origin::Origin;
use crate::site::{Folder, ROUTE, free_port, plain};

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
    let port = free_port();
    let _taken = UdpSocket::bind(("127.0.0.1", port)).expect("free a moment ago");
    let text = format!(
        "[[listener]]\naddr = \"127.0.0.1:{port}\"\ntls = {{ cert = \"server.pem\", key = \"server.key\" }}\n\
         [[upstream]]\nname = \"origin\"\nendpoints = [\"http://127.0.0.1:1\"]\n{ROUTE}"
    );
    let words = [
        &*format!("127.0.0.1:{port}"),
        "UDP",
        "Is another process using the port",
    ];
    folder.run_in_vain(&text).refused(1, &words);
    // The TCP side, which it had by then, is free again.
    TcpListener::bind(("127.0.0.1", port)).expect("free again");
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
