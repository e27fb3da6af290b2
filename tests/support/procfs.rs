//! What the kernel says about processes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;

use nix::sys::signal::Signal;

/// One process, as it was when `/proc` was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its parent's id.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// `R`, `S`, `T`, `Z` and so on.
    pub state: char,
    /// Its command line, which a server overwrites with its title.
    pub title: String,
}

/// What a process is, by its title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `hatchery: master gen G`
    Master {
        /// `G`
        generation: u32,
    },
    /// `hatchery: worker S gen G STAGE`
    Worker {
        /// `S`
        slot: u16,
        /// `G`
        generation: u32,
        /// What it does now.
        stage: Stage,
    },
    /// Something else, or not yet told.
    Other,
}

/// What a worker does, by its title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It boots.
    Starting,
    /// It has booted.
    Ready,
    /// It finishes what is open.
    Draining,
}

impl Process {
    /// Reads one process; `None` if there is none.
    #[must_use]
    pub fn read(pid: i32) -> Option<Self> {
        Some(Self { title: title(pid), ..Self::without_title(pid)? })
    }

    fn without_title(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold spaces and parentheses: fields count from the last one.
        let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        Some(Self { pid, parent, group, state, title: String::new() })
    }

    /// What it is.
    #[must_use]
    pub fn role(&self) -> Role {
        let words: Vec<&str> = self.title.split_ascii_whitespace().collect();
        match words[..] {
            ["hatchery:", "master", "gen", generation, ..] => {
                generation.parse().map_or(Role::Other, |generation| Role::Master { generation })
            }
            ["hatchery:", "worker", slot, "gen", generation, stage, ..] => {
                let stage = match stage {
                    "starting" => Stage::Starting,
                    "ready" => Stage::Ready,
                    "draining" => Stage::Draining,
                    _ => return Role::Other,
                };
                match (slot.parse(), generation.parse()) {
                    (Ok(slot), Ok(generation)) => Role::Worker { slot, generation, stage },
                    _ => Role::Other,
                }
            }
            _ => Role::Other,
        }
    }

    /// Whether it has ended and waits to be reaped.
    #[must_use]
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, parent, group, state, title } = self;
        write!(f, "{pid:>8} {parent:>8} {group:>8} {state} {title}")
    }
}

/// Every process of a process group, by pid.
///
/// # Panics
/// When there is no `/proc`.
#[must_use]
pub fn group(group: i32) -> Vec<Process> {
    let mut found: Vec<Process> = fs::read_dir("/proc")
        .expect("tests need /proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(Process::without_title)
        .filter(|process| process.group == group)
        .map(|process| Process { title: title(process.pid), ..process })
        .collect();
    found.sort_by_key(|process| process.pid);
    found
}

/// The children of a process, zombies too.
#[must_use]
pub fn children(pid: i32) -> Vec<i32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok())
        .flat_map(|line| line.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// The open descriptors of a process, and what each is.
#[must_use]
pub fn descriptors(pid: i32) -> BTreeMap<i32, String> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return BTreeMap::new() };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number = entry.file_name().to_str()?.parse().ok()?;
            let target = fs::read_link(entry.path()).ok()?;
            Some((number, target.to_string_lossy().into_owned()))
        })
        .collect()
}

/// How many TCP connections over IPv4 a process holds, of those that the kernel's table tells at this moment.
///
/// # Panics
/// When there is no `/proc`.
#[must_use]
pub fn connections(pid: i32) -> usize {
    const ESTABLISHED: &str = "01";
    let table = fs::read_to_string("/proc/net/tcp").expect("tests need /proc");
    let connected = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        (*fields.get(3)? == ESTABLISHED).then_some(*fields.get(9)?)
    });
    let connected: BTreeSet<String> = connected.map(|inode| format!("socket:[{inode}]")).collect();
    descriptors(pid).values().filter(|target| connected.contains(*target)).count()
}

/// A TCP socket over IPv4, on the side that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// The other side's port; zero of one that listens.
    pub remote_port: u16,
    /// What it is.
    pub state: State,
    /// Bytes that have come and were not read; connections that were not accepted.
    pub unread: u32,
}

