//! What this machine is, as far as the system tells: on Linux all of it, elsewhere the number of its cores.

use std::num::NonZero;

/// In bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pub total: u64,
    /// Without taking any from other programs.
    pub available: u64,
}

pub(super) fn memory() -> Option<Memory> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    Some(Memory {
        total: kib(&text, "MemTotal:")? << 10,
        available: kib(&text, "MemAvailable:")? << 10,
    })
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The processor's own name.
pub(super) fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let name = text.lines().find(|line| line.starts_with("model name"))?;
    Some(name.split_once(':')?.1.trim().to_owned())
}

/// Those that this process may use.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::kib;

    #[test]
    fn memory_is_read_by_its_name() {
        let text =
            "MemTotal:       24555476 kB\nMemFree:        17000 kB\nMemAvailable:   23000 kB\n";
        assert_eq!(kib(text, "MemTotal:"), Some(24_555_476));
        assert_eq!(kib(text, "MemAvailable:"), Some(23_000));
        assert_eq!(kib(text, "Mem:"), None);
        assert_eq!(kib("MemTotal: much\n", "MemTotal:"), None);
    }
}
