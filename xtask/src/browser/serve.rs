//! Serves the page's files on loopback, and takes its report: as much of HTTP/1.1 as the gateway asks of an upstream.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// A report is some answers as JSON.
const REPORT_BYTES_MAX: usize = 1 << 20;
const HEAD_BYTES_MAX: u64 = 64 << 10;
/// The page counts as loading until this picture is there, which is when the report is: a screenshot then shows the answers.
const HELD: &str = "held.svg";
const PICTURE: &[u8] = b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>";
const HELD_PATIENCE: Duration = Duration::from_secs(300);

pub struct PageServer {
    port: u16,
    desk: Arc<Desk>,
}

/// Where the report is put, and waited for.
#[derive(Default)]
struct Desk {
    report: Mutex<Option<String>>,
    arrived: Condvar,
}

impl PageServer {
    pub fn start(folder: PathBuf) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let desk = Arc::new(Desk::default());
        let taken = Arc::clone(&desk);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (folder, desk) = (folder.clone(), Arc::clone(&taken));
                // A connection that breaks is the gateway's to open anew.
                thread::spawn(move || answer(&stream, &folder, &desk));
            }
        });
        Ok(Self { port, desk })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn forget(&self) {
        *self
            .desk
            .report
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub fn wait_for_report(&self, patience: Duration) -> Option<String> {
        self.desk.wait(patience)
    }
}

impl Desk {
    fn wait(&self, patience: Duration) -> Option<String> {
        let report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .arrived
            .wait_timeout_while(report, patience, |report| report.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    fn put(&self, report: String) {
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
        self.arrived.notify_all();
    }
}

/// One request a connection.
fn answer(stream: &TcpStream, folder: &Path, desk: &Desk) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    let mut limited = (&mut reader).take(HEAD_BYTES_MAX);
    loop {
        let mut line = String::new();
        if limited.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line.trim_end().is_empty() {
            break;
        }
        head.push(line.trim_end().to_owned());
    }
    let mut words = head
        .first()
        .map(String::as_str)
        .unwrap_or_default()
        .split(' ');
    let (method, target) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let path = target
        .split('?')
        .next()
        .unwrap_or_default()
        .trim_start_matches('/');
    match (method, path) {
        ("POST", "report") => {
            let body = body(&mut reader, &head)?;
            desk.put(String::from_utf8_lossy(&body).into_owned());
            reply(stream, "204 No Content", "text/plain", &[])
        }
        ("GET", HELD) => {
            desk.wait(HELD_PATIENCE);
            reply(stream, "200 OK", "image/svg+xml", PICTURE)
        }
        ("GET" | "HEAD", path) => match file(folder, path) {
            Some((kind, bytes)) => reply(stream, "200 OK", kind, &bytes),
            None => reply(
                stream,
                "404 Not Found",
                "text/plain",
                b"there is no such file\n",
            ),
        },
        _ => reply(
            stream,
            "405 Method Not Allowed",
            "text/plain",
            b"GET only\n",
        ),
    }
}

/// With a length, or in chunks, as the gateway sends what it does not know the length of.
fn body(reader: &mut impl BufRead, head: &[String]) -> io::Result<Vec<u8>> {
    let field = |name: &str| {
        let named = head.iter().filter_map(|line| line.split_once(':'));
        named
            .into_iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    };
    let mut body = Vec::new();
    if let Some(length) = field("content-length").and_then(|value| value.parse::<usize>().ok()) {
        body.resize(length.min(REPORT_BYTES_MAX), 0);
        reader.read_exact(&mut body)?;
        return Ok(body);
    }
    while body.len() < REPORT_BYTES_MAX {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim(), 16)
            .unwrap_or(0)
            .min(REPORT_BYTES_MAX);
        if size == 0 {
            break;
        }
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk)?;
        body.extend_from_slice(&chunk[..size]);
    }
    Ok(body)
}

/// A file that lies directly in the folder.
fn file(folder: &Path, path: &str) -> Option<(&'static str, Vec<u8>)> {
    let name = if path.is_empty() { "index.html" } else { path };
    if name.contains(['/', '\\']) || name.starts_with('.') {
        return None;
    }
    let kind = match name.rsplit_once('.')?.1 {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" => "application/json",
        "wasm" => "application/wasm",
        _ => return None,
    };
    Some((kind, fs::read(folder.join(name)).ok()?))
}

fn reply(mut stream: &TcpStream, status: &str, kind: &str, body: &[u8]) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)
}
