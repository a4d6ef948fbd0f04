//! A Redis server for the tests of shared limits: the one that is installed, else Debian's, unpacked into target/redis-server.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::prerequisites;
use crate::process::{in_ci, target_dir};

const SCRIPT: &str = "scripts/redis-server.sh";

/// The program; None: this machine has none and can get none, which is an error in CI.
pub fn find(root: &Path) -> Result<Option<PathBuf>, String> {
    if prerequisites::missing(&["redis-server"]).is_empty() {
        return Ok(Some(PathBuf::from("redis-server")));
    }
    let unpacked = Command::new(root.join(SCRIPT))
        .arg(target_dir(root).join("redis-server"))
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot start {SCRIPT}: {error}"))?;
    if unpacked.status.success() {
        let path = String::from_utf8_lossy(&unpacked.stdout).trim().to_owned();
        return Ok(Some(PathBuf::from(path)));
    }
    let missing = prerequisites::missing(&["redis-server"]);
    if in_ci() {
        return Err(format!(
            "shared limits cannot be tested here ({SCRIPT} says above why it cannot help):\n{missing}"
        ));
    }
    eprintln!("   tests of shared limits are left out here:\n{missing}");
    Ok(None)
}
