//! Guests with hooks on bodies, and sites that run them.

use std::net::SocketAddr;

use crate::guests::roomy as guest;
use crate::site::Site;

pub const WHOLE: u8 = 1;
pub const WATCH: u8 = 2;

/// Asks for the request's and the response's body, and puts its letter after what it is given. By the first byte it is given, it does
/// something else: `t` traps; of pieces, `d` is dropped, `x` aborts, `k` is kept.
pub fn letter(letter: char, asks_request: u8, asks_response: u8) -> Vec<u8> {
    let world = "export veilgate:policy/request-hook@0.2.1; export veilgate:policy/request-body-hook@0.2.1;
        export veilgate:policy/request-stream-hook@0.2.1; export veilgate:policy/response-hook@0.2.1;
        export veilgate:policy/response-body-hook@0.2.1; export veilgate:policy/response-stream-hook@0.2.1;";
    let body = format!(
        r#"(data (i32.const 24) "{letter}")
        (func $append (param $at i32) (param $len i32) (param $answer i32)
          (if (local.get $len) (then (if (i32.eq (i32.load8_u (local.get $at)) (i32.const 116)) (then (unreachable)))))
          (i32.store8 (i32.add (local.get $at) (local.get $len)) (i32.load8_u (i32.const 24)))
          (i32.store8 (local.get $answer) (i32.const 1))
          (i32.store offset=4 (local.get $answer) (local.get $at))
          (i32.store offset=8 (local.get $answer) (i32.add (local.get $len) (i32.const 1))))
        (func $chunk (param $at i32) (param $len i32) (param $end i32) (result i32) (local $first i32)
          (call $reset)
          (if (local.get $len)
            (then (local.set $first (i32.load8_u (local.get $at))))
            (else (return (i32.const 4096))))
          (if (i32.eq (local.get $first) (i32.const 107)) (then (return (i32.const 4096))))
          (call $append (local.get $at) (local.get $len) (i32.const 2048))
          (if (i32.eq (local.get $first) (i32.const 100)) (then (i32.store8 (i32.const 2048) (i32.const 2))))
          (if (i32.eq (local.get $first) (i32.const 120)) (then (i32.store8 (i32.const 2048) (i32.const 3))))
          (i32.const 2048))
        (func (export "veilgate:policy/request-hook@0.2.1#on-request") (result i32)
          (i32.store8 (i32.const 1104) (i32.const {asks_request})) (i32.const 1024))
        (func (export "veilgate:policy/response-hook@0.2.1#on-response") (result i32)
          (i32.store8 (i32.const 1104) (i32.const {asks_response})) (i32.const 1024))
        (func (export "veilgate:policy/request-body-hook@0.2.1#on-request-body") (param $at i32) (param $len i32) (result i32)
          (call $reset)
          (call $append (local.get $at) (local.get $len) (i32.const 3176))
          (i32.const 3072))
        (func (export "veilgate:policy/response-body-hook@0.2.1#on-response-body") (param $at i32) (param $len i32) (result i32)
          (call $reset)
          (call $append (local.get $at) (local.get $len) (i32.const 2048))
          (i32.const 2048))
        (func (export "veilgate:policy/request-stream-hook@0.2.1#on-request-chunk") (param i32 i32 i32) (result i32)
          (call $chunk (local.get 0) (local.get 1) (local.get 2)))
        (func (export "veilgate:policy/response-stream-hook@0.2.1#on-response-chunk") (param i32 i32 i32) (result i32)
          (call $chunk (local.get 0) (local.get 1) (local.get 2)))"#
    );
    guest(world, "", &body)
}

/// A folder with these modules, and the `[[policy]]` tables and the route that use them: `(name, module, further settings)`.
pub fn policies(modules: &[(&str, Vec<u8>, &str)]) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut text = String::new();
    for (name, module, settings) in modules {
        std::fs::write(dir.path().join(format!("{name}.wasm")), module).expect("written");
        text += &format!("[[policy]]\nname = \"{name}\"\nmodule = \"{name}.wasm\"\n{settings}\n");
    }
    let names: Vec<&str> = modules.iter().map(|(name, _, _)| *name).collect();
    text += &format!(
        "[[route]]\nname = \"all\"\npath_prefix = \"/\"\nupstream = \"origin\"\npolicies = {names:?}\n"
    );
    (dir, text)
}

/// A site with a plain listener whose one route has these policies.
pub async fn site(origin: SocketAddr, modules: &[(&str, Vec<u8>, &str)], extra: &str) -> Site {
    let (dir, policies) = policies(modules);
    let text = format!(
        "[server]\naccess_log = false\ndrain_timeout = \"10s\"\n[[listener]]\naddr = \"127.0.0.1:0\"\n[admin]\n\
         listen = \"127.0.0.1:0\"\n[policies]\ncache_bytes = 0\n[[upstream]]\nname = \"origin\"\nendpoints = [\"http://{origin}\"]\n\
         first_byte_timeout = \"10s\"\n{extra}\n{policies}"
    );
    Site::start(dir, &text).await
}

/// The same with TLS and all three protocols.
pub async fn encrypted(origin: SocketAddr, modules: &[(&str, Vec<u8>, &str)]) -> Site {
    let (dir, policies) = policies(modules);
    let ca = transport::certs::make_ca(dir.path(), "test authority").expect("an authority");
    transport::certs::issue_server(&ca, dir.path(), "server", &["localhost", "127.0.0.1"])
        .expect("a certificate");
    let text = format!(
        "[server]\naccess_log = false\n[[listener]]\naddr = \"127.0.0.1:0\"\nprotocols = [\"h1\", \"h2\", \"h3\"]\n\
         tls = {{ cert = \"server.pem\", key = \"server.key\" }}\n[policies]\ncache_bytes = 0\n[[upstream]]\nname = \"origin\"\n\
         endpoints = [\"http://{origin}\"]\n{policies}"
    );
    Site::start(dir, &text).await
}
