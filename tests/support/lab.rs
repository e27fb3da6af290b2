//! A running server, and all processes that came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{self, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde::Deserialize;

use crate::client::{self, Answer, Client, Failure};
use crate::log;
use crate::procfs::{self, Process, Role, Stage, State};
use crate::program::Program;
use crate::wait;

/// A server in its own process group. Whatever of the group still lives when
/// this is dropped is killed; after a panic its log and processes are printed.
#[derive(Debug)]
pub struct Lab {
    first: i32,
    group: i32,
    folder: tempfile::TempDir,
    program: PathBuf,
    expected: Expected,
    addresses: Vec<String>,
    /// How processes of the group have ended that were children of this one:
    /// the first one, and every orphan.
    ends: Mutex<BTreeMap<i32, End>>,
}

/// What tells that the server is ready.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// Its number of workers, where the test has set it.
    pub(crate) workers: Option<usize>,
    /// Whether it writes `lab.pid`.
    pub(crate) pid_file: bool,
    /// Its control socket, which is there a moment after the workers are.
    pub(crate) control: Option<PathBuf>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// The answer to `GET /whoami`.
#[derive(Clone, Debug, Deserialize)]
pub struct Whoami {
    /// The worker.
    pub pid: i32,
    /// Its master.
    pub master: i32,
    /// Its slot.
    pub slot: u16,
    /// Its generation.
    pub generation: u32,
    /// What it has answered.
    pub requests: u64,
    /// The value of `LAB_BUILD`.
    pub build: Option<String>,
}

impl Lab {
    pub(crate) fn new(first: i32, folder: tempfile::TempDir, program: PathBuf, expected: Expected) -> Self {
        // Orphans become children of this process, so that their ends can be told and nothing stays as a zombie.
        prctl::set_child_subreaper(true).expect("Linux has subreapers");
        let ends = Mutex::new(BTreeMap::new());
        Self { first, group: first, folder, program, expected, addresses: Vec::new(), ends }
    }

    /// The same, of a server that has a group of its own making.
    pub(crate) fn in_group(mut self, group: i32) -> Self {
        self.group = group;
        self
    }

    /// Waits until every worker is ready and the addresses are known.
    ///
    /// # Panics
    /// When that does not happen.
    pub fn wait_until_ready(&mut self) {
        let Expected { workers, pid_file, control } = self.expected.clone();
        self.until("the server is ready", || {
            assert!(!self.has_ended(self.first), "the server has ended");
            let ready = self.ready().len();
            // How many there should be, only the server knows: it says when all are ready.
            let all = workers.map_or_else(|| log::READY.count(&self.log()) > 0, |workers| ready == workers);
            let files =
                (!pid_file || self.path("lab.pid").exists()) && control.as_ref().is_none_or(|path| path.exists());
            ready > 0 && all && files
        });
        self.addresses = log::listening(&self.log()).iter().map(ToString::to_string).collect();
    }

    /// Waits until a server on demand waits for its first connection, and the addresses are known.
    ///
    /// # Panics
    /// When that does not happen.
    pub fn wait_until_dormant(&mut self) {
        self.until("it waits for somebody", || {
            assert!(!self.has_ended(self.first), "the server has ended");
            log::DORMANT.count(&self.log()) > 0 && self.expected.control.as_ref().is_none_or(|path| path.exists())
        });
        self.addresses = log::listening(&self.log()).iter().map(ToString::to_string).collect();
    }

    /// The process that was started first.
    #[must_use]
    pub fn first(&self) -> i32 {
        self.first
    }

    /// The master that serves: the pid file's, or the first one without a pid file.
    #[must_use]
    pub fn serving(&self) -> i32 {
        self.pid_file("lab.pid").unwrap_or(self.first)
    }

    /// The pid in a pid file of its folder.
    #[must_use]
    pub fn pid_file(&self, name: &str) -> Option<i32> {
        fs::read_to_string(self.path(name)).ok()?.trim().parse().ok()
    }

    /// The generation of the serving master, by its title.
    #[must_use]
    pub fn generation(&self) -> Option<u32> {
        match Process::read(self.serving())?.role() {
            Role::Master { generation } => Some(generation),
            Role::Worker { .. } | Role::Other => None,
        }
    }

    /// A path in its folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The path that an upgrade starts.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Puts another program at the path that an upgrade starts.
    ///
    /// # Panics
    /// When the file system refuses.
    pub fn install(&self, program: &Program) {
        program.install(&self.program);
    }

    /// All living processes of the group, and zombies that somebody else has to reap.
    #[must_use]
    pub fn processes(&self) -> Vec<Process> {
        self.reap();
        procfs::group(self.group)
    }

    /// The living children of the serving master that are workers.
    #[must_use]
    pub fn workers(&self) -> BTreeSet<i32> {
        self.workers_of(self.serving(), |_| true)
    }

