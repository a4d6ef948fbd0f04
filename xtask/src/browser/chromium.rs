//! A Chromium: the one that is installed, else Debian's, unpacked into target/chromium. Started for one page, and ended after it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::{in_ci, unpack};

const SCRIPT: &str = "scripts/chromium.sh";
const NAMES: &[&str] = &[
    "chromium",
    "chromium-browser",
    "google-chrome",
    // On macOS programs with windows are not on the path.
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/// The program; None: this machine has none and can get none, which is an error in CI.
pub fn find(root: &Path) -> Result<Option<PathBuf>, String> {
    let runs = |name: &&&str| {
        let mut asked = Command::new(name);
        asked
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        asked.status().is_ok_and(|status| status.success())
    };
    if let Some(name) = NAMES.iter().find(runs) {
        return Ok(Some(PathBuf::from(name)));
    }
    if let Some(unpacked) = unpack(root, SCRIPT, "chromium")? {
        return Ok(Some(unpacked));
    }
    if in_ci() {
        return Err(format!(
            "the page cannot be tested here: {SCRIPT} says above why"
        ));
    }
    eprintln!("   the test of the page is left out here: install chromium to run it");
    Ok(None)
}

/// Opens the page; the program ends by itself when the page has loaded and its picture is taken.
pub fn open(
    chromium: &Path,
    folder: &Path,
    address: &str,
    screenshot: &Path,
) -> Result<Child, String> {
    let log = folder.join("chromium.log");
    let log = fs::File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?;
    let profile = folder.join("profile");
    let _ = fs::remove_dir_all(&profile);
    Command::new(chromium)
        // The sandbox needs rights that containers, and root, do not have; the page is our own.
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
        ])
        .args([
            "--no-first-run",
            "--disable-background-networking",
            "--window-size=900,1500",
            "--enable-logging=stderr",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("--screenshot={}", screenshot.display()))
        .arg(address)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", chromium.display()))
}

/// Waits for its end; what does not end by then is ended.
pub fn end(browser: &mut Child, patience: Duration) -> Result<(), String> {
    let began = Instant::now();
    while began.elapsed() < patience {
        match browser.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("Chromium ended with {status}")),
            Ok(None) => std::thread::sleep(Duration::from_millis(50)),
            Err(error) => return Err(format!("Chromium: {error}")),
        }
    }
    let _ = browser.kill();
    let _ = browser.wait();
    Err("Chromium did not end after the page's report".into())
}
