//! A folder with a config, and the `veilgate` processes that run in it. Every wait has an end; every process is ended by its id.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use http::StatusCode;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::client::{Reply, fetch};

/// Long enough for a busy machine; a test that waits for it in vain has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);
/// What a person reads of an error without scrolling.
const PARAGRAPH_BYTES: usize = 1200;
const PARAGRAPH_LINES: usize = 8;

/// The one route that tests of other things need: everything to the origin.
pub const ROUTE: &str = "[[route]]\nname = \"all\"\npath_prefix = \"/\"\nupstream = \"origin\"\n";

/// What a finished command left behind.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Said {
    /// The command failed with this code, and told why in a few readable lines that contain all of `words`.
    #[track_caller]
    pub fn refused(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        let text = self.paragraph();
        for word in words {
            assert!(text.contains(word), "{word:?} is not in:\n{text}");
        }
    }

    /// The error as a person sees it: the last lines of standard error, from the program's name on.
    #[track_caller]
    pub fn paragraph(&self) -> &str {
        let start = self.err.find("veilgate: ");
        let text = &self.err[start.unwrap_or_else(|| panic!("no error is told: {self:?}"))..];
        assert!(text.len() <= PARAGRAPH_BYTES, "too long to read:\n{text}");
        assert!(
            text.lines().count() <= PARAGRAPH_LINES,
            "too long to read:\n{text}"
        );
        // Neither a panic, nor what is meant for programmers.
        for odd in [
            "panicked",
            "RUST_BACKTRACE",
            "Err(",
            "Some(",
            "{ ",
            "\\\"",
            "::",
        ] {
            assert!(!text.contains(odd), "{odd:?} is in:\n{text}");
        }
        text
    }

    #[track_caller]
    pub fn fine(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }
}

/// Runs a command to its end.
pub fn veilgate(dir: &Path, args: &[&str]) -> Said {
    Process::start(dir, args).end()
}

/// The problem of a response: its type ends with `kind`, its words contain `words`.
#[track_caller]
pub fn problem(reply: &Reply, status: StatusCode, kind: &str, words: &str) {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(
        reply.header("content-type"),
        Some("application/problem+json"),
        "{}",
        reply.text()
    );
    let problem = reply.json();
    assert_eq!(problem["status"], status.as_u16());
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(detail.contains(words), "{words:?} is not in: {problem}");
    let name = problem["type"].as_str().unwrap_or_default();
    assert!(
        name.ends_with(kind),
        "{kind:?} is not the type in: {problem}"
    );
    assert!(
        problem["title"]
            .as_str()
            .is_some_and(|title| !title.is_empty()),
        "{problem}"
    );
}

/// A UDP port that is ours and answers nothing, as an address behind which nobody is: kept from others until who is awaited there binds it.
pub fn silent_port() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let addr = socket.local_addr().expect("bound");
    (socket, addr)
}

/// A port that nobody has for TCP or UDP at the moment, for what must know it beforehand.
pub fn free_port() -> u16 {
    for _ in 0..32 {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = tcp.local_addr().expect("bound").port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free for TCP and UDP both");
}

/// A process with everything it prints; killed when dropped.
pub struct Process {
    child: Child,
    out: Pipe,
    err: Pipe,
}

impl Process {
    pub fn start(dir: &Path, args: &[&str]) -> Self {
        Self::start_with(dir, args, &[])
    }

    /// With these variables in its environment.
    pub fn start_with(dir: &Path, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_veilgate"))
            .current_dir(dir)
            .args(args)
            .env_remove("VEILGATE_LOG")
            .env("CACHE_DIRECTORY", dir.join("cache"))
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let out = Pipe::read(child.stdout.take().expect("piped"));
        let err = Pipe::read(child.stderr.take().expect("piped"));
        Self { child, out, err }
    }

    /// Waits until the process has ended by itself.
    pub fn end(mut self) -> Said {
        let began = Instant::now();
        let status = loop {
            match self.child.try_wait().expect("it can be waited for") {
                Some(status) => break status,
                None if began.elapsed() > PATIENCE => {
                    panic!("it does not end; it said:\n{}", self.err.text.lock())
                }
                None => std::thread::sleep(POLL),
            }
        };
        Said {
            code: status.code(),
            out: self.out.whole(),
            err: self.err.whole(),
        }
    }

    fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id().cast_signed()).expect("an id");
        kill_process(id, signal).expect("it runs");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The text that a process writes, as far as it came.
struct Pipe {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Pipe {
    fn read(mut from: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let sink = text.clone();
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(len @ 1..) = from.read(&mut bytes) {
                sink.lock()
                    .push_str(&String::from_utf8_lossy(&bytes[..len]));
            }
        });
        Self {
            text,
            reader: Some(reader),
        }
    }

    /// Everything, once the process has ended.
    fn whole(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader ends");
        }
        self.text.lock().clone()
    }
}

