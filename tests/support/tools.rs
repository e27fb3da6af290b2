//! Programs that check what is no Rust: `.ci/run` installs them, nobody else has to.

use std::path::{Path, PathBuf};

/// Where a tool is: in `PATH`, or in `tools/bin` of the target folder, where `.ci/run`
/// has made a home for those that come from Python's index. `None`, which is said, where it is not.
///
/// # Panics
/// When this test is not where cargo has put it.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    // TARGET/PROFILE/deps/THIS-TEST
    let test = std::env::current_exe().expect("the path of this test");
    let target = test.ancestors().nth(3).expect("a target folder").join("tools/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(target).chain(std::env::split_paths(&path));
    let found = folders.map(|folder| folder.join(name)).find(|path| Path::exists(path));
    if found.is_none() {
        eprintln!("SKIPPED: {name} is not installed; .ci/run installs it");
    }
    found
}
