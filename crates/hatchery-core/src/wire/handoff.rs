//! The environment variable that a successor is started with.
//!
//! `HATCHERY_HANDOFF=v=1;min=1;pid=4242;gen=2;listen=tcp@127.0.0.1:8080#3;link=5;relay=6,7;back=9;board=8;workers=4;configured=4;fd=metrics#10;anchor=11`
//!
//! `v` is the version of the writer and `min` the oldest reader that
//! understands it. `pid` has to be the reader's own: a variable that leaked
//! into some other program means nothing there. Keys that the reader does not
//! know are skipped, and so are descriptors under them, which it closes.

use std::collections::BTreeSet;

use super::WireError;
use super::fields::{self, Fields};
use crate::ids::{Generation, Pid};

/// The name of the variable.
pub const VARIABLE: &str = "HATCHERY_HANDOFF";

/// The version that this library writes.
pub const VERSION: u64 = 1;

/// The oldest version that this library reads.
pub const OLDEST: u64 = 1;

/// The keys of this version.
const KNOWN: [&str; 22] = [
    "v",
    "min",
    "pid",
    "gen",
    "listen",
    "passed",
    "stored",
    "link",
    "relay",
    "back",
    "board",
    "workers",
    "configured",
    "fd",
    "asleep",
    "anchor",
    "startup",
    "program",
    "control",
    "asks",
    "proof",
    "before",
];

/// What a predecessor hands to its successor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handoff {
    /// The process that the variable is meant for.
    pub pid: Pid,
    /// The generation of the reader.
    pub generation: Generation,
    /// Listeners, with the descriptors of their accept queues.
    pub listeners: Vec<HandedListener>,
    /// The channel between the two masters.
    pub link: i32,
    /// The relay that the reader's workers are to read: its entry and its exit.
    pub relay: Option<[i32; 2]>,
    /// The entry of the predecessor's own relay: connections can go back.
    pub back: Option<i32>,
    /// The predecessor's board, if it has one that can be shared.
    pub board: Option<i32>,
    /// How many workers the predecessor runs.
    pub workers: Option<u16>,
    /// How many its settings asked for: where the two differ, an operator has
    /// scaled it, and a successor with the same setting keeps to that.
    pub configured: Option<u16>,
    /// Descriptors of the program's own, by its names for them.
    pub kept: Vec<(String, i32)>,
    /// The line to the anchor that stands before all generations, if there is one.
    pub anchor: Option<i32>,
    /// The reader is the writer itself: it had let everything go, and became the
    /// program anew to wait for the next connection.
    pub asleep: Option<Asleep>,
    /// The signals that the program was first started with: those that were
    /// ignored, and those that were blocked, as bits. More are blocked for the
    /// exec; all of them, where the writer is the reader.
    pub startup: Option<[u64; 2]>,
    /// The control socket of the writer, if it is the reader itself.
    pub control: Option<i32>,
    /// Clients of the control socket: those that wait for this upgrade or, where the
    /// writer is the reader, all.
    pub clients: Vec<i32>,
    /// Which of the clients wait for the end of the probation.
    pub proving: Vec<i32>,
    /// Masters that drained behind the writer.
    pub before: Vec<(Pid, Generation)>,
    /// What stands under keys that this version does not know, as far as it may
    /// be descriptors: a later version hands over more. Never written.
    pub strays: Vec<i32>,
}

/// What a master takes along when it has let everything else go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asleep {
    /// The locked pid file, if there is one.
    pub pid_file: Option<i32>,
    /// The program's path, as it was found when it was first started.
    pub program: Vec<u8>,
    /// How often in a row it could not load when somebody came.
    pub failures: u32,
}

/// One listener of a [`Handoff`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandedListener {
    /// `tcp`, `unix`, or a kind that a later version may know.
    pub kind: String,
    /// The address that it is bound to, in the kind's own notation.
    pub address: Vec<u8>,
    /// The descriptors of its accept queues.
    pub queues: Vec<i32>,
    /// What the service manager calls it, if one has passed it.
    pub passed: Option<String>,
    /// How many of its queues the service manager stores, where it is to store all.
    pub stored: Option<usize>,
}

/// What a reader makes of the variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It is for this process.
    Ours(Box<Handoff>),
    /// It is for another process: leave everything alone.
    Foreign {
        /// The process it is for.
        pid: Pid,
    },
}

