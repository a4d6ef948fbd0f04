//! CPU time of a process, as the kernel accounts it (Linux: /proc; elsewhere the figure is left out).

use std::time::Duration;

/// What all its threads ran, to the nanosecond: the sum of what the scheduler counts of each. A thread that ends takes its count along;
/// a gateway's workers do not. `None` where the platform does not tell, or the process is gone.
pub fn time_of(process: u32) -> Option<Duration> {
    let mut sum = 0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task")).ok()? {
        let stat = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        sum += stat.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(Duration::from_nanos(sum))
}

/// Resident memory in MiB.
pub fn resident_mib(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

/// Of this process itself, so far; zero where the platform does not tell.
pub fn own() -> Duration {
    time_of(std::process::id()).unwrap_or_default()
}
