//! A Redis server for the tests of shared limits: the one that is installed, else Debian's, unpacked into target/redis-server.

use std::path::{Path, PathBuf};

use crate::prerequisites;
use crate::process::{in_ci, unpack};

const SCRIPT: &str = "scripts/redis-server.sh";

/// The program; None: this machine has none and can get none, which is an error in CI.
pub fn find(root: &Path) -> Result<Option<PathBuf>, String> {
    if prerequisites::missing(&["redis-server"]).is_empty() {
        return Ok(Some(PathBuf::from("redis-server")));
    }
    if let Some(unpacked) = unpack(root, SCRIPT, "redis-server")? {
        return Ok(Some(unpacked));
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
