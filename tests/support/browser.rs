//! A real browser without a window.

use std::path::Path;
use std::process::{Command, Stdio};

/// What Chromium has made of `url` after a few seconds: its document, as it stands then.
///
/// `arguments` are more of its own. It keeps its files in the folder `profile`.
///
/// # Panics
/// When it is not installed, or a script on the page complains.
#[must_use]
pub fn document(profile: &Path, url: &str, arguments: &[&str]) -> String {
    let mut chromium = Command::new("chromium");
    chromium.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--enable-logging=stderr",
        "--virtual-time-budget=4000",
        "--timeout=30000",
        "--dump-dom",
    ]);
    chromium.args(arguments).arg(format!("--user-data-dir={}", profile.display())).arg(url);
    let output = chromium.stdin(Stdio::null()).output().expect("chromium is installed: apt-get install chromium");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("CONSOLE"), "the browser complains:\n{said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