impl Handoff {
    /// The variable's value.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut line = Fields::default()
            .with_number("v", VERSION)
            .with_number("min", OLDEST)
            .with("pid", self.pid.to_string())
            .with_number("gen", self.generation.0);
        for listener in &self.listeners {
            line = line.with("listen", listener.encode());
        }
        for (name, fd) in self.listeners.iter().filter_map(|it| it.passed.as_ref().zip(it.queues.first())) {
            // No `#` before the number: who does not know this key closes what it takes for descriptors.
            line = line.with("passed", format!("{name}@{fd}"));
        }
        for (copies, fd) in self.listeners.iter().filter_map(|it| it.stored.zip(it.queues.first())) {
            line = line.with("stored", format!("{copies}@{fd}"));
        }
        line = line.with("link", self.link.to_string());
        if let Some([entry, exit]) = self.relay {
            line = line.with("relay", format!("{entry},{exit}"));
        }
        if let Some(back) = self.back {
            line = line.with("back", back.to_string());
        }
        if let Some(board) = self.board {
            line = line.with("board", board.to_string());
        }
        if let Some(workers) = self.workers {
            line = line.with_number("workers", workers);
        }
        if let Some(configured) = self.configured {
            line = line.with_number("configured", configured);
        }
        for (name, fd) in &self.kept {
            line = line.with("fd", format!("{name}#{fd}"));
        }
        if let Some(anchor) = self.anchor {
            line = line.with("anchor", anchor.to_string());
        }
        if let Some(control) = self.control {
            line = line.with("control", control.to_string());
        }
        if !self.clients.is_empty() {
            let fds: Vec<String> = self.clients.iter().map(ToString::to_string).collect();
            line = line.with("asks", fds.join(","));
        }
        if !self.proving.is_empty() {
            let fds: Vec<String> = self.proving.iter().map(ToString::to_string).collect();
            line = line.with("proof", fds.join(","));
        }
        if !self.before.is_empty() {
            let masters: Vec<String> = self.before.iter().map(|(pid, number)| format!("{pid}:{number}")).collect();
            line = line.with("before", masters.join(","));
        }
        if let Some([ignored, blocked]) = self.startup {
            line = line.with("startup", format!("i{ignored:x}:{blocked:x}"));
        }
        if let Some(Asleep { pid_file, program, failures }) = &self.asleep {
            let lock = pid_file.map_or_else(|| "-".to_owned(), |fd| fd.to_string());
            line = line.with("asleep", format!("{lock},f{failures}"));
            line = line.with("program", program.as_slice());
        }
        line.encode()
    }

    /// Reads the variable's value in the process `reader`.
    ///
    /// # Errors
    /// When the value is damaged, or its writer is too new or too old for this library.
    pub fn decode(value: &[u8], reader: Pid) -> Result<Reading, WireError> {
        let line = Fields::decode(value)?;
        let pid = Pid(line.required("pid")?);
        if pid != reader {
            return Ok(Reading::Foreign { pid });
        }
        let version: u64 = line.required("v")?;
        let oldest: u64 = line.number("min")?.unwrap_or(version);
        if oldest > VERSION || version < OLDEST {
            return Err(WireError::new(format!(
                "its version {version} (readable from {oldest}) is not one that this program knows ({OLDEST} to {VERSION})"
            )));
        }
        let mut handoff = Self {
            pid,
            generation: Generation(line.required("gen")?),
            listeners: line.all("listen").map(HandedListener::decode).collect::<Result<_, _>>()?,
            link: descriptor("link", line.bytes("link").ok_or_else(|| WireError::missing("link"))?)?,
            relay: line.bytes("relay").map(relay).transpose()?,
            back: line.bytes("back").map(|value| descriptor("back", value)).transpose()?,
            board: line.bytes("board").map(|value| descriptor("board", value)).transpose()?,
            workers: line.number("workers")?,
            configured: line.number("configured")?,
            kept: line.all("fd").map(kept).collect::<Result<_, _>>()?,
            anchor: line.bytes("anchor").map(|value| descriptor("anchor", value)).transpose()?,
            asleep: line.bytes("asleep").map(|value| asleep(value, &line)).transpose()?,
            startup: line.bytes("startup").map(startup).transpose()?,
            control: line.bytes("control").map(|value| descriptor("control", value)).transpose()?,
            clients: line.bytes("asks").map(|value| clients("asks", value)).transpose()?.unwrap_or_default(),
            proving: line.bytes("proof").map(|value| clients("proof", value)).transpose()?.unwrap_or_default(),
            before: line.bytes("before").map(before).transpose()?.unwrap_or_default(),
            strays: line.others(&KNOWN).flat_map(descriptors_in).collect(),
        };
        for value in line.all("passed") {
            let (name, fd) = passed(value)?;
            for listener in handoff.listeners.iter_mut().filter(|listener| listener.queues.first() == Some(&fd)) {
                listener.passed = Some(name.clone());
            }
        }
        for value in line.all("stored") {
            let (copies, fd) = stored(value)?;
            for listener in handoff.listeners.iter_mut().filter(|listener| listener.queues.first() == Some(&fd)) {
                listener.stored = Some(copies);
            }
        }
        handoff.keep_owners_apart()?;
        Ok(Reading::Ours(Box::new(handoff)))
    }
}

