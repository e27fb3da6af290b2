//! A master that does what a test says, clients, and waiting under a deadline.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use std::{fs, thread};

use hatchery_core::wire::worker::{MasterSays, WorkerSays};
use hatchery_core::{Generation, ListenMode, QueueId, Slot};
use hatchery_net::{Address, Listener, Listeners, Spec};
use hatchery_sys::board::{Board, Cell};
use hatchery_sys::channel::{Channel, Received};
use hatchery_sys::fork::{Fork, fork};
use hatchery_sys::{Pid, Signal, poll, process, signals};
use hatchery_worker::{Conn, Limits, Seed, Worker};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

/// How long anything that is waited for may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// What the test plays: the owner of the queues.
pub(crate) struct Master {
    listeners: RefCell<Listeners>,
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
    pub(crate) drain_timeout: Option<Duration>,
    /// The limit of open files, beyond those that a ready worker has.
    pub(crate) spare_files: Option<u64>,
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
        Self { listeners: RefCell::new(Listeners::new(listeners.iter().map(bind).collect())) }
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
                signals::reset_in_child();
                log_into(log);
                let seed = Seed {
                    slot: Slot(options.slot),
                    generation: Generation(3),
                    master,
                    // This process has no other use for them.
                    listeners: self.listeners.take(),
                    channel: theirs,
                    board,
                    cell: 1,
                    limits: Limits { max_connections: options.max_connections, ..Limits::default() },
                    drain_timeout: options.drain_timeout.unwrap_or(DEADLINE),
                    blocked,
                    reopen: Box::new(move || {
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
        child.expect(&WorkerSays::Ready);
        child.assign(0..self.listeners.borrow().queue_counts().iter().sum());
        child
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
        self.channel.as_ref().unwrap().send(&says.encode(), &[]).unwrap();
    }

    pub(crate) fn assign(&self, queues: impl IntoIterator<Item = u16>) {
        self.say(&MasterSays::Assign { queues: queues.into_iter().map(QueueId).collect() });
    }

    pub(crate) fn drain(&self) {
        self.say(&MasterSays::Drain { timeout: DEADLINE });
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
            Received::Truncated => panic!("too long"),
        }
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
                    Received::Message { .. } | Received::Truncated => {}
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

    pub(crate) fn cell(&self) -> &Cell {
        self.board.cell(1)
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.cell().accepted.load(Ordering::Relaxed)
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

    /// The next line; empty at the end.
    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("no answer");
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

    /// Whether there is nothing to read, not even an end.
    pub(crate) fn hears_nothing(&mut self) -> bool {
        self.0.get_mut().set_nonblocking(true).unwrap();
        let nothing = self.0.get_mut().read(&mut [0; 64]).is_err();
        self.0.get_mut().set_nonblocking(false).unwrap();
        nothing
    }
}

/// Echoes lines with the worker's pid. Some lines are orders.
pub(crate) async fn echo(worker: Worker, _: &'static ()) -> Result<(), hatchery_worker::ServeError> {
    worker.serve(echo_lines).await
}

pub(crate) async fn echo_lines(conn: Conn) {
    let draining = conn.draining();
    tokio::pin!(draining);
    let pid = process::pid();
    let mut conn = tokio::io::BufReader::new(conn);
    let mut line = String::new();
    loop {
        line.clear();
        tokio::select! {
            biased;
            read = conn.read_line(&mut line) => match (read, line.trim_end()) {
                (Ok(0) | Err(_), _) => return,
                (_, "panic") => panic!("told to panic"),
                (_, "deaf") => {
                    // Does not care for a drain: ends with its client.
                    let _ = conn.write_all(b"deaf 0\n").await;
                    while conn.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
                    return;
                }
                (_, said) => {
                    let answer = format!("{said} {pid}\n");
                    if conn.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            },
            () = &mut draining => {
                let _ = conn.write_all(b"bye 0\n").await;
                return;
            }
        }
    }
}

/// An application that never becomes ready.
pub(crate) async fn hang(_: Worker, _: &'static ()) -> Result<(), Infallible> {
    std::future::pending().await
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
