//! The access log: one JSON line for each exchange, written by a thread of its own.
//!
//! A worker only pushes onto a bounded list; the writer takes the whole list a few times a second, so that no worker pays for
//! waking it. A list that is full drops the line and counts it: a slow disk or a blocked pipe never slows an exchange.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use metrics::{Counter, counter};
use parking_lot::{Condvar, Mutex};

use super::line::ExchangeLine;
use crate::exchange::Summary;

/// Lines waiting: a third of a second at 50,000 exchanges a second, about 8 MiB.
const MAX_WAITING: usize = 16 * 1024;

/// The writer looks at the list this often, or as soon as it is half full.
const WRITE_EVERY: Duration = Duration::from_millis(100);

/// Where the lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    Stdout,
    /// Appended to.
    File(PathBuf),
}

/// The handle that workers share. Dropping the last one writes what is waiting.
pub struct AccessLog {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    dropped: Counter,
}

struct Waiting {
    lines: Vec<Summary>,
    closed: bool,
}

impl AccessLog {
    /// Opens the sink and starts the writer.
    pub fn start(sink: &Sink) -> io::Result<Self> {
        let out: Box<dyn Write + Send> = match sink {
            Sink::Stdout => Box::new(io::stdout()),
            Sink::File(path) => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
        };
        Self::to(out)
    }

    fn to(out: Box<dyn Write + Send>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            waiting: Mutex::new(Waiting {
                lines: Vec::new(),
                closed: false,
            }),
            wake: Condvar::new(),
            dropped: counter!("gateway_access_log_dropped_total"),
        });
        let theirs = shared.clone();
        let writer = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_all(&theirs, BufWriter::with_capacity(64 * 1024, out)))?;
        Ok(Self {
            shared,
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Hands a line over; never waits for the sink.
    pub fn write(&self, summary: Summary) {
        let mut waiting = self.shared.waiting.lock();
        let len = waiting.lines.len();
        if len >= MAX_WAITING || waiting.closed {
            drop(waiting);
            self.shared.dropped.increment(1);
            return;
        }
        waiting.lines.push(summary);
        drop(waiting);
        if len == MAX_WAITING / 2 {
            self.shared.wake.notify_one();
        }
    }

    /// Writes what is waiting and ends the writer. Lines that come later are dropped and counted.
    pub fn close(&self) {
        self.shared.waiting.lock().closed = true;
        self.shared.wake.notify_one();
        if let Some(writer) = self.writer.lock().take()
            && writer.join().is_err()
        {
            tracing::error!("the access log's writer died; its last lines may be missing");
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.close();
    }
}

fn write_all(shared: &Shared, mut out: impl Write) {
    let mut complained = false;
    let mut lines = Vec::new();
    loop {
        let closed = take(shared, &mut lines);
        for summary in lines.drain(..) {
            // A line that cannot be written (a full disk, a closed pipe) is lost, not the gateway.
            if let Err(error) = write_line(&mut out, &summary) {
                shared.dropped.increment(1);
                if !std::mem::replace(&mut complained, true) {
                    tracing::error!(%error, "the access log cannot be written; lines are dropped and counted");
                }
            }
        }
        if let Err(error) = out.flush()
            && !std::mem::replace(&mut complained, true)
        {
            tracing::error!(%error, "the access log cannot be written; lines are dropped and counted");
        }
        if closed {
            return;
        }
    }
}

/// Waits for lines and takes them all; true if there will be no more.
fn take(shared: &Shared, lines: &mut Vec<Summary>) -> bool {
    let mut waiting = shared.waiting.lock();
    if !waiting.closed && waiting.lines.len() <= MAX_WAITING / 2 {
        shared.wake.wait_for(&mut waiting, WRITE_EVERY);
    }
    std::mem::swap(&mut waiting.lines, lines);
    waiting.closed
}

fn write_line(out: &mut impl Write, summary: &Summary) -> io::Result<()> {
    let mut line = ExchangeLine::for_access_log(summary).to_json()?;
    line.push(b'\n');
    out.write_all(&line)
}

#[cfg(test)]
mod tests;