impl Handoff {
    /// Each descriptor becomes somebody's own: one that is named twice would be closed twice.
    fn keep_owners_apart(&mut self) -> Result<(), WireError> {
        let queues = self.listeners.iter().flat_map(|listener| &listener.queues);
        let mut named = BTreeSet::new();
        let kept = self.kept.iter().map(|(_, fd)| fd);
        let pid_file = self.asleep.iter().filter_map(|asleep| asleep.pid_file.as_ref());
        let others = self.relay.iter().flatten().chain(&self.back).chain(&self.board).chain(kept).chain(pid_file);
        let others = others.chain(&self.anchor).chain(&self.control).chain(&self.clients);
        for fd in queues.chain([&self.link]).chain(others) {
            if !named.insert(*fd) {
                return Err(WireError::new(format!("descriptor {fd} is named twice")));
            }
        }
        self.strays.retain(|fd| named.insert(*fd));
        Ok(())
    }
}

impl HandedListener {
    fn encode(&self) -> Vec<u8> {
        let queues: Vec<String> = self.queues.iter().map(ToString::to_string).collect();
        let mut value = format!("{}@", self.kind).into_bytes();
        value.extend_from_slice(&self.address);
        value.push(b'#');
        value.extend_from_slice(queues.join(",").as_bytes());
        value
    }

    /// The kind ends at the first `@` and the address at the last `#`, so a path may hold both.
    fn decode(value: &[u8]) -> Result<Self, WireError> {
        let broken = || WireError::new(format!("`listen={}` is not KIND@ADDRESS#FD", String::from_utf8_lossy(value)));
        let at = value.iter().position(|b| *b == b'@').ok_or_else(broken)?;
        let hash = value.iter().rposition(|b| *b == b'#').filter(|hash| *hash > at).ok_or_else(broken)?;
        let queues = value[hash + 1..].split(|b| *b == b',').map(|fd| descriptor("listen", fd));
        Ok(Self {
            kind: String::from_utf8_lossy(&value[..at]).into_owned(),
            address: value[at + 1..hash].to_vec(),
            queues: queues.collect::<Result<_, _>>()?,
            passed: None,
            stored: None,
        })
    }
}

/// A descriptor that may be inherited: never one of the standard streams.
fn descriptor(key: &str, value: &[u8]) -> Result<i32, WireError> {
    let fd: i32 = fields::number(key, value)?;
    if fd <= 2 {
        return Err(WireError::new(format!("`{key}` names descriptor {fd}, a standard stream")));
    }
    Ok(fd)
}

fn relay(value: &[u8]) -> Result<[i32; 2], WireError> {
    let ends = value.split(|b| *b == b',').map(|fd| descriptor("relay", fd)).collect::<Result<Vec<_>, _>>()?;
    let broken = || WireError::new(format!("`relay={}` is not ENTRY,EXIT", String::from_utf8_lossy(value)));
    <[i32; 2]>::try_from(ends).map_err(|_| broken())
}

fn clients(key: &str, value: &[u8]) -> Result<Vec<i32>, WireError> {
    value.split(|b| *b == b',').map(|fd| descriptor(key, fd)).collect()
}

