//! A real systemd in namespaces of its own, with units that start real servers.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::neighbour::deployed;
use crate::program::{example, hatchery};
use crate::{network, wait};

/// The service manager, with everything in `examples/deploy/systemd` as it is there: the program
/// `app` is the lab. It ends when this is dropped, and everything that it has started.
#[derive(Debug)]
pub struct Systemd {
    holder: Child,
    pid: String,
    folder: TempDir,
}

/// Units of the system that are needed to write a journal.
const JOURNAL: [&str; 3] = ["systemd-journald.service", "systemd-journald.socket", "systemd-journald-dev-log.socket"];

/// Where Debian has them.
const UNITS: &str = "/lib/systemd/system";

impl Systemd {
    /// One that has come up. `None`, which is said, where it cannot: it takes root, a cgroup2 hierarchy
    /// that may be written to, and overlays.
    ///
    /// # Panics
    /// When files cannot be written.
    #[must_use]
    pub fn boot() -> Option<Self> {
        Self::boot_with(None)
    }

    /// One that has a folder of this machine as `/opt/shared`.
    ///
    /// # Panics
    /// When files cannot be written.
    #[must_use]
    pub fn boot_with(shared: Option<&Path>) -> Option<Self> {
        let folder = TempDir::with_prefix("systemd-").expect("a temporary folder");
        furnish(folder.path());
        let mut command = Command::new("sh");
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/helpers/systemd.sh")).arg(folder.path()).args(shared);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut holder = command.spawn().expect("a shell");
        let mut pid = String::new();
        let _ = BufReader::new(holder.stdout.take().expect("a pipe")).read_line(&mut pid);
        let systemd = Self { holder, pid: pid.trim().to_owned(), folder };
        let is_up = || systemd.run("systemctl is-system-running").stdout.starts_with(b"running").then_some(());
        if systemd.pid.parse::<u32>().is_ok() && wait::within(Duration::from_secs(20), is_up).is_some() {
            return Some(systemd);
        }
        let said = fs::read_to_string(systemd.folder.path().join("said")).unwrap_or_default();
        let units = systemd.run("systemctl list-units --state=failed,activating; systemctl list-jobs");
        eprintln!("SKIPPED: no systemd can be started here: {said}{}", String::from_utf8_lossy(&units.stdout));
        None
    }

    /// What a command line says there, and how it ends.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn run(&self, line: &str) -> Output {
        let launcher = self.launcher();
        let mut command = Command::new(launcher[0]);
        command.args(&launcher[1..]).args(["sh", "-c", line]).stdin(Stdio::null());
        command.output().expect("nsenter")
    }

    /// What a command line that succeeds prints.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn printed(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// A property of a unit: `MainPID`, `Result`.
    #[must_use]
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.printed(&format!("systemctl show {unit} --property={name} --value"))
    }

    /// Waits until a property of a unit has this value.
    pub fn until(&self, unit: &str, name: &str, value: &str) {
        wait::until(&format!("{name} of {unit} is {value}"), || (self.property(unit, name) == value).then_some(()));
    }

    /// What starts a program there, by becoming it.
    #[must_use]
    pub fn launcher(&self) -> Vec<&str> {
        vec!["nsenter", "--all", "--target", &self.pid, "--"]
    }

    /// Puts a unit in the place of another.
    ///
    /// # Panics
    /// When it cannot.
    pub fn install(&self, unit: &str, text: &str) {
        fs::write(self.folder.path().join("opt").join(unit), text).expect("a file");
        let _ = self.printed(&format!("cp /opt/{unit} /etc/systemd/system && systemctl daemon-reload"));
    }

    /// Does something in its network, with every thread that it starts.
    pub fn within_network<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        network::within(Path::new(&format!("/proc/{}/ns/net", self.pid)), work)
    }

    /// Turns the link by which `app` is started, as a deploy does.
    ///
    /// # Panics
    /// When it cannot.
    pub fn turn_to(&self, release: &str) {
        let app = self.folder.path().join("opt/app");
        let next = app.join("next");
        symlink(format!("releases/{release}"), &next).expect("a link");
        fs::rename(next, app.join("current")).expect("a rename");
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.run("journalctl --no-pager --output=short-precise --lines=200");
            eprintln!("---- journal\n{}----", String::from_utf8_lossy(&log.stdout));
        }
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

/// The files that it finds: the units of the deploy examples, and as few others as will do.
fn furnish(folder: &Path) {
    let write = |path: PathBuf, text: &str| {
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        fs::write(path, text).expect("a file");
    };
    let units = folder.join("etc/systemd/system");
    let target = |name: &str, needs: &str| {
        write(units.join(format!("{name}.target")), &format!("[Unit]\nDefaultDependencies=no\n{needs}\n"));
    };
    for name in ["sysinit", "basic", "sockets", "shutdown", "multi-user", "network-online"] {
        target(name, "");
    }
    target("default", "Requires=sysinit.target systemd-journald.socket systemd-journald.service");
    for name in JOURNAL {
        write(units.join(name), &fs::read_to_string(Path::new(UNITS).join(name)).unwrap_or_default());
    }
    for name in ["app.service", "app.socket", "app-upgrade.service"] {
        write(units.join(name), &deployed(&format!("systemd/{name}")));
    }
    write(folder.join("etc/app/app.toml"), &deployed("app.toml"));
    for (program, path) in [(example("lab"), "opt/app/releases/one/bin/app"), (hatchery(), "local/bin/hatchery")] {
        fs::create_dir_all(folder.join(path).parent().expect("a folder")).expect("folders");
        fs::copy(program, folder.join(path)).expect("a program");
    }
    symlink("releases/one", folder.join("opt/app/current")).expect("a link");
}
