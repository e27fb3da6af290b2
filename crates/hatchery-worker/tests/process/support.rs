//! A master that does what a test says, clients, and waiting under a deadline.

use std::cell::RefCell;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use std::{fs, thread};

use hatchery_core::wire::worker::{Heir, MasterSays, Whose, WorkerSays};
use hatchery_core::{Generation, ListenMode, QueueId, Slot, Takes};
use hatchery_net::{Address, Kept, Listener, Listeners, Relay, Spec};
use hatchery_sys::board::{Board, Cell, Counter};
use hatchery_sys::channel::{Channel, Received};
use hatchery_sys::fork::{Fork, fork};
use hatchery_sys::{Pid, Signal, poll, process, signals};
use hatchery_worker::{Limits, Quota, Seed, Worker};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::socket::{setsockopt, sockopt::SndBuf};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

pub(crate) use crate::apps::{Counted, count_lines, count_until_drain, counter, echo, hang};

/// How long anything that is waited for may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// What the test plays: the owner of the queues.
pub(crate) struct Master {
    listeners: RefCell<Listeners>,
    pub(crate) relay: Relay,
}

/// A worker, as its master sees it.
pub(crate) struct Child {
    pub(crate) pid: Pid,
    pub(crate) channel: Option<Channel>,
    board: Board,
    log: File,
    reopened: UnixDatagram,
    reaped: Option<WaitStatus>,
}

/// What a worker is started with.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options {
    pub(crate) slot: u16,
    pub(crate) max_connections: usize,
    pub(crate) boot_timeout: Option<Duration>,
    pub(crate) drain_timeout: Option<Duration>,
    /// The limit of open files, beyond those that a ready worker has.
    pub(crate) spare_files: Option<u64>,
    pub(crate) quota: Option<Quota>,
}

/// How a worker is told to move its connections.
pub(crate) struct Order {
    pub(crate) whose: Whose,
    pub(crate) takes: Takes,
    pub(crate) timeout: Duration,
    pub(crate) last: bool,
}

impl Order {
    pub(crate) fn to(whose: Whose, takes: &Takes) -> Self {
        Self { whose, takes: takes.clone(), timeout: DEADLINE, last: false }
    }
}

impl Master {
    /// With one TCP listener.
    pub(crate) fn new() -> Self {
        Self::with(&[(None, "127.0.0.1:0")], ListenMode::Shared, 1)
    }

    pub(crate) fn with(listeners: &[(Option<&str>, &str)], mode: ListenMode, queues: u16) -> Self {
        let bind = |(name, address): &(Option<&str>, &str)| {
            let spec = Spec { name: name.map(str::to_owned), address: address.parse().unwrap() };
            Listener::bind(&spec, mode, queues, 1024).unwrap()
        };
        let listeners = RefCell::new(Listeners::new(listeners.iter().map(bind).collect()));
        Self { listeners, relay: Relay::pair().unwrap() }
    }

    /// A master of another generation, on the same addresses.
    pub(crate) fn next(&self) -> Self {
        let inherit = |listener: &Listener| {
            let spec = Spec { name: listener.name().map(str::to_owned), address: listener.bound().clone() };
            let fds = listener.queues().iter().map(|queue| queue.try_clone().unwrap().into());
            Listener::inherit(&spec, fds.collect()).unwrap()
        };
        let listeners = RefCell::new(Listeners::new(self.listeners.borrow().iter().map(inherit).collect()));
        Self { listeners, relay: Relay::pair().unwrap() }
    }

    pub(crate) fn add_queues(&self, each: u16) {
        self.listeners.borrow_mut().add_queues(each).unwrap();
    }

    pub(crate) fn queue(&self, id: QueueId) -> OwnedFd {
        self.listeners.borrow().queue(id).unwrap().1.as_fd().try_clone_to_owned().unwrap()
    }

    pub(crate) fn address(&self, index: usize) -> SocketAddr {
        match self.listeners.borrow().iter().nth(index).unwrap().bound() {
            Address::Tcp(address) => *address,
            Address::Unix(path) => panic!("{path:?} is a unix socket"),
        }
    }

