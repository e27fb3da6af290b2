//! The client's end of the control socket.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::{Reply, Request};

/// The client's end of a control socket; it blocks.
///
/// ```no_run
/// use hatchery_control::{Client, Reply, Request};
///
/// let mut client = Client::connect("/run/app.ctl".as_ref())?;
/// let last = client.ask(&Request::Reload { wait: true }, |progress| println!("{progress:?}"))?;
/// if let Reply::Failed { text, .. } = last {
///     eprintln!("not reloaded: {text}");
/// }
/// # Ok::<(), hatchery_control::ClientError>(())
/// ```
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

/// Why there is no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody answers at that path.
    #[error("cannot connect to the control socket {path}: {source}{hint}")]
    Connect {
        /// The path.
        path: PathBuf,
        /// What to look at.
        hint: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the control socket {path} failed: {source}")]
    Broken {
        /// The path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The master went away before it had answered.
    #[error("the master at {path} went away before it had answered")]
    Gone {
        /// The path.
        path: PathBuf,
    },
    /// What was answered is of another version, or not from a master.
    #[error("the answer from {path} cannot be read: {text}")]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        text: String,
    },
}

impl Client {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// When nobody listens there, or this process may not connect.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path).map_err(|source| {
            let hint = match source.kind() {
                io::ErrorKind::NotFound => " (is the server started with --control and this path?)",
                io::ErrorKind::ConnectionRefused => " (the server that had made it is gone)",
                io::ErrorKind::PermissionDenied => " (its owner and root may; --control-mode lets others)",
                _ => "",
            };
            ClientError::Connect { path: path.to_owned(), hint, source }
        })?;
        Ok(Self { path: path.to_owned(), stream: BufReader::new(stream) })
    }

    /// How long to wait for each line of an answer; `None`, as at first: for ever.
    ///
    /// # Errors
    /// When the time is zero.
    pub fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.stream.get_ref().set_read_timeout(patience)
    }

    /// Asks, gives every reply but the last to `meanwhile`, and returns the last.
    ///
    /// # Errors
    /// When there is none.
    pub fn ask(&mut self, request: &Request, mut meanwhile: impl FnMut(Reply)) -> Result<Reply, ClientError> {
        let broken = |path: &Path, source| ClientError::Broken { path: path.to_owned(), source };
        let sent = self.stream.get_mut().write_all(request.to_line().as_bytes());
        // A master that refuses a client says why, and reads nothing: its answer is there.
        if let Err(source) = sent
            && source.kind() != io::ErrorKind::BrokenPipe
        {
            return Err(broken(&self.path, source));
        }
        loop {
            let mut line = String::new();
            match self.stream.read_line(&mut line) {
                Ok(0) => return Err(ClientError::Gone { path: self.path.clone() }),
                Ok(_) => {}
                Err(source) if source.kind() == io::ErrorKind::ConnectionReset => {
                    return Err(ClientError::Gone { path: self.path.clone() });
                }
                Err(source) => return Err(broken(&self.path, source)),
            }
            let reply = Reply::from_line(&line)
                .map_err(|error| ClientError::Unreadable { path: self.path.clone(), text: error.to_string() })?;
            if reply.is_last() {
                return Ok(reply);
            }
            meanwhile(reply);
        }
    }

    /// Waits until the master closes the connection: after the answer to a stop that was waited for, that is the end of its
    /// process. It does not say whether `patience` was over first.
    pub fn wait_for_end(&mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // What cannot be waited for is not waited for.
            if left.is_zero() || self.set_patience(Some(left)).is_err() {
                return;
            }
            match self.stream.fill_buf() {
                Ok([]) | Err(_) => return,
                Ok(more) => {
                    let more = more.len();
                    self.stream.consume(more);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;
    use crate::Level;

    fn progress() -> Reply {
        Reply::Progress { text: "a".to_owned(), level: Level::Info }
    }

    #[test]
    fn an_answer_is_progress_and_a_last_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ctl");
        let listener = UnixListener::bind(&path).unwrap();
        let master = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(Request::from_line(&line), Ok(Request::Reload { wait: true }));
            for reply in [progress(), Reply::Done { text: "b".to_owned() }] {
                stream.write_all(reply.to_line().as_bytes()).unwrap();
            }
        });
        let mut heard = Vec::new();
        let mut client = Client::connect(&path).unwrap();
        let last = client.ask(&Request::Reload { wait: true }, |reply| heard.push(reply)).unwrap();
        assert_eq!(last, Reply::Done { text: "b".to_owned() });
        assert_eq!(heard, [progress()]);
        assert!(matches!(client.ask(&Request::Status, |_| ()), Err(ClientError::Gone { .. })));
        master.join().unwrap();
    }

    #[test]
    fn who_cannot_connect_is_told_what_to_look_at() {
        let folder = tempfile::tempdir().unwrap();
        let error = Client::connect(&folder.path().join("ctl")).unwrap_err().to_string();
        assert!(error.contains("is the server started with --control"), "{error}");
    }
}
