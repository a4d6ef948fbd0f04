//! `log`: lines for the gateway's log, under the target `policy` with the policy's name. A call can only write so much.

use tracing::Level;

use crate::bindings::veilgate::policy::log::{self, Host};
use crate::state::HostState;

/// Lines of one call.
pub(crate) const MAX_LINES_PER_CALL: u32 = 16;
/// Bytes of one call, all lines together.
pub(crate) const MAX_BYTES_PER_CALL: usize = 4096;

fn is_enabled(level: log::Level) -> bool {
    match level {
        log::Level::Trace => tracing::enabled!(target: "policy", Level::TRACE),
        log::Level::Debug => tracing::enabled!(target: "policy", Level::DEBUG),
        log::Level::Info => tracing::enabled!(target: "policy", Level::INFO),
        log::Level::Warn => tracing::enabled!(target: "policy", Level::WARN),
        log::Level::Error => tracing::enabled!(target: "policy", Level::ERROR),
    }
}

/// A guest's text cannot begin a line of its own, nor steer a terminal.
pub(crate) fn one_line(message: &str) -> String {
    message
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

impl HostState {
    fn admit_line(&mut self, bytes: usize) -> bool {
        let budget = &mut self.log;
        if budget.lines == 0 || bytes > budget.bytes {
            budget.dropped += 1;
            return false;
        }
        budget.lines -= 1;
        budget.bytes -= bytes;
        true
    }

    /// What the guest printed in this call, line by line, at `info`.
    pub(crate) fn log_printed(&mut self) {
        let Some(wasi) = self
            .waits
            .as_deref()
            .and_then(|waits| waits.wasi.as_deref())
        else {
            return;
        };
        let (printed, over) = wasi.take_printed();
        if over > 0 {
            self.log.dropped += 1;
        }
        for line in String::from_utf8_lossy(&printed).lines() {
            self.line(log::Level::Info, line);
        }
    }

    fn line(&mut self, level: log::Level, message: &str) {
        if !is_enabled(level) || !self.admit_line(message.len()) {
            return;
        }
        let message = one_line(message);
        let (policy, exchange) = (&self.shared.policy, &self.exchange.info.id);
        match level {
            log::Level::Trace => tracing::trace!(target: "policy", %policy, %exchange, "{message}"),
            log::Level::Debug => tracing::debug!(target: "policy", %policy, %exchange, "{message}"),
            log::Level::Info => tracing::info!(target: "policy", %policy, %exchange, "{message}"),
            log::Level::Warn => tracing::warn!(target: "policy", %policy, %exchange, "{message}"),
            log::Level::Error => tracing::error!(target: "policy", %policy, %exchange, "{message}"),
        }
    }

    /// Once, at the end of a call that wrote too much.
    pub(crate) fn report_dropped_lines(&self) {
        if self.log.dropped > 0 {
            tracing::warn!(target: "policy", policy = %self.shared.policy, dropped = self.log.dropped,
                "log lines of one call were dropped: it wrote more than 16 lines or 4096 bytes");
        }
    }
}

impl Host for HostState {
    fn enabled(&mut self, level: log::Level) -> wasmtime::Result<bool> {
        Ok(is_enabled(level))
    }

    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.line(level, &message);
        Ok(())
    }
}
