//! What a policy logs, and what the host logs of its faults, gathered on this thread instead of being written.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

/// What the host and its policies log under.
const TARGET: &str = "policy";
/// Lines kept between two looks: a policy in a loop of exchanges must not fill the memory.
const MAX_LINES: usize = 1000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// Written by the policy.
    Policy(String),
    /// The detail of a fault, from the host.
    Fault(String),
}

/// Hands out what was logged since it was last asked.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Line>>>);

impl Log {
    pub(crate) fn take(&self) -> Vec<Line> {
        std::mem::take(&mut *self.0.lock())
    }

    /// Gathers until the guard is dropped.
    pub(crate) fn begin(&self) -> tracing::subscriber::DefaultGuard {
        tracing::subscriber::set_default(Gathering(self.clone()))
    }
}

struct Gathering(Log);

#[derive(Default)]
struct Read {
    message: String,
    detail: Option<String>,
}

impl Visit for Read {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = match field.name() {
            "message" => &mut self.message,
            "detail" => self.detail.insert(String::new()),
            _ => return,
        };
        // Writing into a text cannot fail.
        let _ = write!(text, "{value:?}");
    }
}

impl Subscriber for Gathering {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == TARGET
    }

    fn event(&self, event: &Event<'_>) {
        let mut read = Read::default();
        event.record(&mut read);
        // Only a policy's own lines name the exchange.
        let own = event.fields().any(|field| field.name() == "exchange");
        let line = match read.detail {
            Some(detail) => Line::Fault(detail),
            None if own => Line::Policy(read.message),
            None => return,
        };
        let mut lines = self.0.0.lock();
        if lines.len() < MAX_LINES {
            lines.push(line);
        }
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
