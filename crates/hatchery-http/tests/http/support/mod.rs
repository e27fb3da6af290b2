//! Real workers in processes of their own, driven over their channels as a master would.

mod app;
mod client;
mod counts;
mod gate;
mod kernel;
mod nest;

use std::os::fd::AsFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use hatchery_core::wire::worker::{Heir, MasterSays, Whose, WorkerSays};
use hatchery_core::{QueueId, Service, Takes};
use hatchery_sys::channel::{Channel, Received};

pub(crate) use app::{child, early};
pub(crate) use client::{Answer, Client, Frame};
pub(crate) use gate::{Gate, Waiting};
pub(crate) use nest::Nest;

/// How long any single event may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The variable that makes a run of the test program a worker: its [`Role`].
const ROLE: &str = "HATCHERY_HTTP_TEST_WORKER";

/// What a worker under test is to be.
#[derive(Clone, Copy)]
pub(crate) struct Role {
    pub(crate) serves: Serves,
    pub(crate) limits: Limits,
    slot: u16,
    gate: u16,
}

/// What a worker under test serves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serves {
    /// Routes that do what a test asks for.
    Routes,
    /// A count for each connection, which cannot move.
    Counts,
    /// A count for each connection, which moves with it.
    MovingCounts,
    /// The same in another version.
    NewerCounts,
}

/// The limits of a worker under test: in milliseconds, and the size of a head in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) head: u64,
    pub(crate) body: u64,
    pub(crate) send: u64,
    pub(crate) idle: u64,
    pub(crate) max_head: u64,
    pub(crate) pings: u64,
    pub(crate) max_body: u64,
    pub(crate) min_rate: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: 15_000,
            body: 30_000,
            send: 30_000,
            idle: 75_000,
            max_head: 65_536,
            pings: 20_000,
            max_body: 64 << 20,
            min_rate: 0,
        }
    }
}

/// A worker; killed when dropped.
pub(crate) struct Worker {
    child: Child,
    channel: Channel,
    role: Role,
    takes: Takes,
    /// What those take to whom its connections go.
    heir: Option<Takes>,
    nest: Rc<Nest>,
    pub(crate) gate: Gate,
    pub(crate) port: u16,
}

impl Worker {
    pub(crate) fn start() -> Self {
        Self::with_limits(Limits::default())
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        Self::serving(Serves::Routes, limits)
    }

    pub(crate) fn serving(serves: Serves, limits: Limits) -> Self {
        let worker = Self::spawn(Role { serves, limits, slot: 0, gate: 0 }, Rc::new(Nest::new()));
        worker.say(&MasterSays::Assign { queues: vec![QueueId { listener: 0, index: 0 }], relay: false });
        worker
    }

    /// Another worker of the same address, to which this one's connections go when it drains.
    pub(crate) fn heir(&mut self) -> Self {
        self.heir_serving(self.role.serves)
    }

    pub(crate) fn heir_serving(&mut self, serves: Serves) -> Self {
        let heir = Self::spawn(Role { serves, slot: self.role.slot + 1, ..self.role }, Rc::clone(&self.nest));
        heir.assign_relay();
        self.heir = Some(heir.takes.clone());
        heir
    }

    fn spawn(role: Role, nest: Rc<Nest>) -> Self {
        let gate = Gate::open();
        let role = Role { gate: gate.port(), ..role };
        let (channel, theirs) = Channel::pair().unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "worker_process", "--nocapture"])
            .env(ROLE, role.encode())
            .stdin(Stdio::from(theirs.into_fd()))
            .env("RUST_BACKTRACE", "0")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        nest.hand_over(&channel);
        let port = nest.port();
        let mut worker = Self { child, channel, role, takes: Takes::nothing(), heir: None, nest, gate, port };
        match WorkerSays::decode(&worker.receive()) {
            Ok(WorkerSays::Ready { takes }) => worker.takes = takes,
            other => panic!("the worker did not boot: {other:?}"),
        }
        worker
    }

    /// Takes the relay away from it.
    pub(crate) fn assign_nothing(&self) {
        self.say(&MasterSays::Assign { queues: Vec::new(), relay: false });
    }

    pub(crate) fn assign_relay(&self) {
        self.say(&MasterSays::Assign { queues: Vec::new(), relay: true });
    }

    /// The number that it answers with to `/who`.
    pub(crate) fn name(&self) -> String {
        self.role.slot.to_string()
    }

    /// What it serves, as a message of the relay says it.
    pub(crate) fn service(&self) -> Service {
        self.takes.services().next().expect("a service").clone()
    }

    pub(crate) fn nest(&self) -> &Nest {
        &self.nest
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

    /// Waits until the worker has so many of these connections.
    pub(crate) fn wait_owns<'a>(&self, clients: impl IntoIterator<Item = &'a Client>, count: usize) {
        let clients: Vec<u16> = clients.into_iter().map(Client::port).collect();
        kernel::wait_owned(self.child.id(), self.port, &clients, count);
    }

    /// Orders the worker to drain, with its heir if it has one.
    pub(crate) fn drain(&self) {
        self.drain_within(PATIENCE);
    }

    fn drain_within(&self, timeout: Duration) {
        let heir = self.heir.clone().map(|takes| Heir { relay: Whose::Own, takes });
        self.say(&MasterSays::Drain { timeout, heir, last: false });
    }

    /// Orders the worker to hand over so many idle connections.
    pub(crate) fn shed(&self, connections: u32) {
        let takes = self.heir.clone().expect("an heir");
        self.say(&MasterSays::Shed { connections, heir: Heir { relay: Whose::Own, takes } });
    }

    /// Orders the worker to drain and waits until its tasks know.
    pub(crate) fn drain_and_see(&self) {
        self.drain_within_and_see(PATIENCE);
    }

    pub(crate) fn drain_within_and_see(&self, timeout: Duration) {
        let mut witness = self.connect();
        witness.send("GET /draining HTTP/1.1\r\nhost: a\r\n\r\n");
        let entered = self.gate.wait();
        self.drain_within(timeout);
        drop(entered);
        drop(self.gate.wait());
        // One more turn of the event loop, after which not only the handler knows.
        assert_eq!(witness.answer().closes(), self.heir.is_none());
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

    /// Waits for the worker's end, as one that had nothing left to do.
    #[track_caller]
    pub(crate) fn ends(&mut self) {
        let status = self.wait();
        assert!(status.success(), "{status}");
    }

    /// Whether the worker has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    fn say(&self, message: &MasterSays) {
        let entry = message.heir().map(|_heir| self.nest.entry());
        self.channel.send(&message.encode(), entry.as_slice()).unwrap();
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

impl Role {
    fn encode(&self) -> String {
        let Self { serves, limits, slot, gate } = *self;
        let Limits { head, body, send, idle, max_head, pings, max_body, min_rate } = limits;
        format!("{} {head} {body} {send} {idle} {max_head} {pings} {max_body} {min_rate} {slot} {gate}", serves as u8)
    }

    fn decode(text: &str) -> Self {
        let numbers: Vec<u64> = text.split(' ').map(|number| number.parse().unwrap()).collect();
        let [serves, head, body, send, idle, max_head, pings, max_body, min_rate, slot, gate] = numbers[..] else {
            panic!("{text:?}")
        };
        let all = [Serves::Routes, Serves::Counts, Serves::MovingCounts, Serves::NewerCounts];
        Self {
            serves: all[usize::try_from(serves).unwrap()],
            limits: Limits { head, body, send, idle, max_head, pings, max_body, min_rate },
            slot: u16::try_from(slot).unwrap(),
            gate: u16::try_from(gate).unwrap(),
        }
    }
}
