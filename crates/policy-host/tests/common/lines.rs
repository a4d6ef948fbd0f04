//! Collects what is logged on this thread.

use std::fmt::Write;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Level, Metadata, Subscriber};

#[derive(Clone)]
pub struct Lines(Arc<Mutex<Vec<String>>>, Level);

impl Default for Lines {
    fn default() -> Self {
        Self(Arc::default(), Level::INFO)
    }
}

/// Everything that this thread logs for as long as it lives, traces too.
pub struct Captured {
    lines: Lines,
    _in_force: tracing::subscriber::DefaultGuard,
}

impl Captured {
    pub fn text(&self) -> String {
        self.lines.0.lock().unwrap().join("\n")
    }
}

impl Lines {
    pub fn capture() -> Captured {
        let lines = Lines(Arc::default(), Level::TRACE);
        Captured {
            _in_force: tracing::subscriber::set_default(lines.clone()),
            lines,
        }
    }

    /// What `call` logs, one text per event: level, then all fields.
    pub fn of(call: impl FnOnce()) -> Vec<String> {
        let lines = Lines::default();
        tracing::subscriber::with_default(lines.clone(), call);
        let collected = lines.0.lock().unwrap();
        collected.clone()
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "policy" && *metadata.level() <= self.1
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(event.metadata().level().to_string());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}
