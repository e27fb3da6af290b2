//! A real worker in a process of its own, driven over its channel as a master would.

mod app;
mod client;
mod gate;
mod kernel;

use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use hatchery_core::QueueId;
use hatchery_core::wire::worker::{MasterSays, WorkerSays};
use hatchery_sys::channel::{Channel, Received};

pub(crate) use app::child;
pub(crate) use client::{Answer, Client};
pub(crate) use gate::{Gate, Waiting};

/// How long any single event may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The variable that makes a run of the test program a worker: its limits in milliseconds and the port of its gate.
const ROLE: &str = "HATCHERY_HTTP_TEST_WORKER";

/// The limits of a worker under test, in milliseconds.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) head: u64,
    pub(crate) body: u64,
    pub(crate) send: u64,
    pub(crate) idle: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head: 15_000, body: 30_000, send: 30_000, idle: 75_000 }
    }
}

/// A worker that serves `app`; killed when dropped.
pub(crate) struct Worker {
    child: Child,
    channel: Channel,
    pub(crate) gate: Gate,
    pub(crate) port: u16,
}

impl Worker {
    pub(crate) fn start() -> Self {
        Self::with_limits(Limits::default())
    }

    pub(crate) fn with_limits(Limits { head, body, send, idle }: Limits) -> Self {
        let gate = Gate::open();
        let (channel, theirs) = Channel::pair().unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "worker_process", "--nocapture"])
            .env(ROLE, format!("{head} {body} {send} {idle} {}", gate.port()))
            .stdin(Stdio::from(theirs.into_fd()))
            .env("RUST_BACKTRACE", "0")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut worker = Self { child, channel, gate, port: 0 };
        let port = worker.receive();
        worker.port = u16::from_be_bytes([port[0], port[1]]);
        assert_eq!(WorkerSays::decode(&worker.receive()), Ok(WorkerSays::Ready));
        worker.say(&MasterSays::Assign { queues: vec![QueueId(0)] });
        worker
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.port)
    }

    /// A connection that the worker has accepted.
    pub(crate) fn connect_accepted(&self) -> Client {
        let client = self.connect();
        kernel::wait_accepted(self.port, client.port());
        client
    }

    /// Waits until the worker has read all that `client` has sent.
    pub(crate) fn wait_read(&self, client: &Client) {
        kernel::wait_read(self.port, client.port());
    }

    /// Waits until the worker has closed the connection.
    pub(crate) fn wait_closed(&self, client: &Client) {
        kernel::wait_closed(self.port, client.port());
    }

    /// Orders the worker to drain.
    pub(crate) fn drain(&self) {
        self.say(&MasterSays::Drain { timeout: PATIENCE });
    }

    /// Orders the worker to drain and waits until its tasks know.
    pub(crate) fn drain_and_see(&self) {
        let mut witness = self.connect();
        witness.send("GET /draining HTTP/1.1\r\nhost: a\r\n\r\n");
        let entered = self.gate.wait();
        self.drain();
        drop(entered);
        drop(self.gate.wait());
        // One more turn of the event loop, after which not only the handler knows.
        assert!(witness.answer().closes());
    }

    /// Waits for the worker's end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            // The channel's end of file is the death of the worker; what it says before is not of interest here.
            let readable = hatchery_sys::poll::readable(&[self.channel.as_fd()], Some(PATIENCE)).unwrap();
            if readable[0] && matches!(self.channel.recv(&mut [0; 4096]), Ok(Received::Closed)) {
                return self.child.wait().unwrap();
            }
        }
        panic!("the worker did not end");
    }

    fn say(&self, message: &MasterSays) {
        self.channel.send(&message.encode(), &[]).unwrap();
    }

    fn receive(&self) -> Vec<u8> {
        let readable = hatchery_sys::poll::readable(&[self.channel.as_fd()], Some(PATIENCE)).unwrap();
        assert!(readable[0], "the worker says nothing");
        let mut buffer = [0; 4096];
        match self.channel.recv(&mut buffer).unwrap() {
            Received::Message { len, .. } => buffer[..len].to_vec(),
            other => panic!("the worker ended: {other:?}"),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Standard input, which is the worker's end of the channel.
fn inherited_channel() -> OwnedFd {
    std::io::stdin().as_fd().try_clone_to_owned().unwrap()
}