    /// The workers of the serving master that have booted and do not drain.
    #[must_use]
    pub fn ready(&self) -> BTreeSet<i32> {
        self.workers_of(self.serving(), |stage| stage == Stage::Ready)
    }

    /// The slots of those: one whose successor is ready may not have been told yet, and be ready as well.
    #[must_use]
    pub fn ready_slots(&self) -> BTreeSet<u16> {
        let slot = |pid: i32| match Process::read(pid)?.role() {
            Role::Worker { slot, .. } => Some(slot),
            Role::Master { .. } | Role::Other => None,
        };
        self.ready().into_iter().filter_map(slot).collect()
    }

    /// The living workers of any master at a stage.
    #[must_use]
    pub fn workers_of(&self, master: i32, stage: impl Fn(Stage) -> bool) -> BTreeSet<i32> {
        let is_one = |process: &Process| match process.role() {
            Role::Worker { stage: now, .. } => process.parent == master && !process.is_zombie() && stage(now),
            Role::Master { .. } | Role::Other => false,
        };
        self.processes().into_iter().filter(is_one).map(|process| process.pid).collect()
    }

    /// All living masters. A newborn worker still has the title of the master
    /// that it was forked from, and does not count.
    #[must_use]
    pub fn masters(&self) -> BTreeSet<i32> {
        let processes = self.processes();
        let has_title = |pid: i32, title: &str| processes.iter().any(|other| other.pid == pid && other.title == title);
        let is_one = |process: &&Process| {
            matches!(process.role(), Role::Master { .. }) && !has_title(process.parent, &process.title)
        };
        processes.iter().filter(is_one).map(|process| process.pid).collect()
    }

    /// What was said on the standard streams so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(self.path("log")).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// The first address it listens on.
    ///
    /// # Panics
    /// When the log has not said one.
    #[must_use]
    pub fn address(&self) -> &str {
        self.addresses.first().expect("the log says where the server listens")
    }