    /// A client of the first listener.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address(0))
    }

    /// A worker that runs `app`.
    pub(crate) fn fork<A, E>(&self, options: Options, app: A) -> Child
    where
        A: AsyncFn(Worker, &'static ()) -> Result<(), E>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.fork_of(process::pid(), options, app)
    }

    /// A worker that is told that its master is `master`.
    pub(crate) fn fork_of<A, E>(&self, master: Pid, options: Options, app: A) -> Child
    where
        A: AsyncFn(Worker, &'static ()) -> Result<(), E>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (channel, theirs) = Channel::pair().unwrap();
        let (reopened, reopen) = UnixDatagram::pair().unwrap();
        reopened.set_read_timeout(Some(DEADLINE)).unwrap();
        let (board, log) = (Board::create(2).unwrap(), tempfile::tempfile().unwrap());
        let blocked = signals::block_all().unwrap();
        match fork(&blocked).unwrap() {
            Fork::Parent { child } => {
                blocked.restore();
                Child { pid: child, channel: Some(channel), board, log, reopened, reaped: None }
            }
            Fork::Child => {
                drop((channel, reopened));
                let (entry, exit) = (self.relay.entry().try_clone_fd(), self.relay.exit().try_clone());
                let relay = Relay::from_fds(entry.unwrap(), exit.unwrap().into_fd()).unwrap();
                signals::reset_in_child();
                log_into(log);
                let seed = Seed {
                    slot: Slot(options.slot),
                    generation: Generation(3),
                    master,
                    // This process has no other use for them.
                    listeners: self.listeners.take(),
                    relay,
                    channel: theirs,
                    board,
                    cell: 1,
                    secret: None,
                    limits: Limits { max_connections: options.max_connections, ..Limits::default() },
                    quota: options.quota,
                    measure: false,
                    boot_timeout: options.boot_timeout.unwrap_or(DEADLINE),
                    drain_timeout: options.drain_timeout.unwrap_or(DEADLINE),
                    blocked,
                    jobs: Vec::new(),
                    kept: Kept::default(),
                    sidecar: None,
                    reopen: Box::new(move |_| {
                        let _test_is_over = reopen.send(b"reopened");
                    }),
                };
                let code = hatchery_worker::run(seed, &(), async |worker, nothing| {
                    if let Some(spare) = options.spare_files {
                        limit_open_files(spare);
                    }
                    app(worker, nothing).await
                });
                process::exit_now(code)
            }
        }
    }

    /// A worker that echoes lines, ready and with every queue assigned.
    pub(crate) fn serving(&self, options: Options) -> Child {
        let child = self.fork(options, echo);
        child.is_ready();
        self.assign_all(&child);
        child
    }

    /// A worker whose connections can move, ready and with everything assigned.
    pub(crate) fn counting(&self, options: Options) -> Child {
        let child = self.fork(options, counter);
        child.is_ready();
        self.assign_all(&child);
        child
    }

    /// Every queue and the relay.
    pub(crate) fn assign_all(&self, child: &Child) {
        let listeners = self.listeners.borrow();
        let queues = (0..).take(listeners.len()).flat_map(|listener| listeners.queue_ids(listener)).collect();
        child.say(&MasterSays::Assign { queues, relay: true });
    }

    /// Leaves room for about twenty connections in the relay.
    pub(crate) fn narrow_relay(&self) {
        setsockopt(&self.relay.entry().as_fd(), SndBuf, &(8 * 1024)).unwrap();
    }

    /// Bytes that a client has sent and its worker has not read.
    pub(crate) fn unread_by_worker(&self, client: &Client) -> u64 {
        let (local, peer) = (format!(":{:04X}", self.address(0).port()), format!(":{:04X}", client.port()));
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let queues = table.lines().find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            (fields[1].ends_with(&local) && fields[2].ends_with(&peer)).then(|| fields[4].to_owned())
        });
        let queues = queues.expect("the connection is there");
        u64::from_str_radix(queues.split_once(':').unwrap().1, 16).unwrap()
    }

    /// Ends every queue, as at the final stop.
    pub(crate) fn shut_all(&self) {
        self.listeners.borrow().shut_all();
    }

    /// Closes this process's copies of the queues, as its death would.
    pub(crate) fn close_all(&self) {
        self.listeners.take();
    }
}

impl Child {
    pub(crate) fn say(&self, says: &MasterSays) {
        self.say_with(says, &[]);
    }

