//! A service manager that hears what a service tells it, and knows who speaks.

use std::collections::BTreeMap;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hatchery_sys::inherit;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, UnixCredentials, recvmsg, setsockopt, sockopt};
use nix::sys::stat::fstat;
use nix::time::{ClockId, clock_gettime};
use tempfile::TempDir;

use crate::{Start, wait};

/// As many descriptors as the deploy examples have stored.
const ROOM: usize = 64;

/// Whom it listens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The main process alone, which is the first one until that names another.
    Main,
    /// Everybody.
    All,
}

/// A datagram, and what the kernel says of it.
#[derive(Clone, Debug)]
pub struct Message {
    /// Who has sent it.
    pub pid: i32,
    /// What it says: `VARIABLE=VALUE` each.
    pub says: BTreeMap<String, String>,
    /// When it was received.
    pub at: Instant,
    /// The same by the monotonic clock, in microseconds.
    pub clock: u128,
}

/// A socket that a service is told by `NOTIFY_SOCKET`, and what has come there.
#[derive(Debug)]
pub struct Manager {
    access: Access,
    address: String,
    heard: Arc<Mutex<Heard>>,
    _folder: TempDir,
}

/// What has come, and what it was told to store by which names.
#[derive(Debug)]
struct Heard {
    /// How many descriptors it stores.
    room: usize,
    messages: Vec<Message>,
    store: Vec<(String, OwnedFd)>,
}

/// What a service manager has made of all messages.
#[derive(Debug, Default)]
pub struct Account {
    /// The main process.
    pub main: i32,
    /// What was heeded.
    pub heeded: Vec<Message>,
    /// What was not, since somebody else has said it.
    pub refused: Vec<Message>,
}

impl Manager {
    /// One with a socket that is a file.
    ///
    /// # Panics
    /// When the system refuses.
    #[must_use]
    pub fn new(access: Access) -> Self {
        let folder = TempDir::with_prefix("manager-").expect("a temporary folder");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("nothing is there");
        Self::listening(access, socket, path.display().to_string(), folder)
    }

    /// One with a socket that has a name and no file.
    ///
    /// # Panics
    /// When the system refuses.
    #[must_use]
    pub fn without_file(access: Access) -> Self {
        let folder = TempDir::with_prefix("manager-").expect("a temporary folder");
        let name = format!("hatchery{}", folder.path().display());
        let address = SocketAddr::from_abstract_name(&name).expect("it is short");
        let socket = UnixDatagram::bind_addr(&address).expect("nobody has it");
        Self::listening(access, socket, format!("@{name}"), folder)
    }

    fn listening(access: Access, socket: UnixDatagram, address: String, folder: TempDir) -> Self {
        setsockopt(&socket, sockopt::PassCred, &true).expect("the kernel tells who speaks");
        let heard = Arc::new(Mutex::new(Heard { room: ROOM, messages: Vec::new(), store: Vec::new() }));
        let hears = Arc::downgrade(&heard);
        // It ends with the process: nobody can be waited for who waits for a datagram.
        thread::spawn(move || {
            while let Some((message, fds)) = receive(&socket) {
                let Some(heard) = hears.upgrade() else { return };
                heard.lock().unwrap_or_else(PoisonError::into_inner).take(message, fds);
            }
        });
        Self { access, address, heard, _folder: folder }
    }

