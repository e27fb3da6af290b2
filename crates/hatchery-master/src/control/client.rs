//! One client of the control socket: what it costs is bounded, whatever it does.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use hatchery_control::{LONGEST_REQUEST, Level, Refusal, Reply, Request, Unreadable, Until};
use hatchery_sys::poll::Interest;
use hatchery_sys::socket::{self, Credentials};

use super::listing::Cursor;
use super::waiting::Wait;

/// From the first byte of a request to its end, however slowly the others come.
const SLOW: Duration = Duration::from_secs(10);

/// For an answer that is not read.
const STALL: Duration = Duration::from_secs(10);

/// Between two requests.
const IDLE: Duration = Duration::from_secs(60);

/// What may wait to be read before progress is left out. An answer itself is always written.
const MOST_PROGRESS: usize = 64 * 1024;

/// Somebody who has connected.
#[derive(Debug)]
pub(super) struct Client {
    stream: UnixStream,
    pub(super) who: Credentials,
    input: Vec<u8>,
    output: Vec<u8>,
    pub(super) state: State,
    /// When it last got on: see [`deadline`](Self::deadline).
    since: Instant,
}

/// What it is about.
#[derive(Debug)]
pub(super) enum State {
    /// A request is waited for, or a part of one has come.
    Asking,
    /// A request has come, and nobody has looked at it.
    Asked,
    /// It has asked for an operation.
    Waiting(Wait),
    /// It is told of all connections, some at a time.
    Listing(Cursor),
    /// It waits for an upgrade, and it is the predecessor who answers while it lives.
    Entrusted(Until),
    /// What is left is written, and then it is over.
    Leaving,
}

/// What a client would lose with its place, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hold {
    /// What it was told already, or half a request.
    Nothing,
    /// The rest of a list.
    List,
    /// What it has asked a moment ago.
    Request,
}

/// What has come of reading.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Request(Request),
    /// Nothing that is whole.
    Nothing,
    /// It is gone.
    Gone,
}

impl Client {
    pub(super) fn new(stream: UnixStream, who: Credentials, state: State) -> Self {
        Self { stream, who, input: Vec::new(), output: Vec::new(), state, since: Instant::now() }
    }

    pub(super) fn source(&self) -> (BorrowedFd<'_>, Interest) {
        let interest = match self.state {
            _ if !self.output.is_empty() => Interest::Write,
            State::Asking => Interest::Read,
            State::Listing(_) => Interest::Write,
            State::Asked | State::Waiting(_) | State::Entrusted(_) | State::Leaving => Interest::End,
        };
        (self.stream.as_fd(), interest)
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// When it is closed for not having got on.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let limit = match self.state {
            State::Leaving => STALL,
            _ if !self.output.is_empty() => STALL,
            State::Asking if self.input.is_empty() => IDLE,
            State::Asking => SLOW,
            // Whoever waits does so for as long as the operation takes.
            State::Asked | State::Waiting(_) | State::Entrusted(_) | State::Listing(_) => return None,
        };
        Some(self.since + limit)
    }

    /// What it would lose with its place; `None` for one that keeps it.
    pub(super) fn hold(&self) -> Option<Hold> {
        match self.state {
            State::Asking | State::Leaving => Some(Hold::Nothing),
            State::Listing(_) => Some(Hold::List),
            State::Asked => Some(Hold::Request),
            State::Waiting(_) | State::Entrusted(_) => None,
        }
    }

    /// Whether it waits for an operation, which may take long.
    pub(super) fn waits(&self) -> bool {
        matches!(self.state, State::Waiting(_) | State::Entrusted(_))
    }

    /// When the clock alone answers it.
    pub(super) fn answered_at(&self) -> Option<Instant> {
        match &self.state {
            State::Waiting(wait) => wait.deadline(),
            State::Asking | State::Asked | State::Listing(_) | State::Entrusted(_) | State::Leaving => None,
        }
    }

    /// When it last got on.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// Whether it has sent nothing and is owed nothing.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state, State::Asking) && self.input.is_empty() && self.output.is_empty()
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Leaving) && self.output.is_empty()
    }

    /// Reads what has come, up to one request: nothing more is read before that is answered.
    pub(super) fn hear(&mut self) -> Heard {
        let mut is_over = false;
        while matches!(self.state, State::Asking) && !self.input.contains(&b'\n') && !is_over {
            let mut piece = [0; 1024];
            let room = piece.len().min(LONGEST_REQUEST - self.input.len());
            match self.stream.read(&mut piece[..room]) {
                Ok(0) => is_over = true,
                Ok(n) => {
                    if self.input.is_empty() {
                        self.since = Instant::now();
                    }
                    self.input.extend_from_slice(&piece[..n]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Heard::Nothing,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Heard::Gone,
            }
            if self.input.len() >= LONGEST_REQUEST && !self.input.contains(&b'\n') {
                self.refuse(Refusal::Invalid, format!("a request is one line of {LONGEST_REQUEST} bytes at most"));
                return Heard::Nothing;
            }
        }
        let request = self.next_request();
        if is_over && request == Heard::Nothing && matches!(self.state, State::Asking) {
            // Half a request, or none, and no more will come.
            return Heard::Gone;
        }
        request
    }

    /// The request that has come with the one before it.
    pub(super) fn next_request(&mut self) -> Heard {
        let end = self.input.iter().position(|byte| *byte == b'\n');
        let (true, Some(end)) = (matches!(self.state, State::Asking) && self.output.is_empty(), end) else {
            return Heard::Nothing;
        };
        let line: Vec<u8> = self.input.drain(..=end).collect();
        self.since = Instant::now();
        let read = std::str::from_utf8(&line)
            .map_err(|_| Unreadable::Invalid("it is no text".to_owned()))
            .and_then(Request::from_line);
        match read {
            Ok(request) => {
                self.state = State::Asked;
                Heard::Request(request)
            }
            Err(unreadable) => {
                self.refuse(Refusal::Invalid, unreadable.to_string());
                Heard::Nothing
            }
        }
    }

    /// Tells it that, and closes.
    pub(super) fn refuse(&mut self, because: Refusal, text: String) {
        self.input = Vec::new();
        self.say(&Reply::Failed { because, text });
        self.state = State::Leaving;
    }

    /// The last line of an answer: the next request may come.
    pub(super) fn answer(&mut self, reply: &Reply) {
        self.state = State::Asking;
        self.say(reply);
    }

    /// What goes on with what it has asked for.
    pub(super) fn goes_on(&mut self, text: &str) {
        self.progress(&Reply::Progress { text: text.to_owned(), level: Level::Info });
    }

    /// A line that others follow; left out if it does not read.
    pub(super) fn progress(&mut self, reply: &Reply) {
        if self.output.len() < MOST_PROGRESS {
            self.say(reply);
        }
    }

    fn say(&mut self, reply: &Reply) {
        if self.output.is_empty() {
            self.since = Instant::now();
        }
        self.output.extend_from_slice(reply.to_line().as_bytes());
        // What cannot be written is found out at the next wait.
        let _ = self.flush();
    }

    /// Writes what the client takes.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            match socket::send(self.stream.as_fd(), &self.output) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.output.drain(..written);
                    self.since = Instant::now();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // What one long answer has taken is not kept.
        self.output = Vec::new();
        Ok(())
    }

    pub(super) fn has_read_all(&self) -> bool {
        self.output.is_empty()
    }
}
