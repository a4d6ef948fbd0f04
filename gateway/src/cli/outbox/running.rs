//! What a running gateway tells of its way to the centre, asked of its admin listener: the files alone cannot say what stands in it.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// The admin listener is on this machine or next to it; a person waits for the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// `/status` has a few lines for every upstream and policy; a longer answer is not from a gateway.
const MAX_ANSWER_BYTES: u64 = 4 << 20;

/// One line for people.
pub(super) fn sync_line(admin: SocketAddr) -> String {
    match ask(admin) {
        Ok(status) => told(&status),
        Err(error) => {
            format!("not known: no gateway answers at its admin address {admin} ({error})")
        }
    }
}

/// What `/status` says about `[sync]`, in words.
fn told(status: &Value) -> String {
    let sync = &status["sync"];
    if sync.is_null() {
        return "off: the gateway that runs has no [sync], so records stay here".to_owned();
    }
    let condition = sync["condition"].as_str().unwrap_or("unknown");
    match sync["problem"].as_str() {
        Some(problem) => format!("{condition}: {problem}"),
        None => condition.to_owned(),
    }
}

fn ask(admin: SocketAddr) -> io::Result<Value> {
    let mut stream = TcpStream::connect_timeout(&reachable(admin), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET /status HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let body = head.and_then(|at| answer.get(at + 4..)).unwrap_or_default();
    serde_json::from_slice(body)
        .map_err(|_| io::Error::other("what answers there is not a gateway"))
}

/// A listener on all addresses is asked on the loopback one.
fn reachable(mut addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_unspecified() {
        addr.set_ip(match addr {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    addr
}