    pub(crate) fn say_with(&self, says: &MasterSays, fds: &[BorrowedFd<'_>]) {
        self.channel.as_ref().unwrap().send(&says.encode(), fds).unwrap();
    }

    /// The first queue of each of these listeners.
    pub(crate) fn assign(&self, listeners: impl IntoIterator<Item = u16>) {
        let queues = listeners.into_iter().map(|listener| QueueId { listener, index: 0 }).collect();
        self.say(&MasterSays::Assign { queues, relay: true });
    }

    /// Nothing but what is open.
    pub(crate) fn rest(&self) {
        self.say(&MasterSays::Assign { queues: Vec::new(), relay: false });
    }

    pub(crate) fn drain(&self) {
        self.say(&MasterSays::Drain { timeout: DEADLINE, heir: None, last: false });
    }

    /// Drain, and send everything to the readers of this relay.
    pub(crate) fn drain_to(&self, relay: &Relay, order: Order) {
        let Order { whose, takes, timeout, last } = order;
        let heir = Some(Heir { relay: whose, takes });
        self.say_with(&MasterSays::Drain { timeout, heir, last }, &[relay.entry().as_fd()]);
    }

    pub(crate) fn finish(&self) {
        self.say(&MasterSays::Finish { timeout: DEADLINE });
    }

    /// What the worker says next; `None` when it has closed its end.
    pub(crate) fn next(&self) -> Option<WorkerSays> {
        let channel = self.channel.as_ref().unwrap();
        let readable = poll::readable(&[channel.as_fd()], Some(DEADLINE)).unwrap();
        assert!(readable[0], "the worker says nothing; its log: {}", self.log());
        let mut message = [0; 8192];
        match channel.recv(&mut message).unwrap() {
            Received::Message { len, .. } => Some(WorkerSays::decode(&message[..len]).unwrap()),
            Received::Closed => None,
            Received::Truncated | Received::Stripped { .. } => panic!("too long"),
        }
    }

    /// Whether there is something that it has said.
    pub(crate) fn has_spoken(&self) -> bool {
        poll::readable(&[self.channel.as_ref().unwrap().as_fd()], Some(Duration::ZERO)).unwrap()[0]
    }

    pub(crate) fn is_ready(&self) -> Takes {
        match self.next() {
            Some(WorkerSays::Ready { takes }) => takes,
            other => panic!("not ready but {other:?}, its log: {}", self.log()),
        }
    }

    /// It says so, with these words among its reason, and ends.
    pub(crate) fn did_not_boot(self, why: &str) {
        match self.next() {
            Some(WorkerSays::BootFailed { text }) => assert!(text.contains(why), "{text}"),
            other => panic!("no failure but {other:?}, its log: {}", self.log()),
        }
        self.exits_with(1);
    }

    pub(crate) fn expect(&self, says: &WorkerSays) {
        assert_eq!(self.next().as_ref(), Some(says), "its log: {}", self.log());
    }

    /// Returns when the worker has done everything that it was told before.
    pub(crate) fn settle(&self) {
        self.say(&MasterSays::Reopen);
        self.reopened();
    }

    pub(crate) fn reopened(&self) {
        self.reopened.recv(&mut [0; 64]).expect("the worker does not reopen its logs");
    }

    pub(crate) fn kill(&self, signal: Signal) {
        process::kill(self.pid, signal).unwrap();
    }

    /// Its end, which has to come by itself.
    pub(crate) fn wait(mut self) -> WaitStatus {
        if let Some(channel) = &self.channel {
            while poll::readable(&[channel.as_fd()], Some(DEADLINE)).unwrap()[0] {
                match channel.recv(&mut [0; 8192]).unwrap() {
                    Received::Message { .. } | Received::Truncated | Received::Stripped { .. } => {}
                    Received::Closed => break,
                }
            }
        }
        until("the worker has exited", || match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)).unwrap() {
            WaitStatus::StillAlive => None,
            status => Some(status),
        })
        .inspect(|status| self.reaped = Some(*status))
        .unwrap_or_else(|| panic!("the worker does not exit; its log: {}", self.log()))
    }

    pub(crate) fn exits_with(self, code: i32) {
        let pid = self.pid;
        assert_eq!(self.wait(), WaitStatus::Exited(pid, code));
    }

    pub(crate) fn is_alive(&self) -> bool {
        waitpid(self.pid, Some(WaitPidFlag::WNOHANG)).unwrap() == WaitStatus::StillAlive
    }

    /// How many it has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid)).unwrap().count()
    }

    /// Whether it has not ended; it stays to be reaped.
    pub(crate) fn is_alive_unreaped(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap();
        !stat.rsplit_once(')').unwrap().1.starts_with(" Z")
    }

    pub(crate) fn cell(&self) -> &Cell {
        self.board.cell(1)
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.cell().accepted()
    }

    pub(crate) fn moved(&self) -> u64 {
        self.cell().totals()[Counter::Moved]
    }

    pub(crate) fn refused(&self) -> u64 {
        self.cell().totals()[Counter::Refused]
    }

    pub(crate) fn open(&self) -> u64 {
        self.cell().open.load(Ordering::Relaxed)
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        let mut bytes = vec![0; usize::try_from(self.log.metadata().unwrap().len()).unwrap()];
        self.log.read_exact_at(&mut bytes, 0).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    pub(crate) fn title(&self) -> String {
        let line = fs::read_to_string(format!("/proc/{}/cmdline", self.pid)).unwrap();
        line.trim_end_matches('\0').to_owned()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.reaped.is_none() {
            let _ = process::kill(self.pid, Signal::SIGKILL);
            let _ = waitpid(self.pid, None);
        }
    }
}

