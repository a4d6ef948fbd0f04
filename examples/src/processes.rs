//! The processes of a story: each is started with its output in a log file, and is ended, by its own id, when the story ends.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use crate::client::Error;

/// A start that takes longer has failed; on two busy cores a debug build needs some seconds to compile the policies.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// A graceful stop ends by then, or is called a failure.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);
/// How much of a log is shown when its process failed.
const LOG_TAIL_LINES: usize = 15;

pub struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it prints goes to `<logs>/<name>.log`, appended.
    pub fn start(name: &'static str, command: &mut Command, logs: &Path) -> Result<Self, Error> {
        let log = logs.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Error::new(format!("cannot start the {name}: {error}")))?;
        Ok(Self { name, child, log })
    }

    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until `ready` says yes; a process that ended meanwhile is a failure with the end of its log.
    pub async fn until<F: AsyncFn() -> bool>(&mut self, what: &str, ready: F) -> Result<(), Error> {
        let deadline = Instant::now() + START_TIMEOUT;
        while !ready().await {
            if let Some(status) = self.child.try_wait()? {
                return Err(self.failure(&format!("ended early ({status})")));
            }
            if Instant::now() > deadline {
                return Err(self.failure(&format!(
                    "was not {what} after {} s",
                    START_TIMEOUT.as_secs()
                )));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// SIGTERM, then wait: what an operator's service manager does.
    pub async fn stop(mut self) -> Result<(), Error> {
        let id = self
            .child
            .id()
            .and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
        if let Some(id) = id {
            rustix::process::kill_process(id, rustix::process::Signal::TERM)
                .map_err(std::io::Error::from)?;
        }
        match tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(self.failure(&format!("did not stop cleanly ({status})"))),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(self.failure(&format!(
                "had not stopped {} s after SIGTERM",
                STOP_TIMEOUT.as_secs()
            ))),
        }
    }

    /// SIGKILL: no chance to write anything more.
    pub async fn kill(mut self) -> Result<(), Error> {
        self.child.kill().await?;
        Ok(())
    }

    fn failure(&self, what: &str) -> Error {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n    ");
        Error::new(format!(
            "the {} {what}. The end of {}:\n    {tail}",
            self.name,
            self.log.display()
        ))
    }
}

/// Runs a command to its end and gives its standard output; its standard error is passed through when `loud`.
pub async fn output(what: &str, command: &mut Command, loud: bool) -> Result<String, Error> {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(if loud {
        Stdio::inherit()
    } else {
        Stdio::piped()
    });
    let output = command
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|e| Error::new(format!("cannot start {what}: {e}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
    Err(Error::new(format!(
        "{what} failed ({}):\n{said}",
        output.status
    )))
}

/// Ctrl-C, or SIGTERM. The processes are in groups of their own: the terminal's Ctrl-C reaches this one alone.
pub async fn stop_requested() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut term) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = term.recv() => {}
    }
}
