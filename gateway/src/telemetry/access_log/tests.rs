//! Lines arrive whole and in order; a sink that blocks or fails costs lines, not time.

use std::sync::mpsc;

use super::*;
use crate::error::Kind;
use crate::exchange::{Ending, Protocol, RequestId, Source};

fn summary(n: u64) -> Summary {
    Summary {
        id: RequestId(u128::from(n)),
        received_ms: 1_800_000_000_000 + n,
        client: ([127, 0, 0, 1], 4000).into(),
        protocol: Protocol::H3,
        route: Some(Arc::from("api")),
        method: http::Method::GET,
        authority: "a.test".to_owned(),
        path: "/x\"\n".to_owned(),
        status: 200,
        source: Source::Upstream,
        upstream: Some(Arc::from("app")),
        endpoint: Some("127.0.0.1:9".to_owned()),
        attempts: 1,
        upstream_after: None,
        cache: "uri-miss",
        duration: Duration::from_micros(1500),
        header_after: Duration::from_micros(900),
        request_bytes: 3,
        response_bytes: 1024,
        error: None,
        ending: Ending::Complete,
        reasons: vec![policy_host::Reason {
            policy: Arc::from("limit"),
            text: "ok".to_owned(),
        }],
        tenant: None,
    }
}

/// Collects what is written; waits for `gate` first if there is one.
struct Probe {
    lines: mpsc::Sender<Vec<u8>>,
    gate: Option<mpsc::Receiver<()>>,
}

impl Write for Probe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(gate) = self.gate.take() {
            gate.recv().map_err(io::Error::other)?;
        }
        self.lines.send(bytes.to_vec()).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lines_of(received: mpsc::Receiver<Vec<u8>>) -> Vec<serde_json::Value> {
    let bytes: Vec<u8> = received.into_iter().flatten().collect();
    serde_json::Deserializer::from_slice(&bytes)
        .into_iter()
        .collect::<Result<_, _>>()
        .expect("every line is JSON")
}

#[test]
fn every_exchange_is_one_line_with_the_agreed_fields() {
    let (lines, received) = mpsc::channel();
    let log = AccessLog::to(Box::new(Probe { lines, gate: None })).expect("a thread");
    for n in 0..1000 {
        log.write(summary(n));
    }
    log.write(Summary {
        route: None,
        error: Some(Kind::DnsError),
        tenant: Some("t".into()),
        ..summary(1000)
    });
    drop(log);
    let lines = lines_of(received);
    assert_eq!(lines.len(), 1001);
    for (n, line) in lines.iter().enumerate().take(1000) {
        assert_eq!(line["t_ms"], 1_800_000_000_000_u64 + n as u64);
    }
    let expected = serde_json::json!({
        "v": 1, "id": "00000000000000000000000000000000", "t_ms": 1_800_000_000_000_u64, "route": "api", "method": "GET",
        "host": "a.test", "path": "/x\"\n", "status": 200, "proto": "h3", "source": "upstream", "upstream": "app",
        "endpoint": "127.0.0.1:9", "attempts": 1, "cache": "uri-miss", "dur_us": 1500, "head_us": 900, "req_bytes": 3,
        "resp_bytes": 1024, "end": "complete", "reasons": ["limit: ok"], "client": "127.0.0.1:4000",
    });
    assert_eq!(lines[0], expected);
    assert_eq!(lines[1000]["error"], "dns_error");
    assert_eq!(lines[1000]["tenant"], "t");
    assert!(lines[1000].get("route").is_none());
}

#[test]
fn a_blocked_sink_costs_lines_and_nothing_else() {
    let (lines, received) = mpsc::channel();
    let (open, gate) = mpsc::channel();
    let log = AccessLog::to(Box::new(Probe {
        lines,
        gate: Some(gate),
    }))
    .expect("a thread");
    let sent = MAX_WAITING as u64 * 3;
    for n in 0..sent {
        log.write(summary(n));
    }
    open.send(()).expect("the writer waits");
    drop(log);
    let kept = lines_of(received).len() as u64;
    // What was waiting, and what the writer had taken before it was blocked.
    assert!(
        kept >= MAX_WAITING as u64 && kept < sent,
        "{kept} of {sent}"
    );
}

#[test]
fn a_broken_sink_is_survived() {
    let (lines, received) = mpsc::channel();
    drop(received);
    let log = AccessLog::to(Box::new(Probe { lines, gate: None })).expect("a thread");
    for n in 0..10_000 {
        log.write(summary(n));
    }
    log.close();
    log.write(summary(0));
}
