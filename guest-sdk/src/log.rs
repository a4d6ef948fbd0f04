//! The gateway's log. A message is built only if its level is on.

use crate::bindings::veilgate::policy::log;

pub use log::Level;

/// Writes a line, if `level` is on: `log::write(Level::Info, || format!("…"))`.
pub fn write(level: Level, message: impl FnOnce() -> String) {
    if log::enabled(level) {
        log::write(level, &message());
    }
}

/// A panic is a trap, and its message would be lost with the instance: hand it to the host first.
pub(crate) fn panics_to_host() {
    #[cfg(target_arch = "wasm32")]
    std::panic::set_hook(Box::new(|panic| {
        log::write(Level::Error, &panic.to_string())
    }));
}
