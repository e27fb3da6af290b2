//! How a server is started.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::prctl;
use tempfile::TempDir;

use crate::lab::{End, Expected, Lab};
use crate::procfs::Process;
use crate::program::Program;
use crate::pty::Terminal;

/// A server that is about to be started: with two workers, on a free port, with
/// a pid file, with short waits, in a temporary folder of its own.
#[derive(Debug)]
pub struct Start {
    folder: TempDir,
    settings: Vec<(String, Option<String>)>,
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
    launcher: Vec<String>,
    first_argument: Option<OsString>,
    working_folder: Option<PathBuf>,
    program: Program,
    input: Option<Stdio>,
    output: Option<Stdio>,
    errors: Option<Stdio>,
    /// Whether the launcher makes a session, and with it the process group.
    own_session: bool,
}

/// A server that has ended by itself.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub end: End,
    /// What it said on its standard streams.
    pub log: String,
}

impl Default for Start {
    fn default() -> Self {
        let folder = TempDir::with_prefix("hatchery-").expect("a temporary folder");
        let start = Self {
            settings: Vec::new(),
            variables: Vec::new(),
            arguments: Vec::new(),
            launcher: Vec::new(),
            first_argument: None,
            working_folder: None,
            program: Program::lab(),
            input: None,
            output: None,
            errors: None,
            own_session: false,
            folder,
        };
        let pid_file = start.path("lab.pid").display().to_string();
        start
            .set("bind", "127.0.0.1:0")
            .set("workers", "2")
            .set("pid-file", &pid_file)
            .set("boot-timeout", "15s")
            .set("drain-timeout", "15s")
            .set("upgrade-probation", "200ms")
    }
}

impl Start {
    /// The lab with the tests' defaults.
    #[must_use]
    pub fn lab() -> Self {
        Self::default()
    }

