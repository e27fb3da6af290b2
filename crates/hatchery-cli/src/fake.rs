//! A master for tests: it answers what it was told to.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};
use std::thread;

use hatchery_control::{
    Listener, MasterState, Operation, Predecessor, Reply, Request, Status, Totals, VERSION, WorkerState, WorkerStatus,
};

use crate::args::Server;

/// A socket at which somebody answers, one connection after the other.
#[derive(Debug)]
pub(crate) struct Fake {
    folder: tempfile::TempDir,
    heard: Arc<Mutex<Vec<Request>>>,
}

impl Fake {
    /// Answers each connection's one request with these, and closes it then.
    pub(crate) fn answers(answers: impl IntoIterator<Item = Vec<Reply>>) -> Self {
        let mut answers: Vec<Vec<Reply>> = answers.into_iter().collect();
        answers.reverse();
        Self::serves(move |stream| {
            for reply in answers.pop().unwrap_or_default() {
                let _ = stream.write_all(reply.to_line().as_bytes());
            }
        })
    }

    /// Says this, and nothing more, but stays.
    pub(crate) fn begins(replies: impl IntoIterator<Item = Reply>) -> Self {
        let replies: Vec<Reply> = replies.into_iter().collect();
        let mut kept = Vec::new();
        Self::serves(move |stream| {
            for reply in &replies {
                let _ = stream.write_all(reply.to_line().as_bytes());
            }
            kept.push(stream.try_clone());
        })
    }

    /// Reads, and says nothing.
    pub(crate) fn silent() -> Self {
        Self::begins([])
    }

    fn serves(mut serve: impl FnMut(&mut UnixStream) + Send + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("ctl")).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&heard);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut line = String::new();
                BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
                tell.lock().unwrap().push(Request::from_line(&line).unwrap());
                serve(&mut stream);
            }
        });
        Self { folder, heard }
    }

    /// How to get there.
    pub(crate) fn server(&self) -> Server {
        Server::default().of(&self.folder.path().join("ctl"))
    }

    /// What it was asked so far.
    pub(crate) fn heard(&self) -> Vec<Request> {
        self.heard.lock().unwrap().clone()
    }
}

pub(crate) fn text(text: &str) -> String {
    text.to_owned()
}

/// A server that has a bit of everything.
pub(crate) fn status() -> Status {
    let worker = |slot: u16, pid, generation, state, requests| WorkerStatus {
        slot,
        pid,
        generation,
        state,
        name: None,
        connections: 12,
        in_flight: 1,
        requests,
        accepted: 30,
        age_seconds: 75.0,
    };
    let sidecar = WorkerStatus {
        name: Some(text("metrics")),
        connections: 0,
        in_flight: 0,
        requests: 0,
        ..worker(2, 4250, 3, WorkerState::Ready, 0)
    };
    Status {
        version: VERSION,
        master: 4242,
        generation: 3,
        state: MasterState::Serving,
        operation: Some(Operation::Reload),
        stop_in_seconds: None,
        predecessors: vec![Predecessor { master: 4100, generation: 2, control: None }],
        workers: vec![
            worker(0, 4243, 3, WorkerState::Ready, 90_210),
            worker(1, 4244, 3, WorkerState::Draining, 90_111),
            sidecar,
        ],
        totals: Totals { requests: 180_321, connections: 4711, moved: 96, restarts: 2 },
        listeners: vec![
            Listener { address: text("127.0.0.1:8080"), queues: 1, queued: Some(0), backlog: 4096 },
            Listener { address: text("unix:/run/app.sock"), queues: 1, queued: None, backlog: 4096 },
        ],
    }
}
