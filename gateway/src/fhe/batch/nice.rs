//! The priority of the engine's threads below that of the proxy's, so that traffic is answered while ciphertexts are computed on.

/// Lowers the priority of the thread that calls it; threads that it starts inherit it. On failure it runs as before, and the log
/// says so.
#[cfg(target_os = "linux")]
pub(super) fn lower_this_thread(nice: u8) {
    // On Linux each thread has a niceness of its own, and no process named means this thread.
    if let Err(error) = rustix::process::setpriority_process(None, i32::from(nice)) {
        tracing::warn!(%error, nice, "the priority of the FHE engine's threads cannot be lowered; the proxy may wait for them");
    }
}

/// Elsewhere niceness is the whole process's: lowering it would hit the proxy too.
#[cfg(not(target_os = "linux"))]
pub(super) fn lower_this_thread(_: u8) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::lower_this_thread;

    fn niceness() -> i32 {
        rustix::process::getpriority_process(None).unwrap()
    }

    #[test]
    fn a_thread_and_those_that_it_starts_stand_back_and_no_other() {
        let before = niceness();
        let lowered = std::thread::spawn(|| {
            lower_this_thread(15);
            (niceness(), std::thread::spawn(niceness).join().unwrap())
        });
        assert_eq!(lowered.join().unwrap(), (15, 15));
        assert_eq!(niceness(), before);
    }
}