    /// Gives a setting on the command line, in place of an earlier value.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), Some(value.to_string())));
        self
    }

    /// Leaves a setting out.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.settings.retain(|(known, _)| known != name);
        self
    }

    /// Leaves all settings out, for a program that takes none.
    #[must_use]
    pub fn without_settings(mut self) -> Self {
        self.settings.clear();
        self
    }

    /// Adds an argument as it stands.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Sets an environment variable. All but `PATH` start unset.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes a configuration file and names it on the command line.
    ///
    /// # Panics
    /// When the file cannot be written.
    #[must_use]
    pub fn config(self, text: &str) -> Self {
        let path = self.path("lab.toml");
        fs::write(&path, text).expect("a configuration file");
        self.set("config", &path.display().to_string())
    }

    /// Starts it through another program, which is to become it by exec.
    #[must_use]
    pub fn launcher<'a>(mut self, command: impl IntoIterator<Item = &'a str>) -> Self {
        self.launcher = command.into_iter().map(str::to_owned).collect();
        self
    }

    /// Limits the descriptors that each process may open.
    #[must_use]
    pub fn open_files(self, limit: u32) -> Self {
        let script = format!("ulimit -n {limit}; exec \"$@\"");
        self.launcher(["sh", "-c", &script, "sh"])
    }

    /// Sets `argv[0]`, by which the program is then found.
    #[must_use]
    pub fn first_argument(mut self, argument: impl Into<OsString>) -> Self {
        self.first_argument = Some(argument.into());
        self
    }

    /// Starts it in this folder, in place of its own.
    #[must_use]
    pub fn working_folder(mut self, folder: &Path) -> Self {
        self.working_folder = Some(folder.to_owned());
        self
    }

    /// Starts something else than the lab.
    #[must_use]
    pub fn program(mut self, program: Program) -> Self {
        self.program = program;
        self
    }

    /// Starts it as the foreground group of a terminal, which is also its standard input.
    #[must_use]
    pub fn terminal(mut self, terminal: &Terminal) -> Self {
        self.input = Some(terminal.input());
        self.own_session = true;
        self.launcher(Terminal::LAUNCHER)
    }

    /// Gives it another standard input than the null device, and another standard output than the log.
    #[must_use]
    pub fn streams(mut self, input: Stdio, output: Stdio) -> Self {
        self.input = Some(input);
        self.output = Some(output);
        self
    }

    /// Passes it sockets as systemd does, under these names: two at the most.
    ///
    /// # Panics
    /// With more.
    #[must_use]
    pub fn passed(self, names: &str, sockets: impl IntoIterator<Item = OwnedFd>) -> Self {
        let sockets: Vec<OwnedFd> = sockets.into_iter().collect();
        let count = sockets.len().to_string();
        let script = "export LISTEN_PID=$$; exec \"$@\"";
        self.variable("LISTEN_FDS", &count).variable("LISTEN_FDNAMES", names).descriptors(sockets, script)
    }

    /// Runs it by a shell script that finds these descriptors from 3 on: two at the most.
    ///
    /// # Panics
    /// With more.
    #[must_use]
    pub fn descriptors(mut self, descriptors: impl IntoIterator<Item = OwnedFd>, script: &str) -> Self {
        let mut descriptors = descriptors.into_iter();
        // Standard streams are what a child is given without further ado.
        self.input = Some(descriptors.next().map_or_else(Stdio::null, Stdio::from));
        let second = descriptors.next();
        let fourth = if second.is_some() { "4>&1" } else { "" };
        self.output = second.map(Stdio::from);
        assert!(descriptors.next().is_none(), "there are no more standard streams to pass them by");
        let script = format!("exec 3<&0 {fourth} </dev/null >&2; {script}");
        self.launcher(["sh", "-c", &script, "sh"])
    }

    /// Gives it another standard error than the log. The addresses it listens on are not known then.
    #[must_use]
    pub fn errors(mut self, errors: Stdio) -> Self {
        self.errors = Some(errors);
        self
    }

    /// With a counter on a free port, and with clients that may take as long as they like.
    #[must_use]
    pub fn for_a_storm(self) -> Self {
        let patient = ["header-timeout", "keep-alive-timeout", "body-timeout"];
        let start = self.argument("--raw").argument("127.0.0.1:0");
        patient.into_iter().fold(start, |start, name| start.set(name, "10m"))
    }

    /// Binds it to a unix socket in its folder, in place of a port, and returns the address.
    #[must_use]
    pub fn unix(self) -> (Self, String) {
        let address = format!("unix:{}", self.path("lab.sock").display());
        (self.set("bind", &address), address)
    }

    /// A path in its folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    /// When it does not start or does not become ready.
    #[must_use]
    pub fn ready(self) -> Lab {
        let mut lab = self.spawn();
        lab.wait_until_ready();
        lab
    }

    /// Starts it and waits until it has ended, which has to be soon.
    ///
    /// # Panics
    /// When it does not start, does not end, or leaves processes behind.
    #[must_use]
    pub fn ended(self) -> Ended {
        let lab = self.spawn();
        let end = lab.end_of(lab.first());
        lab.until("no process is left", || lab.processes().is_empty());
        Ended { end, log: lab.log() }
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    #[expect(clippy::zombie_processes, reason = "`Lab` waits for the whole group")]
    pub fn spawn(mut self) -> Lab {
        let program = self.path("lab");
        self.program.install(&program);
        let mut command = self.command(&program);
        let log = OpenOptions::new().create(true).append(true).open(self.path("log")).expect("a log");
        let output = self.output.take().unwrap_or_else(|| log.try_clone().expect("a descriptor").into());
        command.stdin(self.input.take().unwrap_or_else(Stdio::null)).stdout(output);
        command.stderr(self.errors.take().unwrap_or_else(|| log.into()));
        if !self.own_session {
            command.process_group(0);
        }
        let child = command.spawn().expect("a server");
        let expected = Expected {
            workers: self.setting("workers").and_then(|count| count.parse().ok()),
            pid_file: self.setting("pid-file").is_some(),
            control: self.setting("control").map(Into::into),
        };
        let first = i32::try_from(child.id()).expect("a pid");
        Lab::new(first, self.folder, program, expected)
    }

    /// Starts it as a daemon, that is by a command that returns when it is ready, with
    /// its log in its folder.
    ///
    /// # Panics
    /// When the command fails, or says anything.
    #[must_use]
    pub fn daemon(self) -> Lab {
        // Before the command ends: the daemon becomes an orphan then.
        prctl::set_child_subreaper(true).expect("Linux has subreapers");
        let log = self.path("log").display().to_string();
        let start = self.set("log", &log).argument("--daemonize");
        let program = start.path("lab");
        start.program.install(&program);
        // With pipes: it returns when nobody holds them any more.
        let output = start.command(&program).stdin(Stdio::null()).output().expect("a server");
        assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let expected = Expected {
            workers: start.setting("workers").and_then(|count| count.parse().ok()),
            pid_file: start.setting("pid-file").is_some(),
            control: start.setting("control").map(Into::into),
        };
        let pid = fs::read_to_string(start.path("lab.pid")).expect("it is ready, so there is a pid file");
        let pid: i32 = pid.trim().parse().expect("a pid");
        let group = Process::read(pid).expect("it is ready, so it is there").group;
        let mut lab = Lab::new(pid, start.folder, program, expected).in_group(group);
        lab.wait_until_ready();
        lab
    }

    /// The command that starts it, without streams and process group.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = if let Some((launcher, rest)) = self.launcher.split_first() {
            let mut command = Command::new(launcher);
            command.args(rest).arg(program);
            command
        } else {
            Command::new(program)
        };
        if let Some(argument) = &self.first_argument {
            command.arg0(argument);
        }
        for (name, value) in &self.settings {
            command.arg(format!("--{name}"));
            command.args(value);
        }
        command.args(&self.arguments);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.working_folder.as_deref().unwrap_or(self.folder.path()));
        command
    }

    fn setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().find(|(known, _)| known == name)?.1.as_deref()
    }
}

impl Ended {
    /// Asserts that it ended with `code` after one line that holds all of `words`.
    ///
    /// # Panics
    /// When it did not.
    pub fn assert_one_line(&self, code: i32, words: &[&str]) {
        assert_eq!(self.end, End::Code(code), "log:\n{}", self.log);
        assert_eq!(self.log.lines().count(), 1, "more or less than one line:\n{}", self.log);
        for word in words {
            assert!(self.log.contains(word), "`{word}` is not in: {}", self.log);
        }
    }
}