fn before(value: &[u8]) -> Result<Vec<(Pid, Generation)>, WireError> {
    let broken = || WireError::new(format!("`before={}` is not PID:GENERATION", String::from_utf8_lossy(value)));
    let master = |text: &str| {
        let (pid, generation) = text.split_once(':')?;
        Some((Pid(pid.parse().ok()?), Generation(generation.parse().ok()?)))
    };
    let text = std::str::from_utf8(value).map_err(|_| broken())?;
    text.split(',').map(master).collect::<Option<_>>().ok_or_else(broken)
}

/// The name ends at the last `#`.
fn kept(value: &[u8]) -> Result<(String, i32), WireError> {
    let broken = || WireError::new(format!("`fd={}` is not NAME#FD", String::from_utf8_lossy(value)));
    let hash = value.iter().rposition(|b| *b == b'#').ok_or_else(broken)?;
    let name = std::str::from_utf8(&value[..hash]).map_err(|_| broken())?;
    Ok((name.to_owned(), descriptor("fd", &value[hash + 1..])?))
}

fn passed(value: &[u8]) -> Result<(String, i32), WireError> {
    let broken = || WireError::new(format!("`passed={}` is not NAME@FD", String::from_utf8_lossy(value)));
    let at = value.iter().rposition(|b| *b == b'@').ok_or_else(broken)?;
    let name = String::from_utf8_lossy(&value[..at]).into_owned();
    Ok((name, descriptor("passed", &value[at + 1..])?))
}

fn stored(value: &[u8]) -> Result<(usize, i32), WireError> {
    let broken = || WireError::new(format!("`stored={}` is not NUMBER@FD", String::from_utf8_lossy(value)));
    let at = value.iter().position(|b| *b == b'@').ok_or_else(broken)?;
    Ok((fields::number("stored", &value[..at])?, descriptor("stored", &value[at + 1..])?))
}

fn asleep(value: &[u8], line: &Fields) -> Result<Asleep, WireError> {
    let (lock, failures) = std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.split_once(",f"))
        .and_then(|(lock, failures)| Some((lock, failures.parse().ok()?)))
        .ok_or_else(|| broken("asleep", value, "FD,fNUMBER"))?;
    // Without it nobody would know the mask that all signals were added to.
    line.bytes("startup").ok_or_else(|| WireError::missing("startup"))?;
    Ok(Asleep {
        pid_file: if lock == "-" { None } else { Some(descriptor("asleep", lock.as_bytes())?) },
        program: line.bytes("program").ok_or_else(|| WireError::missing("program"))?.to_vec(),
        failures,
    })
}

fn startup(value: &[u8]) -> Result<[u64; 2], WireError> {
    let bits = |text: &str| u64::from_str_radix(text, 16).ok();
    std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.strip_prefix('i')?.split_once(':'))
        .and_then(|(ignored, blocked)| Some([bits(ignored)?, bits(blocked)?]))
        .ok_or_else(|| broken("startup", value, "iBITS:BITS"))
}

fn broken(key: &str, value: &[u8], right: &str) -> WireError {
    WireError::new(format!("`{key}={}` is not {right}", String::from_utf8_lossy(value)))
}

