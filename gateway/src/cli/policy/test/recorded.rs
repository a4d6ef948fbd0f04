//! A test file from a gateway's access log: each line an exchange, the time between them on the policy's clock. A log has neither
//! headers nor bodies, and says nothing of what a policy should do: the file is one to go on with.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::Deserialize;

use super::super::super::Failure;

/// Exchanges of one file: more is nobody's to read.
const MAX_EXCHANGES: usize = 1000;
/// What of a log is read: one that is rotated has less.
const MAX_LOG_BYTES: u64 = 1 << 30;

/// What is used of a line; see `telemetry/line.rs`.
#[derive(Deserialize)]
struct Line {
    t_ms: u64,
    method: String,
    host: String,
    path: String,
    status: u16,
    proto: String,
    source: String,
    route: Option<String>,
    upstream: Option<String>,
    attempts: u32,
    error: Option<String>,
    tenant: Option<String>,
    client: Option<String>,
}

/// The text of a test file with the log's first exchanges.
pub(super) fn test_file(log: &Path) -> Result<String, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::wrong_input(format!("{}: cannot be read: {error}", log.display()))
    };
    let file = std::fs::File::open(log)
        .map_err(unreadable)?
        .take(MAX_LOG_BYTES);
    let mut text = format!(
        "# From {}. Add what the policy reads, and what you expect of it.\n\n[policy]\ngrants = []\n",
        log.display()
    );
    let (mut last_ms, mut exchanges) = (None, 0);
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(unreadable)?;
        if line.trim().is_empty() {
            continue;
        }
        let line: Line = serde_json::from_str(&line).map_err(|error| {
            Failure::wrong_input(format!(
                "{}:{}: this is no line of an access log: {error}",
                log.display(),
                index + 1
            ))
        })?;
        exchange(&line, last_ms, &mut text);
        last_ms = Some(line.t_ms);
        exchanges += 1;
        if exchanges == MAX_EXCHANGES {
            break;
        }
    }
    if exchanges == 0 {
        return Err(Failure::wrong_input(format!(
            "{}: there is no exchange in it",
            log.display()
        )));
    }
    Ok(text)
}

/// A text as TOML has it; JSON's escapes are all TOML's too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn exchange(line: &Line, last_ms: Option<u64>, text: &mut String) {
    let mut put = |line: String| {
        // Writing into a text cannot fail.
        let _ = writeln!(text, "{line}");
    };
    put("\n[[exchange]]".to_owned());
    put(format!(
        "name = {}",
        quoted(&format!(
            "{} {} was {}",
            line.method, line.path, line.status
        ))
    ));
    if let Some(passed @ 1..) = last_ms.map(|last| line.t_ms.saturating_sub(last)) {
        put(format!("advance = \"{passed}ms\""));
    }
    let mut request = vec![
        format!("method = {}", quoted(&line.method)),
        format!("path = {}", quoted(&line.path)),
        format!("authority = {}", quoted(&line.host)),
    ];
    let named = [("client", &line.client), ("route", &line.route)];
    request.extend(
        named
            .into_iter()
            .filter_map(|(key, value)| Some(format!("{key} = {}", quoted(value.as_ref()?)))),
    );
    if ["h1", "h2", "h3"].contains(&line.proto.as_str()) {
        request.push(format!("protocol = {}", quoted(&line.proto)));
    }
    if let Some(tenant) = &line.tenant {
        request.push(format!("identity = {{ tenant = {} }}", quoted(tenant)));
    }
    if let (Some(upstream), 1..) = (&line.upstream, line.attempts) {
        request.push(format!("upstream = {}", quoted(upstream)));
    }
    put(format!("request = {{ {} }}", request.join(", ")));
    match (line.source.as_str(), &line.error) {
        ("cache" | "stale-cache" | "fhe", _) => put(format!(
            "response = {{ status = {}, source = {} }}",
            line.status,
            quoted(&line.source)
        )),
        (_, Some(error)) if line.attempts > 0 => {
            put(format!("attempt = [{{ error = {} }}]", quoted(error)))
        }
        ("upstream", _) => put(format!("response = {{ status = {} }}", line.status)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_exchanges_that_a_test_file_can_have() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = dir.path().join("access.jsonl");
        let line = |t: u64, more: &str| {
            format!(
                "{{\"v\":1,\"id\":\"x\",\"t_ms\":{t},\"method\":\"GET\",\"host\":\"a.test\",\"path\":\"/\\\"q\\\"?x\",\"proto\":\"h2\",\"reasons\":[],{more}}}\n"
            )
        };
        let text = line(
            1000,
            "\"status\":200,\"source\":\"upstream\",\"attempts\":1,\"upstream\":\"o\",\"client\":\"192.0.2.7:9\"",
        ) + &line(
            1250,
            "\"status\":200,\"source\":\"cache\",\"attempts\":0,\"tenant\":\"blue\"",
        ) + &line(
            1250,
            "\"status\":502,\"source\":\"local\",\"attempts\":1,\"error\":\"connection_refused\"",
        );
        std::fs::write(&log, text).expect("written");
        let made = test_file(&log)
            .map_err(|failure| failure.to_string())
            .expect("a file");
        let path = dir.path().join("made.toml");
        std::fs::write(&path, &made).expect("written");
        let file = super::super::super::trial::load(&path)
            .unwrap_or_else(|error| panic!("{error}\n{made}"));
        let steps = &file.steps;
        assert_eq!(steps.len(), 3);
        assert_eq!(
            steps.iter().map(|step| step.advance_ms).collect::<Vec<_>>(),
            [0, 250, 0]
        );
        assert_eq!(steps[0].request.path_and_query, "/\"q\"?x");
        assert_eq!(
            (steps[0].upstream.as_str(), steps[0].attempts.len()),
            ("o", 1)
        );
        assert_eq!(
            (
                steps[1].attempts.len(),
                steps[1].info.identity.tenant.as_deref()
            ),
            (0, Some("blue"))
        );
        assert_eq!(
            steps[2].attempts[0].error.as_deref(),
            Some("connection_refused")
        );
        std::fs::write(&log, "no JSON\n").expect("written");
        assert!(
            test_file(&log).is_err_and(|failure| failure.to_string().contains("access.jsonl:1"))
        );
    }
}
