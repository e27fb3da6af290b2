//! The programs that tests start: the examples, and what can stand in for a
//! server's new version.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// What stands at the path that an upgrade starts.
#[derive(Clone, Debug)]
pub enum Program {
    /// A symbolic link to this program.
    Link(PathBuf),
    /// A shell script with these lines.
    Script(String),
    /// A file that may be executed, but that the system does not know how.
    Nonsense,
    /// A file that nobody may execute.
    NotExecutable,
    /// Nothing.
    Missing,
}

impl Program {
    /// The `lab` example.
    #[must_use]
    pub fn lab() -> Self {
        Self::Link(example("lab"))
    }

    /// The `lab` example with other variables than it was started with, as a
    /// new version may behave in another way than the old one.
    #[must_use]
    pub fn lab_with(variables: &str) -> Self {
        Self::Script(format!("{variables} exec {} \"$@\"", example("lab").display()))
    }

    /// Puts it at `path`, in one step, as a deployment does.
    ///
    /// # Panics
    /// When the file system refuses.
    pub fn install(&self, path: &Path) {
        let next = path.with_extension("next");
        let _ = fs::remove_file(&next);
        match self {
            Self::Link(target) => symlink(target, &next).expect("a link"),
            Self::Script(lines) => write_program(&next, &format!("#!/bin/sh\n{lines}\n"), "755"),
            Self::Nonsense => write_program(&next, "nonsense", "755"),
            Self::NotExecutable => write_program(&next, "#!/bin/sh\n", "644"),
            Self::Missing => return fs::remove_file(path).expect("a program to remove"),
        }
        fs::rename(&next, path).expect("the new program in its place");
    }
}

/// The path of an example, built in the profile of the tests when it is not there or is old.
///
/// # Panics
/// When the example does not build.
#[must_use]
pub fn example(name: &str) -> PathBuf {
    // A failure is kept as well: every test would only try the same again.
    static EXAMPLES: OnceLock<Result<BTreeMap<String, PathBuf>, String>> = OnceLock::new();
    let examples = EXAMPLES.get_or_init(build).as_ref().unwrap_or_else(|errors| panic!("no examples:\n{errors}"));
    examples.get(name).unwrap_or_else(|| panic!("there is no example `{name}`")).clone()
}

/// Builds the examples beside the tests. Building the whole workspace's
/// examples selects the same features as `cargo test`, so that nothing is
/// compiled twice.
fn build() -> Result<BTreeMap<String, PathBuf>, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // TARGET/PROFILE/deps/THIS-TEST
    let tests = std::env::current_exe().expect("the path of this test");
    let profile = tests.parent().and_then(Path::parent).expect("a profile's folder");
    let target = profile.parent().expect("a target folder");
    let mut command = Command::new(cargo);
    command
        .args(["build", "--quiet", "--workspace", "--example", "lab", "--example", "hello", "--target-dir"])
        .arg(target)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .stdin(Stdio::null());
    let folder = profile.file_name().and_then(|name| name.to_str()).expect("a profile's name");
    if folder != "debug" {
        command.args(["--profile", folder]);
    }
    let built = command.output().expect("cargo");
    if !built.status.success() {
        return Err(String::from_utf8_lossy(&built.stderr).into_owned());
    }
    Ok(["lab", "hello"].map(|name| (name.to_owned(), profile.join("examples").join(name))).into())
}

/// Writes a program from another process. If this one held the file open for
/// writing while another test forks, the child would hold it as well, and
/// starting the program would fail: text file busy.
fn write_program(path: &Path, contents: &str, mode: &str) {
    let draft = path.with_extension("draft");
    fs::write(&draft, contents).expect("a program");
    let copied = Command::new("install").args(["-m", mode]).arg(&draft).arg(path).status().expect("install");
    assert!(copied.success());
}
