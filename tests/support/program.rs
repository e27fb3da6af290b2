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

/// The examples that tests start.
const EXAMPLES: [&str; 12] = [
    "axum",
    "echo",
    "grpc",
    "hello",
    "lab",
    "proxy_protocol",
    "sse",
    "thumbnails",
    "tls",
    "tower_http",
    "udp",
    "websocket",
];

/// The path of an example, built in the profile of the tests when it is not there or is old.
///
/// # Panics
/// When the example does not build.
#[must_use]
pub fn example(name: &str) -> PathBuf {
    // A failure is kept as well: every test would only try the same again.
    static BUILT: OnceLock<Result<BTreeMap<String, PathBuf>, String>> = OnceLock::new();
    let examples = BUILT.get_or_init(build).as_ref().unwrap_or_else(|errors| panic!("no examples:\n{errors}"));
    examples.get(name).unwrap_or_else(|| panic!("there is no example `{name}`")).clone()
}

/// The path of the `hatchery` command, built in the profile of the tests when it is not there or is old.
///
/// # Panics
/// When it does not build.
#[must_use]
pub fn hatchery() -> PathBuf {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let build = || {
        let (profile, target) = folders();
        let mut command = cargo(&profile, &target);
        // As for the examples: with the features of `cargo test`.
        command.args(["--workspace", "--bin", "hatchery"]);
        run(command)?;
        Ok(target.join(profile).join("hatchery"))
    };
    BUILT.get_or_init(build).as_ref().unwrap_or_else(|errors| panic!("no command:\n{errors}")).clone()
}

/// The path of a `lab` whose relay speaks another version than that of the
/// [`example`], so that neither takes connections from the other. It is built in
/// a target folder of its own.
///
/// # Panics
/// When it does not build.
#[must_use]
pub fn next_lab() -> PathBuf {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let build = || {
        let (profile, target) = folders();
        let target = target.join("next-relay");
        let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
        let mut command = cargo(&profile, &target);
        command.args(["--package", "hatchery-examples", "--example", "lab"]);
        command.env("RUSTFLAGS", format!("{flags} --cfg hatchery_next_relay"));
        run(command)?;
        Ok(target.join(profile).join("examples").join("lab"))
    };
    BUILT.get_or_init(build).as_ref().unwrap_or_else(|errors| panic!("no lab:\n{errors}")).clone()
}

/// Builds the examples beside the tests. Building the whole workspace's
/// examples selects the same features as `cargo test`, so that nothing is
/// compiled twice.
fn build() -> Result<BTreeMap<String, PathBuf>, String> {
    let (profile, target) = folders();
    let mut command = cargo(&profile, &target);
    command.arg("--workspace");
    for example in EXAMPLES {
        command.args(["--example", example]);
    }
    run(command)?;
    Ok(EXAMPLES.map(|name| (name.to_owned(), target.join(&profile).join("examples").join(name))).into())
}

/// The name of the profile that this test was built in, and the target folder.
fn folders() -> (String, PathBuf) {
    // TARGET/PROFILE/deps/THIS-TEST
    let tests = std::env::current_exe().expect("the path of this test");
    let profile = tests.parent().and_then(Path::parent).expect("a profile's folder");
    let name = profile.file_name().and_then(|name| name.to_str()).expect("a profile's name");
    (name.to_owned(), profile.parent().expect("a target folder").to_owned())
}

/// A `cargo build` in this profile and target folder.
fn cargo(profile: &str, target: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--quiet", "--target-dir"]).arg(target);
    if profile != "debug" {
        command.args(["--profile", profile]);
    }
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).stdin(Stdio::null());
    command
}

fn run(mut command: Command) -> Result<(), String> {
    let built = command.output().expect("cargo");
    if built.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&built.stderr).into_owned()) }
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
