//! Runs what may wait for a caller that cannot: on a thread and a runtime of its own, since the caller may be inside of another
//! runtime, or of none. Only for what happens when policies are loaded.

use std::time::Duration;

/// The longest that loading waits for a policy: for its first instance, and for its canary.
const MAX_APART: Duration = Duration::from_secs(30);

/// What the future comes to; an error says why it came to nothing.
pub(crate) fn run<T: Send>(future: impl Future<Output = T> + Send) -> Result<T, String> {
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| format!("no runtime could be started for it: {error}"))?;
        runtime
            .block_on(async { tokio::time::timeout(MAX_APART, future).await })
            .map_err(|_| format!("it was not over after {MAX_APART:?}"))
    };
    std::thread::scope(|scope| {
        let thread = scope.spawn(work);
        let joined = thread.join();
        joined.unwrap_or_else(|_| Err("its thread panicked".to_owned()))
    })
}