/// A client that speaks lines.
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, DEADLINE).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self(BufReader::new(stream))
    }

    pub(crate) fn say(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Says something that is no whole line, or several.
    pub(crate) fn write(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// Whether the other side still takes it.
    pub(crate) fn try_write(&mut self, text: &str) -> bool {
        self.0.get_mut().write_all(text.as_bytes()).is_ok()
    }

    /// A word, a number and a pid.
    pub(crate) fn counted(&mut self) -> (String, u64, Pid) {
        let (rest, pid) = self.heard_by();
        let (word, count) = rest.rsplit_once(' ').unwrap_or_else(|| panic!("heard {rest:?}"));
        (word.to_owned(), count.parse().unwrap(), pid)
    }

    /// The next line; empty at the end.
    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            read => assert!(read.is_ok(), "no answer: {read:?}"),
        }
        line.trim_end().to_owned()
    }

    /// Says something and gets it back, with the worker's pid.
    pub(crate) fn echo(&mut self) -> Pid {
        self.say("hello");
        let (word, pid) = self.heard_by();
        assert_eq!(word, "hello");
        pid
    }

    pub(crate) fn heard_by(&mut self) -> (String, Pid) {
        let line = self.hear();
        let (word, pid) = line.rsplit_once(' ').unwrap_or_else(|| panic!("heard {line:?}"));
        (word.to_owned(), Pid::from_raw(pid.parse().unwrap()))
    }

    pub(crate) fn hears_something(&mut self) -> bool {
        !self.0.buffer().is_empty() || poll::readable(&[self.0.get_ref().as_fd()], Some(Duration::ZERO)).unwrap()[0]
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.get_ref().local_addr().unwrap().port()
    }

    /// Whether there is nothing to read, not even an end.
    pub(crate) fn hears_nothing(&mut self) -> bool {
        self.0.get_mut().set_nonblocking(true).unwrap();
        let nothing = self.0.get_mut().read(&mut [0; 64]).is_err();
        self.0.get_mut().set_nonblocking(false).unwrap();
        nothing
    }
}

/// Waits for what has no event of its own, without giving it time to hide.
pub(crate) fn until<T>(what: &str, mut happened: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    while start.elapsed() < DEADLINE {
        if let Some(value) = happened() {
            return Some(value);
        }
        thread::yield_now();
    }
    eprintln!("waited in vain: {what}");
    None
}

pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    until(what, || condition().then_some(())).unwrap_or_else(|| panic!("not so within {DEADLINE:?}: {what}"));
}

fn log_into(log: File) {
    tracing_subscriber::fmt().with_ansi(false).with_writer(Arc::new(log)).init();
    std::panic::set_hook(Box::new(|_| {}));
}

/// Leaves room for `spare` descriptors. The test's own starter may have left some with high numbers open.
fn limit_open_files(spare: u64) {
    let is_open = |fd: &u64| fs::exists(format!("/proc/self/fd/{fd}")).unwrap();
    let limit = (0..).find(|fd| !is_open(fd)).unwrap() + spare;
    setrlimit(Resource::RLIMIT_NOFILE, limit, limit).unwrap();
}
