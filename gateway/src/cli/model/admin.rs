//! One question to the admin listener of a gateway: plain HTTP/1.1, a connection each.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use http::{Method, Uri};
use serde_json::Value;

use crate::cli::Failure;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Checking and compiling the largest program takes seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// A thousand programs, a few hundred bytes each.
const MAX_ANSWER_BYTES: u64 = 4 << 20;

#[derive(clap::Args)]
pub(super) struct Target {
    /// The gateway's admin listener: http://host:port
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9901")]
    admin: Uri,
}

impl Target {
    /// The JSON of a 2xx; anything else in the gateway's words.
    pub fn ask(&self, method: &Method, path: &str, body: &[u8]) -> Result<Value, Failure> {
        let authority = match (self.admin.scheme_str(), self.admin.authority()) {
            (Some("http"), Some(authority)) if matches!(self.admin.path(), "" | "/") => authority,
            _ => {
                let why = format!("--admin {}: give it as http://host:port", self.admin);
                return Err(Failure::wrong_input(why));
            }
        };
        let failed = |error: std::io::Error| {
            Failure::new(format!(
                "no gateway answers at {}: {error}; is [admin] listen this address?",
                self.admin
            ))
        };
        let answer = self
            .exchange(authority, method, path, body)
            .map_err(failed)?;
        let split = answer.windows(4).position(|four| four == b"\r\n\r\n");
        let (head, body) = answer.split_at(split.map_or(answer.len(), |at| at + 4));
        let head = String::from_utf8_lossy(head);
        let status: Option<u16> = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let value = serde_json::from_slice::<Value>(body);
        match (status, value) {
            (Some(200..=299), Ok(value)) => Ok(value),
            (Some(status), Ok(value)) => {
                let why = value["error"].as_str().unwrap_or("it gave no reason");
                Err(Failure::new(format!(
                    "the gateway answered {status}: {why}"
                )))
            }
            _ => Err(Failure::new(format!(
                "what answers at {} is not the admin listener of a gateway with encrypted scoring",
                self.admin
            ))),
        }
    }

    fn exchange(
        &self,
        authority: &http::uri::Authority,
        method: &Method,
        path: &str,
        body: &[u8],
    ) -> std::io::Result<Vec<u8>> {
        let host = authority.host().trim_matches(['[', ']']);
        let addresses = (host, authority.port_u16().unwrap_or(80)).to_socket_addrs()?;
        let mut last = std::io::Error::other("the name has no address");
        for address in addresses {
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(mut stream) => {
                    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
                    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
                    write!(
                        stream,
                        "{method} {path} HTTP/1.1\r\nhost: {authority}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                        body.len()
                    )?;
                    stream.write_all(body)?;
                    let mut answer = Vec::new();
                    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
                    return Ok(answer);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}