/// A folder for one test.
pub struct Folder(pub TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// With an authority, a server's certificate, and those of two sites.
    pub fn with_certificates() -> Self {
        let folder = Self::new();
        let path = folder.path();
        let ca = transport::certs::make_ca(path, "test authority").expect("an authority");
        transport::certs::issue_server(&ca, path, "server", &["localhost", "127.0.0.1"])
            .expect("a certificate");
        for site in ["edge-1", "edge-2"] {
            transport::certs::issue_client(&ca, path, site).expect("a certificate");
        }
        folder
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path().join(name), content).expect("written");
    }

    pub fn veilgate(&self, args: &[&str]) -> Said {
        veilgate(self.path(), args)
    }

    /// `veilgate check` of this text.
    pub fn check(&self, text: &str) -> Said {
        self.write("edge.toml", text);
        self.veilgate(&["check", "edge.toml"])
    }

    /// `veilgate run` with this text, which does not get as far as serving.
    pub fn run_in_vain(&self, text: &str) -> Said {
        self.write("edge.toml", text);
        self.veilgate(&["run", "--config", "edge.toml"])
    }

    pub async fn run(&self, text: &str) -> Gateway {
        Gateway::start(self.path(), text).await
    }
}

/// A plain listener, an admin listener, and the upstream `origin`; `rest` follows.
pub fn plain(origin: SocketAddr, rest: &str) -> String {
    format!(
        "[server]\naccess_log = false\n[[listener]]\naddr = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [[upstream]]\nname = \"origin\"\nendpoints = [\"http://{origin}\"]\n{rest}"
    )
}

/// A process that serves.
pub struct Gateway {
    process: Process,
    /// The first listener.
    pub addr: SocketAddr,
    /// The last listener, if there are several; the same otherwise.
    pub last: SocketAddr,
    pub admin: SocketAddr,
}

impl Gateway {
    pub async fn start(dir: &Path, text: &str) -> Self {
        std::fs::write(dir.join("edge.toml"), text).expect("written");
        let mut process = Process::start(dir, &["run", "--config", "edge.toml"]);
        let began = Instant::now();
        loop {
            let said = process.err.text.lock().clone();
            if let Some((listeners, admin)) = addresses(&said) {
                return Self {
                    process,
                    addr: listeners[0],
                    last: listeners[listeners.len() - 1],
                    admin,
                };
            }
            let ended = process.child.try_wait().expect("it can be waited for");
            assert!(ended.is_none(), "it ended ({ended:?}): {said}");
            assert!(began.elapsed() < PATIENCE, "it does not start: {said}");
            tokio::time::sleep(POLL).await;
        }
    }

    pub async fn status(&self) -> serde_json::Value {
        fetch(self.admin, "/status").await.json()
    }

    pub async fn metrics(&self) -> String {
        fetch(self.admin, "/metrics").await.text().to_owned()
    }

    /// Healthy, and a request through the plain listener reaches the origin.
    pub async fn still_serves(&self, path: &str) {
        assert_eq!(fetch(self.admin, "/healthz").await.status, StatusCode::OK);
        let reply = fetch(self.addr, path).await;
        assert_eq!((reply.status, reply.text()), (StatusCode::OK, "hello"));
    }

    /// SIGHUP: look for modules that changed.
    pub fn hang_up(&self) {
        self.process.signal(Signal::HUP);
    }

    /// What it has logged so far.
    pub fn logged(&self) -> String {
        self.process.err.text.lock().clone()
    }

    /// SIGTERM: it must end in order, and without having panicked anywhere.
    pub fn stop(self) -> Said {
        self.process.signal(Signal::TERM);
        let said = self.process.end().fine();
        assert!(!said.err.contains("panicked"), "{}", said.err);
        said
    }
}

/// The listeners and the admin listener, from what `veilgate run` tells when it serves.
fn addresses(said: &str) -> Option<(Vec<SocketAddr>, SocketAddr)> {
    let (_, lines) = said.split_once("is listening on\n")?;
    let (lines, _) = lines.split_once(" (admin:")?;
    let addr = |word: &str| word.split_once("://")?.1.parse().ok();
    let mut listeners: Vec<SocketAddr> = lines.split_whitespace().filter_map(addr).collect();
    let admin = listeners.pop()?;
    (!listeners.is_empty()).then_some((listeners, admin))
}

/// Waits until the condition holds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(POLL).await;
        }
    };
    if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
        panic!("in vain waited until {what}");
    }
}
