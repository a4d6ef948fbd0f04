//! A real Redis for one test: on a free loopback port, with no persistence, ended by its process id.

use std::ffi::OsString;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Of a server that is started; a busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Server {
    program: OsString,
    settings: Vec<String>,
    child: Option<Child>,
    pub port: u16,
    pub dir: TempDir,
}

impl Server {
    /// None: this machine has none. In CI that is a failure.
    pub fn new() -> Option<Self> {
        let Some(program) = std::env::var_os("VEILGATE_REDIS_SERVER") else {
            let in_ci = std::env::var("CI").is_ok_and(|value| value == "true" || value == "1");
            assert!(
                !in_ci,
                "VEILGATE_REDIS_SERVER is not set: run `cargo xtask test`"
            );
            eprintln!(
                "not tried: VEILGATE_REDIS_SERVER is not set (`cargo xtask redis` prints what goes there)"
            );
            return None;
        };
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        Some(Self {
            program,
            settings: Vec::new(),
            child: None,
            port: free.local_addr().expect("an address").port(),
            dir: tempfile::tempdir().expect("a folder"),
        })
    }

    /// One that answers.
    pub async fn started() -> Option<Self> {
        let mut server = Self::new()?;
        server.start().await;
        Some(server)
    }

    pub fn with(mut self, settings: &[&str]) -> Self {
        self.settings = settings
            .iter()
            .map(|setting| (*setting).to_owned())
            .collect();
        self
    }

    /// Until it answers; a port that something else had for a moment is tried again.
    pub async fn start(&mut self) {
        let answers = async {
            loop {
                let is_running = match &mut self.child {
                    Some(child) => child.try_wait().expect("its state").is_none(),
                    None => false,
                };
                if !is_running {
                    self.child = Some(self.spawn());
                } else if TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let started = tokio::time::timeout(PATIENCE, answers).await;
        started.expect("the server listens");
    }

    fn spawn(&self) -> Child {
        let port = self.port.to_string();
        let mut command = Command::new(&self.program);
        command.args([
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--port",
            &port,
            "--dir",
        ]);
        command.arg(self.dir.path()).args(&self.settings);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        child.expect("the server starts")
    }

    /// As if its machine had lost power.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("over");
        }
    }

    /// It keeps its connections, and answers nobody.
    pub fn hang(&self) {
        self.signal(Signal::STOP);
    }

    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().expect("it runs").id();
        let pid = i32::try_from(id)
            .ok()
            .and_then(Pid::from_raw)
            .expect("an id");
        kill_process(pid, signal).expect("a signal");
    }

    /// The answer as it comes over the wire.
    pub async fn command(&self, words: &[&str]) -> String {
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            text += &format!("${}\r\n{word}\r\n", word.len());
        }
        text += "*1\r\n$4\r\nQUIT\r\n";
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))
            .await
            .expect("connected");
        stream.write_all(text.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
            .strip_suffix("+OK\r\n")
            .expect("a goodbye")
            .to_owned()
    }

    /// All keys.
    pub async fn keys(&self) -> Vec<String> {
        let answer = self.command(&["KEYS", "*"]).await;
        answer
            .lines()
            .filter(|line| !line.starts_with(['*', '$']))
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