    /// All TCP addresses it listens on.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// The address of the counter, of a lab that was started with one: which it is, the log does not say.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn counter(&self) -> &str {
        let speaks_no_http = |address: &&String| client::get(address, "/").is_err();
        self.addresses.iter().find(speaks_no_http).expect("the lab was started with a counter")
    }

    /// One request on a connection of its own.
    ///
    /// # Errors
    /// As [`client::get`].
    pub fn get(&self, path: &str) -> Result<Answer, Failure> {
        client::get(self.address(), path)
    }

    /// Who answers now.
    ///
    /// # Panics
    /// When nobody does.
    #[must_use]
    pub fn whoami(&self) -> Whoami {
        self.get("/whoami").unwrap_or_else(|failure| panic!("nobody serves: {failure}")).whoami()
    }

    /// Sends a signal to the serving master.
    pub fn signal(&self, signal: Signal) {
        self.signal_to(self.serving(), signal);
    }

    /// Sends a signal to one process of the group, if it is still there.
    pub fn signal_to(&self, pid: i32, signal: Signal) {
        // A pid that left the group may be anybody's by now.
        if Process::read(pid).is_some_and(|process| process.group == self.group) {
            let _ = signal::kill(Pid::from_raw(pid), signal);
        }
    }

    /// Sends a signal to the whole group, as a terminal or a service manager does.
    pub fn signal_all(&self, signal: Signal) {
        let _ = signal::killpg(Pid::from_raw(self.group), signal);
    }

    /// Stops a process in its tracks, and waits until it stands.
    pub fn freeze(&self, pid: i32) {
        self.signal_to(pid, Signal::SIGSTOP);
        self.until("the process is stopped", || Process::read(pid).is_none_or(|process| process.state == 'T'));
    }

    /// Lets a process go on.
    pub fn thaw(&self, pid: i32) {
        self.signal_to(pid, Signal::SIGCONT);
    }

    /// Waits until `condition` holds.
    ///
    /// # Panics
    /// When it does not, in time; the log and the processes are printed.
    pub fn until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        wait::until(what, || condition().then_some(()));
    }

    /// Waits until a worker sleeps: one that has only just said that it is ready is still in the turn that said so.
    ///
    /// # Panics
    /// When that does not happen.
    pub fn until_asleep(&self, worker: i32) {
        self.until("the worker sleeps", || Process::read(worker).is_some_and(|process| process.state == 'S'));
    }

    /// A request that is being answered until `end` is sent: an echo of `beginend`.
    ///
    /// # Panics
    /// When it is not answered.
    #[must_use]
    pub fn in_the_middle(&self) -> Client {
        let mut client = Client::connect(self.address()).expect("a connection");
        client.begin_post("/echo", "content-length: 8\r\n", "begin").expect("the answer begins");
        client
    }

    /// Waits until a process of the group has read all that a client has sent to one of its TCP addresses.
    ///
    /// # Panics
    /// When that does not happen.
    pub fn until_read(&self, address: &str, client: &Client) {
        let port = port(address);
        self.until("what was sent is read", || procfs::has_read_all(port, client.port()));
    }

    /// How many bytes that have come to its first address were not read.
    #[must_use]
    pub fn unread(&self) -> u32 {
        procfs::sockets(port(self.address())).iter().map(|socket| socket.unread).sum()
    }

    /// How many sockets listen on its first address: with `SO_REUSEPORT`, its queues.
    #[must_use]
    pub fn queues(&self) -> usize {
        sockets(self.address(), State::Listens)
    }

    /// How many connections to one of its TCP addresses somebody holds on its side.
    #[must_use]
    pub fn connections(&self, address: &str) -> usize {
        sockets(address, State::Open)
    }

    /// Waits until the log has `count` such lines.
    ///
    /// # Panics
    /// When it has not, in time.
    pub fn until_logged(&self, line: log::Line, count: usize) {
        self.until(&format!("{count} log lines with {:?}", line.0), || line.count(&self.log()) >= count);
    }

    /// How a process has ended; waits for it. Told for the first process, and
    /// for those whose parent was gone before them.
    ///
    /// # Panics
    /// When it does not end.
    #[must_use]
    pub fn end_of(&self, pid: i32) -> End {
        wait::until(&format!("process {pid} has ended"), || {
            self.reap();
            self.ends().get(&pid).copied()
        })
    }

    /// Whether a process, of which the end can be told, has ended.
    #[must_use]
    pub fn has_ended(&self, pid: i32) -> bool {
        self.reap();
        self.ends().contains_key(&pid)
    }

    /// Replaces the running program, waits until only the new one is left, and returns its pid.
    ///
    /// # Panics
    /// When that does not happen.
    pub fn upgrade(&self) -> i32 {
        let old = self.serving();
        let slots = self.ready_slots();
        self.signal(Signal::SIGUSR2);
        self.until("the successor serves", || self.serving() != old && self.ready_slots() == slots);
        self.until("the predecessor is gone", || self.processes().iter().all(|process| process.pid != old));
        self.serving()
    }

    /// Stops the server with TERM and asserts that it ends well and leaves nothing.
    ///
    /// # Panics
    /// When it does not.
    pub fn stop(self) {
        let serving = self.serving();
        self.signal(Signal::SIGTERM);
        assert_eq!(self.end_of(serving), End::Code(0));
        self.assert_gone();
    }

    /// Waits until an operation that was signalled is over, and stops the server if that was not it.
    ///
    /// # Panics
    /// When that does not happen.
    pub fn end_after(self, operation: Signal, done: log::Line) {
        self.until_logged(done, 1);
        match operation {
            Signal::SIGTERM => self.assert_gone(),
            Signal::SIGUSR2 => {
                self.until("the predecessor is gone", || self.has_ended(self.first()));
                self.stop();
            }
            _ => self.stop(),
        }
    }

    /// Asserts that, soon, no process and no pid file is left.
    ///
    /// # Panics
    /// When something is.
    pub fn assert_gone(&self) {
        self.until("no process is left", || self.processes().is_empty());
        let files = fs::read_dir(self.folder.path()).expect("its folder");
        let names = files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned());
        let left: Vec<String> = names.filter(|name| name.starts_with("lab.pid")).collect();
        assert!(left.is_empty(), "pid files are left: {left:?}");
    }

    fn reap(&self) {
        let mut ends = self.ends();
        loop {
            let (pid, end) = match waitpid(Pid::from_raw(-self.group), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, End::Code(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, End::Signal(signal as i32)),
                Err(Errno::EINTR) => continue,
                // Nothing has ended, or nothing is left.
                Ok(_) | Err(_) => return,
            };
            ends.insert(pid.as_raw(), end);
        }
    }

    fn ends(&self) -> std::sync::MutexGuard<'_, BTreeMap<i32, End>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self) {
        eprintln!("---- processes of group {} (pid, parent, group, state, title)", self.group);
        for process in self.processes() {
            eprintln!("{process}");
        }
        eprintln!("---- ended: {:?}", self.ends());
        eprintln!("---- log\n{}----", self.log());
    }
}

fn sockets(address: &str, state: State) -> usize {
    procfs::sockets(port(address)).iter().filter(|socket| socket.state == state).count()
}

fn port(address: &str) -> u16 {
    address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_else(|| panic!("no port: {address}"))
}

impl Drop for Lab {
    fn drop(&mut self) {
        if thread::panicking() {
            self.report();
        }
        // Killed again and again: a process may fork between two looks.
        wait::within(Duration::from_secs(10), || {
            let _ = signal::killpg(Pid::from_raw(self.group), Signal::SIGKILL);
            self.processes().is_empty().then_some(())
        });
    }
}
