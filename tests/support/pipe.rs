//! A log that goes through a pipe.

use std::fs::OpenOptions;
use std::io::{self, PipeReader, Read, Write};
use std::process::Stdio;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::lab::Lab;
use crate::log;

/// Who reads what a server says on a pipe. When this is dropped, nobody does.
#[derive(Debug)]
pub struct Reader(PipeReader);

impl Reader {
    /// A pipe: who reads it, and the end to write to.
    ///
    /// # Panics
    /// When the system has no pipe.
    #[must_use]
    pub fn pipe() -> (Self, Stdio) {
        let (reader, writer) = io::pipe().expect("a pipe");
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("a pipe takes O_NONBLOCK");
        (Self(reader), writer.into())
    }

    /// The same with room for one page only, so that it is full as soon as nobody reads.
    ///
    /// # Panics
    /// When the system has no pipe.
    #[must_use]
    pub fn narrow_pipe() -> (Self, Stdio) {
        let (reader, errors) = Self::pipe();
        fcntl(&reader.0, FcntlArg::F_SETPIPE_SZ(4096)).expect("a smaller pipe");
        (reader, errors)
    }

    /// Copies what comes to the server's log until it is ready.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn until_ready(&mut self, lab: &mut Lab) {
        let mut copy = OpenOptions::new().append(true).open(lab.path("log")).expect("a log");
        lab.until("the server says that it is ready", || {
            let mut said = Vec::new();
            // Until there is nothing more now, which is an error.
            let _ = self.0.read_to_end(&mut said);
            copy.write_all(&said).expect("a log");
            log::READY.count(&lab.log()) > 0
        });
        lab.wait_until_ready();
    }
}
