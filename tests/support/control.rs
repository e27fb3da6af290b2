//! An operator at the control socket of a server.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use hatchery_control::{Client, ClientError, Refusal, Reply, Request, Status};

use crate::wait::PATIENCE;
use crate::{Lab, Start};

/// The name of the socket in the server's folder.
pub const SOCKET: &str = "lab.ctl";

/// An answer: what was told meanwhile, and the last word.
#[derive(Debug)]
pub struct Told {
    /// Each line of progress.
    pub progress: Vec<String>,
    /// How it ended.
    pub last: Result<Reply, ClientError>,
}

impl Start {
    /// With a control socket in its folder.
    #[must_use]
    pub fn controlled(self) -> Self {
        let path = self.path(SOCKET).display().to_string();
        self.set("control", &path)
    }
}

impl Lab {
    /// The path of its control socket.
    #[must_use]
    pub fn control_path(&self) -> PathBuf {
        self.path(SOCKET)
    }

    /// Asks, and waits for the last word.
    #[must_use]
    pub fn ask(&self, request: &Request) -> Told {
        ask(&self.control_path(), request)
    }

    /// Asks on a thread of its own.
    #[must_use]
    pub fn asks(&self, request: Request) -> JoinHandle<Told> {
        let path = self.control_path();
        thread::spawn(move || ask(&path, &request))
    }

    /// How it is, as the serving master says.
    ///
    /// # Panics
    /// When it does not say.
    #[must_use]
    pub fn status(&self) -> Status {
        self.ask(&Request::Status).status()
    }

    /// The names in its folder that begin with that of the control socket.
    ///
    /// # Panics
    /// When the folder cannot be read.
    #[must_use]
    pub fn sockets(&self) -> Vec<String> {
        let folder = self.path("");
        let files = std::fs::read_dir(folder).expect("its folder");
        let names = files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with(SOCKET)).collect()
    }
}

impl Told {
    /// The text of what was done.
    ///
    /// # Panics
    /// When it was not.
    #[must_use]
    pub fn done(&self) -> &str {
        match &self.last {
            Ok(Reply::Done { text }) => text,
            other => panic!("not done: {other:?}, after {:?}", self.progress),
        }
    }

    /// Why it was not done.
    ///
    /// # Panics
    /// When it was.
    #[must_use]
    pub fn failed(&self) -> (Refusal, &str) {
        match &self.last {
            Ok(Reply::Failed { because, text }) => (*because, text),
            other => panic!("it did not fail: {other:?}, after {:?}", self.progress),
        }
    }

    /// The status.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn status(self) -> Status {
        match self.last {
            Ok(Reply::Status { status }) => *status,
            other => panic!("no status: {other:?}"),
        }
    }
}

/// Asks at this path, and waits for the last word.
///
/// # Panics
/// Never.
#[must_use]
pub fn ask(path: &Path, request: &Request) -> Told {
    let mut progress = Vec::new();
    let last = Client::connect(path).and_then(|mut client| {
        client.set_patience(Some(PATIENCE)).expect("a time that is not zero");
        client.ask(request, |reply| {
            if let Reply::Progress { text, .. } = reply {
                progress.push(text);
            }
        })
    });
    Told { progress, last }
}

/// Sends these bytes as they are, and reads until the master closes, or for the time that tests wait.
///
/// # Errors
/// When nobody listens.
pub fn send_raw(path: &Path, bytes: &[u8]) -> io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // Who is refused may find the other end closed.
    let _ = stream.write_all(bytes);
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard);
    Ok(String::from_utf8_lossy(&heard).into_owned())
}
