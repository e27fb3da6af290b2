//! A server in a process group of its own, and the lines that it logs.

use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, thread};

use hatchery_sys::signals::SelfPipe;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::procfs;

/// How long anything may take that ought to happen at once.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The groups to kill when this program is told to end.
static GROUPS: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// A running server. All of the group is killed when this is dropped.
#[derive(Debug)]
pub struct Group {
    child: Child,
    /// The group of a server that has made a session of its own.
    daemon: Option<i32>,
    log: Arc<Log>,
}

/// A line that the server wrote, and when it was read.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its place in the log, from zero.
    pub number: usize,
    /// Just after it was written.
    pub at: Instant,
    /// What it says.
    pub text: String,
}

#[derive(Debug, Default)]
struct Log {
    lines: Mutex<Vec<Line>>,
    written: Condvar,
}

impl Group {
    /// Starts a server, whose standard output and error become the log.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let (read, write) = io::pipe()?;
        let mut child =
            command.stdin(Stdio::null()).stdout(write.try_clone()?).stderr(write).process_group(0).spawn()?;
        // The command holds copies of the pipe; they do no harm: nobody waits for its end.
        lock(&GROUPS).push(pid_of(&child));
        let log = Arc::new(Log::default());
        let reader = Arc::clone(&log);
        if let Err(error) = thread::Builder::new().name("log".to_owned()).spawn(move || reader.fill(read)) {
            child.kill()?;
            child.wait()?;
            return Err(error);
        }
        Ok(Self { child, daemon: None, log })
    }

    /// Starts a server that becomes a daemon, and waits until it has written its pid into a file.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn start_daemon(command: &mut Command, pid_file: &Path) -> io::Result<Self> {
        let mut group = Self::start(command)?;
        let pid = || fs::read_to_string(pid_file).ok()?.trim().parse().ok();
        let starter = group.leader();
        // Debian's nginx writes the file before it makes its session.
        let has_left = |other: &i32| *other != starter;
        let daemon = until("the daemon has a group of its own", || procfs::group_of(pid()?).filter(has_left))?;
        lock(&GROUPS).retain(has_left);
        lock(&GROUPS).push(daemon);
        group.daemon = Some(daemon);
        Ok(group)
    }

    /// The process that was started first, whose pid is the group's too; gone, of a daemon.
    #[must_use]
    pub fn leader(&self) -> i32 {
        pid_of(&self.child)
    }

    /// Everybody in the group.
    #[must_use]
    pub fn pids(&self) -> Vec<i32> {
        procfs::group(self.number())
    }

    /// How many lines there are so far.
    #[must_use]
    pub fn logged(&self) -> usize {
        lock(&self.log.lines).len()
    }

    /// The end of the log, for an error.
    #[must_use]
    pub fn last_lines(&self) -> String {
        format!("the log ends:\n{}", last(&lock(&self.log.lines)))
    }

    /// Waits for a line with `words`, from line number `from` on.
    ///
    /// # Errors
    ///
    /// When it does not come; the error has the log's last lines.
    pub fn wait_for(&self, words: &str, from: usize) -> io::Result<Line> {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = lock(&self.log.lines);
        loop {
            if let Some(line) = lines.iter().skip(from).find(|line| line.text.contains(words)) {
                return Ok(line.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::other(format!("no line with `{words}`; the log ends:\n{}", last(&lines))));
            }
            lines = self.log.written.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Sends a signal to one process of the group, and says when.
    ///
    /// # Errors
    ///
    /// When it is not there.
    pub fn signal(&self, pid: i32, signal: Signal) -> io::Result<Instant> {
        let at = Instant::now();
        kill(Pid::from_raw(pid), signal)?;
        Ok(at)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The first process has not been reaped, so the group's number is still its own; that of a daemon
        // is, as long as anybody is in it.
        if self.daemon.is_none() || !self.pids().is_empty() {
            let _all_gone = killpg(Pid::from_raw(self.number()), Signal::SIGKILL);
        }
        let _ = self.child.wait();
        lock(&GROUPS).retain(|group| *group != self.number());
    }
}

impl Group {
    fn number(&self) -> i32 {
        self.daemon.unwrap_or_else(|| self.leader())
    }
}

impl Log {
    fn fill(&self, from: impl Read) {
        for text in BufReader::new(from).lines() {
            let at = Instant::now();
            let Ok(text) = text else { return };
            let mut lines = lock(&self.lines);
            let number = lines.len();
            lines.push(Line { number, at, text });
            self.written.notify_all();
        }
    }
}

/// Waits until `probe` has an answer, looking every 50 us.
///
/// # Errors
///
/// When [`PATIENCE`] is over first.
pub fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> io::Result<T> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(answer) = probe() {
            return Ok(answer);
        }
        thread::sleep(Duration::from_micros(50));
    }
    Err(io::Error::other(format!("waited {} s in vain: {what}", PATIENCE.as_secs())))
}

/// From now on SIGINT and SIGTERM kill all groups before they end this program.
///
/// # Errors
///
/// When there is no pipe or thread to be had.
pub fn kill_all_when_told_to_end() -> io::Result<()> {
    let pipe = SelfPipe::install(&[Signal::SIGINT, Signal::SIGTERM])?;
    let wait = move || {
        while !hatchery_sys::poll::readable(&[pipe.as_fd()], None).is_ok_and(|ready| ready[0]) {}
        for group in lock(&GROUPS).iter() {
            let _all_gone = killpg(Pid::from_raw(*group), Signal::SIGKILL);
        }
        hatchery_sys::process::exit_now(130);
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait).map(|_handle| ())
}

/// Remembers a group that is not a [`Group`]'s, until the returned value is dropped.
#[must_use]
pub fn remember(child: &Child) -> impl Drop + use<> {
    struct Forget(i32);
    impl Drop for Forget {
        fn drop(&mut self) {
            lock(&GROUPS).retain(|group| *group != self.0);
        }
    }
    lock(&GROUPS).push(pid_of(child));
    Forget(pid_of(child))
}

fn last(lines: &[Line]) -> String {
    let last: Vec<_> = lines.iter().rev().take(12).rev().map(|line| line.text.as_str()).collect();
    last.join("\n")
}

fn pid_of(child: &Child) -> i32 {
    i32::try_from(child.id()).expect("Linux has pids up to 4 million")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