/// What a TCP socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It listens.
    Listens,
    /// A connection that somebody holds.
    Open,
    /// What the kernel remembers of a connection, or of one that begins.
    Unheld,
}

/// The sockets that are bound to a port of IPv4; with `SO_REUSEPORT`, several may listen.
///
/// # Panics
/// When there is no `/proc`.
#[must_use]
pub fn sockets(port: u16) -> Vec<Socket> {
    let table = fs::read_to_string("/proc/net/tcp").expect("tests need /proc");
    let socket = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let mut hex_after_colon = || u32::from_str_radix(fields.next()?.rsplit(':').next()?, 16).ok();
        let is_here = hex_after_colon()? == u32::from(port);
        let remote_port = u16::try_from(hex_after_colon()?).ok()?;
        let state = match hex_after_colon()? {
            0x0A => State::Listens,
            // ESTABLISHED and CLOSE_WAIT
            0x01 | 0x08 => State::Open,
            _ => State::Unheld,
        };
        let unread = hex_after_colon()?;
        is_here.then_some(Socket { remote_port, state, unread })
    };
    table.lines().skip(1).filter_map(socket).collect()
}

/// Whether everything that came from a client's port to a server's was read.
#[must_use]
pub fn has_read_all(server: u16, client: u16) -> bool {
    sockets(server).iter().any(|socket| socket.remote_port == client && socket.unread == 0)
}

/// The clock ticks of processor time that a process has used.
#[must_use]
pub fn ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// The words of a line of a process' status, such as `Uid` or `NoNewPrivs`.
#[must_use]
pub fn status(pid: i32, name: &str) -> Vec<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect()
}

/// The parent of a process.
#[must_use]
pub fn parent(pid: i32) -> Option<i32> {
    Process::without_title(pid).map(|process| process.parent)
}

/// The session of a process.
#[must_use]
pub fn session(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat[stat.rfind(')')? + 1..].split_ascii_whitespace().nth(3)?.parse().ok()
}

/// Whether a process has a terminal that controls it. One that is gone has
/// sent its hang-up before this says so.
#[must_use]
pub fn has_terminal(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let terminal = stat.rfind(')').and_then(|end| stat[end + 1..].split_ascii_whitespace().nth(4));
    terminal.is_some_and(|number| number != "0")
}

/// Whether a signal was sent to a process that it has not taken yet. The same
/// one is not kept twice: who sends the second would wait for it in vain.
#[must_use]
pub fn has_pending(pid: i32, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mut masks = status.lines().filter_map(|line| line.strip_prefix("ShdPnd:").or(line.strip_prefix("SigPnd:")));
    masks.any(|mask| u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask >> (signal as u32 - 1) & 1 == 1))
}

fn title(pid: i32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titled(title: &str) -> Process {
        Process { pid: 2, parent: 1, group: 2, state: 'S', title: title.to_owned() }
    }

    #[test]
    fn titles_tell_roles() {
        assert_eq!(titled("hatchery: master gen 3").role(), Role::Master { generation: 3 });
        let worker = Role::Worker { slot: 1, generation: 3, stage: Stage::Draining };
        assert_eq!(titled("hatchery: worker 1 gen 3 draining").role(), worker);
        assert_eq!(titled("/bin/sh hatchery: worker").role(), Role::Other);
    }

    #[test]
    fn sockets_tell_what_was_not_read() {
        use std::io::Write;

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(sockets(port), [Socket { remote_port: 0, state: State::Listens, unread: 0 }]);
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _accepted = listener.accept().unwrap();
        let remote_port = client.local_addr().unwrap().port();
        assert!(has_read_all(port, remote_port));
        client.write_all(b"four").unwrap();
        assert!(sockets(port).contains(&Socket { remote_port, state: State::Open, unread: 4 }));
    }

    #[test]
    fn this_process_is_there() {
        let me = Process::read(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(group(me.group).iter().any(|process| process.pid == me.pid));
        assert!(descriptors(me.pid).len() >= 3);
        assert!(ticks(me.pid).is_some());
    }
}
