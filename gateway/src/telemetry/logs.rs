//! The log of the program itself, on standard error: for people on a terminal, JSON lines otherwise.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::TryInitError;

/// Names what is logged, as in `info,veilgate::upstream=debug`.
const ENV: &str = "VEILGATE_LOG";

const DEFAULT_FILTER: &str = "info";

/// Sets the log up; `filter` (a flag) goes before the environment. A filter that cannot be read falls back to `info`, with a word.
pub fn init_logs(filter: Option<&str>) -> Result<(), TryInitError> {
    use tracing_subscriber::util::SubscriberInitExt;
    let wanted = filter
        .map(str::to_owned)
        .or_else(|| std::env::var(ENV).ok());
    let (chosen, problem) = match wanted.as_deref().map(EnvFilter::try_new) {
        Some(Ok(chosen)) => (chosen, None),
        Some(Err(error)) => (EnvFilter::new(DEFAULT_FILTER), Some(error)),
        None => (EnvFilter::new(DEFAULT_FILTER), None),
    };
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(chosen);
    if std::io::stderr().is_terminal() {
        builder.finish().try_init()?;
    } else {
        builder.json().flatten_event(true).finish().try_init()?;
    }
    if let Some(error) = problem {
        let wanted = wanted.unwrap_or_default();
        tracing::warn!(%error, wanted, "the log filter cannot be read; logging at info. Example: info,veilgate::upstream=debug");
    }
    Ok(())
}
