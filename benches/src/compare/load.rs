//! wrk and h2load: many requests, and what they counted.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::group::remember;

/// A load generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// HTTP/1.1 keep-alive, one request at a time on each connection.
    Wrk,
    /// HTTP/2 with prior knowledge, ten streams at a time on each connection.
    H2load,
}

/// How much load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Connections at once.
    pub connections: u16,
    /// How long.
    pub seconds: u16,
}

/// What a run counted.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// Requests that were answered.
    pub requests: f64,
    /// Requests a second, by the tool's own clock.
    pub rate: f64,
}

impl Tool {
    /// The command's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wrk => "wrk",
            Self::H2load => "h2load",
        }
    }

    /// The Debian package that has it.
    #[must_use]
    pub const fn package(self) -> &'static str {
        match self {
            Self::Wrk => "wrk",
            Self::H2load => "nghttp2-client",
        }
    }

    /// Whether it is there.
    #[must_use]
    pub fn is_installed(self) -> bool {
        let quiet =
            |command: &mut Command| command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        quiet(Command::new(self.name()).arg("--version")).is_ok_and(|mut child| child.wait().is_ok())
    }

    /// What is run, for the reader.
    #[must_use]
    pub fn arguments(self, load: Load, port: u16) -> Vec<String> {
        let (connections, seconds) = (load.connections, load.seconds);
        let line = match self {
            Self::Wrk => format!("-t1 -c{connections} -d{seconds}s http://127.0.0.1:{port}/"),
            Self::H2load => format!("-t1 -c{connections} -m10 -D{seconds} http://127.0.0.1:{port}/"),
        };
        line.split(' ').map(str::to_owned).collect()
    }

    /// Runs it to its end.
    ///
    /// # Errors
    ///
    /// When it does not end in time, and when a single request failed.
    pub fn run(self, load: Load, port: u16) -> io::Result<Counted> {
        let limit = Duration::from_secs(u64::from(load.seconds) + 10);
        let output = output(Command::new(self.name()).args(self.arguments(load, port)), limit)?;
        let failed = match self {
            Self::Wrk => output.contains("Socket errors") || output.contains("Non-2xx"),
            Self::H2load => !output.contains(" 0 failed, 0 errored, 0 timeout"),
        };
        let counted = match self {
            Self::Wrk => Some((before(&output, " requests in"), after(&output, "Requests/sec:"))),
            Self::H2load => Some((before(&output, " succeeded,"), before(&output, " req/s,"))),
        };
        match counted {
            Some((Some(requests), Some(rate))) if !failed => Ok(Counted { requests, rate }),
            _ => Err(io::Error::other(format!("{} did not get every answer:\n{output}", self.name()))),
        }
    }
}

/// The number before some words.
fn before(text: &str, words: &str) -> Option<f64> {
    text.split_once(words)?.0.split_whitespace().next_back()?.parse().ok()
}

/// The number after some words.
fn after(text: &str, words: &str) -> Option<f64> {
    text.split_once(words)?.1.split_whitespace().next()?.parse().ok()
}

/// What a command prints, if it ends in time; else it is killed.
fn output(command: &mut Command, limit: Duration) -> io::Result<String> {
    let mut printed: File = tempfile::tempfile()?;
    command.stdin(Stdio::null()).stdout(printed.try_clone()?).stderr(printed.try_clone()?).process_group(0);
    let mut child = command.spawn()?;
    let _remembered = remember(&child);
    let deadline = Instant::now() + limit;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            let _already_gone = killpg(Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX)), Signal::SIGKILL);
            child.wait()?;
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{command:?} did not end")));
        }
        // Looked at seldom: this program must not take part in what is measured.
        thread::sleep(Duration::from_millis(20));
    }
    let mut text = String::new();
    printed.rewind()?;
    printed.read_to_string(&mut text)?;
    Ok(text)
}