/// Numbers behind the last `#`, or a value that is nothing but numbers. Which of
/// them are descriptors that were handed over, only the kernel can tell.
fn descriptors_in(value: &[u8]) -> Vec<i32> {
    let list = value.rsplit(|b| *b == b'#').next().unwrap_or(value);
    list.split(|b| *b == b',').map(|fd| descriptor("", fd)).collect::<Result<_, _>>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Handoff {
        Handoff {
            pid: Pid(4242),
            generation: Generation(2),
            listeners: vec![
                HandedListener {
                    kind: "tcp".to_owned(),
                    address: b"127.0.0.1:8080".to_vec(),
                    queues: vec![3, 4],
                    passed: Some("we#b;@5".to_owned()),
                    stored: None,
                },
                HandedListener {
                    kind: "unix".to_owned(),
                    address: b"/run/a;b=c#1@\xff.sock".to_vec(),
                    queues: vec![9],
                    passed: None,
                    stored: Some(1),
                },
            ],
            link: 5,
            relay: Some([6, 7]),
            back: Some(10),
            board: Some(8),
            workers: Some(4),
            configured: Some(2),
            kept: vec![("metrics".to_owned(), 11), ("a;b#c".to_owned(), 12)],
            anchor: Some(13),
            asleep: Some(Asleep { pid_file: Some(14), program: b"/srv/app;1".to_vec(), failures: 2 }),
            startup: Some([1 << 12, u64::MAX]),
            control: Some(15),
            clients: vec![16, 17],
            proving: vec![17],
            before: vec![(Pid(41), Generation(1)), (Pid(42), Generation(2))],
            strays: vec![],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let value = sample().encode();
        assert!(value.is_ascii());
        assert_eq!(Handoff::decode(value.as_bytes(), Pid(4242)), Ok(Reading::Ours(Box::new(sample()))));
    }

    #[test]
    fn a_leaked_variable_is_for_somebody_else() {
        let value = sample().encode();
        assert_eq!(Handoff::decode(value.as_bytes(), Pid(1)), Ok(Reading::Foreign { pid: Pid(4242) }));
    }

    #[test]
    fn a_newer_writer_that_we_can_read_is_read_without_what_we_do_not_know() {
        let value = "v=2;min=1;pid=7;gen=3;tunnel=6,7;rope=NAME#9;mood=1.5;listen=quic@[::1]:443#4;link=5";
        let Ok(Reading::Ours(handoff)) = Handoff::decode(value.as_bytes(), Pid(7)) else { panic!() };
        assert_eq!(handoff.listeners[0].kind, "quic");
        assert_eq!(handoff.board, None);
        assert_eq!(handoff.strays, [6, 7, 9]);
    }

    #[test]
    fn an_older_writer_left_out_what_came_later() {
        let value = "v=1;pid=7;gen=3;listen=tcp@127.0.0.1:80#4;link=5";
        assert!(matches!(Handoff::decode(value.as_bytes(), Pid(7)), Ok(Reading::Ours(_))));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let error = |value: &str| Handoff::decode(value.as_bytes(), Pid(7)).unwrap_err().to_string();
        assert_eq!(
            error("v=3;min=2;pid=7;gen=3;link=5"),
            "its version 3 (readable from 2) is not one that this program knows (1 to 1)"
        );
        assert_eq!(error("v=1;pid=7;gen=3"), "`link` is missing");
        assert_eq!(error("v=1;pid=7;gen=3;link=1"), "`link` names descriptor 1, a standard stream");
        assert_eq!(error("v=1;pid=7;gen=3;link=5;listen=tcp"), "`listen=tcp` is not KIND@ADDRESS#FD");
        assert_eq!(error("v=1;pid=7;gen=3;link=5;board=5"), "descriptor 5 is named twice");
        assert_eq!(error("v=1;pid=7;gen=3;link=5;listen=tcp@127.0.0.1:80#6,6"), "descriptor 6 is named twice");
        assert_eq!(error("v=1;pid=7;gen=3;link=5;relay=6"), "`relay=6` is not ENTRY,EXIT");
        assert_eq!(error("v=1;pid=7;gen=3;link=5;relay=6,7;back=7"), "descriptor 7 is named twice");
        assert_eq!(error("v=1;pid=7;gen=3;link=5;fd=6"), "`fd=6` is not NAME#FD");
        assert_eq!(error("v=1;pid=7;gen=3;link=5;fd=a#6;fd=b#6"), "descriptor 6 is named twice");
        assert_eq!(error("v=1;pid=7;gen=3;link=5;anchor=5"), "descriptor 5 is named twice");
        assert_eq!(error("v=1;pid=7;gen=3;link=5;passed=web"), "`passed=web` is not NAME@FD");
        assert_eq!(error("v=1;pid=7;gen=3;link=5;asks=6,5"), "descriptor 5 is named twice");
        assert_eq!(error("v=1;pid=7;gen=3;link=5;before=6"), "`before=6` is not PID:GENERATION");
        assert_eq!(error("hello"), "`hello` has no `=`");
    }

    proptest! {
        #[test]
        fn no_value_panics(value in "(v=[0-9]{1,3};)?(pid=7;)?[a-z]{1,6}=[ -~]{0,30}(;link=[0-9]{1,3})?") {
            let _ = Handoff::decode(value.as_bytes(), Pid(7));
        }
    }
}
