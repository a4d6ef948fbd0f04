//! Files kept aside: damaged ones in quarantine, dead letters, and the reserve.

use std::{io, path::Path};

use crate::{disk::Disk, layout::Layout};

/// Moves a damaged file into quarantine, under a name that sorts by time.
pub(crate) fn quarantine(
    disk: &dyn Disk,
    layout: &Layout,
    path: &Path,
    now_ms: u64,
) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    tracing::warn!(file = %name, "damaged file moved to quarantine");
    metrics::counter!("gateway_outbox_quarantined_files_total").increment(1);
    disk.rename(
        path,
        &layout.quarantine.join(format!("{now_ms:015}-{name}")),
    )
}

/// Removes the first files by name until the rest fits.
pub(crate) fn tidy(disk: &dyn Disk, dir: &Path, max_bytes: u64) {
    let Ok(entries) = disk.list(dir) else {
        return;
    };
    let mut total: u64 = entries.iter().map(|e| e.len).sum();
    for entry in entries {
        if total <= max_bytes {
            return;
        }
        // Best effort, and tried again the next time.
        if disk.remove(&dir.join(&entry.name)).is_ok() {
            total = total.saturating_sub(entry.len);
        }
    }
}

/// Real blocks, not a hole: only those help when the disk is full.
pub(crate) fn write_reserve(disk: &dyn Disk, path: &Path, bytes: u64) -> io::Result<()> {
    const CHUNK: usize = 64 * 1024;
    match disk.remove(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = disk.create_new(path)?;
    let mut left = bytes;
    while left > 0 {
        let n = left.min(CHUNK as u64);
        file.append(&[0; CHUNK][..n as usize])?;
        left -= n;
    }
    file.sync()
}