    /// Limits how many descriptors it stores: `FileDescriptorStoreMax=`.
    #[must_use]
    pub fn with_room(self, room: usize) -> Self {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).room = room;
        self
    }

    /// The value of `NOTIFY_SOCKET`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A service that it starts, with what is stored: two sockets at the most.
    ///
    /// # Panics
    /// When no descriptor is left.
    #[must_use]
    pub fn serves(&self, start: Start) -> Start {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let start = start.variable("NOTIFY_SOCKET", &self.address).variable("FDSTORE", &heard.room.to_string());
        if heard.store.is_empty() {
            return start;
        }
        let names: Vec<&str> = heard.store.iter().map(|(name, _)| name.as_str()).collect();
        let copies = heard.store.iter().map(|(_, fd)| fd.try_clone().expect("a descriptor"));
        start.passed(&names.join(":"), copies.collect::<Vec<_>>())
    }

    /// The names of what is stored.
    #[must_use]
    pub fn stored(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.store.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Waits until these are stored, in this order, and nothing else.
    ///
    /// # Panics
    /// When they are not.
    pub fn until_stored(&self, names: &[&str]) {
        wait::until(&format!("{names:?} are stored"), || (self.stored() == names).then_some(()));
    }

    /// All messages so far, judged by who was the main process when each came.
    ///
    /// # Panics
    /// When one names a main process that is no number.
    #[must_use]
    pub fn account(&self, first: i32) -> Account {
        let mut account = Account { main: first, ..Account::default() };
        for message in self.heard.lock().unwrap_or_else(PoisonError::into_inner).messages.iter().cloned() {
            if self.access == Access::Main && message.pid != account.main {
                account.refused.push(message);
                continue;
            }
            if let Some(pid) = message.says.get("MAINPID") {
                account.main = pid.parse().expect("a pid");
            }
            account.heeded.push(message);
        }
        account
    }

    /// Waits until something was said so often, and heeded.
    ///
    /// # Panics
    /// When it is not.
    pub fn until(&self, first: i32, variable: &str, value: &str, count: usize) {
        wait::until(&format!("{variable}={value} is said {count} times"), || {
            (self.account(first).with(variable, value).len() >= count).then_some(())
        });
    }
}

impl Account {
    /// What was heeded and says this.
    #[must_use]
    pub fn with(&self, variable: &str, value: &str) -> Vec<&Message> {
        self.heeded.iter().filter(|message| message.says.get(variable).is_some_and(|said| said == value)).collect()
    }

    /// The values of a variable, in their order.
    #[must_use]
    pub fn values(&self, variable: &str) -> Vec<&str> {
        self.heeded.iter().filter_map(|message| message.says.get(variable)).map(String::as_str).collect()
    }

    /// The moments at which a variable was said.
    #[must_use]
    pub fn moments(&self, variable: &str) -> Vec<Instant> {
        self.heeded.iter().filter(|message| message.says.contains_key(variable)).map(|message| message.at).collect()
    }

    /// What has said something about the state of the service, without how it goes.
    #[must_use]
    pub fn states(&self) -> Vec<&str> {
        const STATES: [&str; 4] = ["READY", "RELOADING", "STOPPING", "MAINPID"];
        let of = |message: &'_ Message| {
            STATES.iter().filter(|state| message.says.contains_key(**state)).copied().collect::<Vec<_>>()
        };
        self.heeded.iter().flat_map(of).collect()
    }
}

/// The longest time between two moments.
#[must_use]
pub fn longest(moments: &[Instant]) -> Duration {
    moments.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

/// The monotonic clock, in microseconds.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn clock() -> u128 {
    Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).expect("a clock")).as_micros()
}

impl Heard {
    /// The same socket is stored once, and one too many is closed without a word, as by systemd.
    fn take(&mut self, message: Message, fds: Vec<OwnedFd>) {
        let says = |variable: &str| message.says.get(variable).map(String::as_str);
        let name = says("FDNAME").unwrap_or("stored").to_owned();
        if says("FDSTORE") == Some("1") {
            for fd in fds {
                let is_known = self.store.iter().any(|(_, known)| inode(known) == inode(&fd));
                if !is_known && self.store.len() < self.room {
                    self.store.push((name.clone(), fd));
                }
            }
        }
        if says("FDSTOREREMOVE") == Some("1") {
            self.store.retain(|(known, _)| *known != name);
        }
        self.messages.push(message);
    }
}

fn inode(fd: &OwnedFd) -> u64 {
    fstat(fd).expect("it is open").st_ino
}

fn receive(socket: &UnixDatagram) -> Option<(Message, Vec<OwnedFd>)> {
    let mut buffer = [0; 4096];
    let mut control = nix::cmsg_space!(UnixCredentials, [RawFd; 253]);
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let received = recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty()).ok()?;
    let (at, clock) = (Instant::now(), clock());
    let pid = received.cmsgs().ok()?.find_map(|message| match message {
        ControlMessageOwned::ScmCredentials(speaker) => Some(speaker.pid()),
        _ => None,
    })?;
    let fds = received.cmsgs().ok()?.filter_map(|message| match message {
        ControlMessageOwned::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let fds = fds.flatten().map(|fd| inherit::adopt(fd).expect("it is new")).collect();
    let len = received.bytes;
    let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
    let says = text.lines().map(|line| line.split_once('=').unwrap_or_else(|| panic!("`{line}` in {text}")));
    let says = says.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Some((Message { pid, says, at, clock }, fds))
}
