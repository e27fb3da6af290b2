//! Upgrades between versions of the library: what a successor makes of a
//! handoff variable, and of messages, that are older or newer than its own.
//!
//! In the first part the predecessor is the test: it holds a listener and one
//! end of the channel, and hands the lab the other end as a master would. In the
//! second part there are two builds, which take no connections from each other.

use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use hatchery_tests::client::Client;
use hatchery_tests::program::next_lab;
use hatchery_tests::storm::{Crowd, IDLE, KEEP_ALIVE, Storm};
use hatchery_tests::{Lab, Program, Start, log, procfs, wait};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

/// A predecessor of another version.
struct Predecessor {
    listener: TcpListener,
    link: OwnedFd,
}

impl Predecessor {
    /// Starts a successor with this variable, in which `PID`, `LISTEN`, `LINK` and `STRAY`,
    /// a descriptor that only another version knows, are filled in.
    fn start(variable: &str) -> (Self, Start) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (link, other) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).expect("a channel");
        let stray = if variable.contains("STRAY") { "7>stray" } else { "" };
        let variable = variable
            .replace("STRAY", "7")
            .replace("PID", "pid=$$")
            .replace("LISTEN", &format!("listen=tcp@{address}#8"))
            .replace("LINK", "link=9");
        // The shell gets both as its first two streams, and puts them where the variable says.
        let script = format!("HATCHERY_HANDOFF=\"{variable}\" exec \"$@\" {stray} 8<&0 9>&1 </dev/null >&2");
        let start = Start::lab()
            .set("bind", &address)
            .launcher(["sh", "-c", &script, "sh"])
            .streams(OwnedFd::from(listener.try_clone().expect("a descriptor")).into(), other.into());
        (Self { listener, link }, start)
    }

    fn say(&self, message: &str) {
        let sent = send(self.link.as_raw_fd(), message.as_bytes(), MsgFlags::MSG_NOSIGNAL).expect("the link is open");
        assert_eq!(sent, message.len());
    }

    /// Waits for a message with this verb, past others.
    fn hear(&self, verb: &str) {
        let mut heard = Vec::new();
        let mut buffer = [0; 4096];
        wait::until(&format!("the successor says {verb}"), || {
            let length = recv(self.link.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT).ok()?;
            assert_ne!(length, 0, "the link was closed after {heard:?}");
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let found = message.split(';').next() == Some(verb);
            heard.push(message);
            found.then_some(())
        });
    }
}

/// Goes through an upgrade with a successor that was started with `variable`, in generation 5.
fn upgrades(variable: &str, commit: &[&str]) {
    let (predecessor, start) = Predecessor::start(variable);
    let mut lab = start.spawn();
    predecessor.hear("ready");
    assert_eq!(lab.pid_file("lab.pid"), None, "nothing is taken before the commit");

    // Before the commit no queue is assigned: this one stays in it.
    let address = predecessor.listener.local_addr().expect("an address").to_string();
    let mut early = Client::connect(&address).expect("the queue is there");
    early.ask("/whoami").expect("sent");
    assert!(matches!(early.is_closed(), Ok(false)));

    for message in commit {
        predecessor.say(message);
    }
    predecessor.hear("taken");
    let answer = early.answer().expect("the successor accepts what was queued");
    assert!(answer.text().contains("\"generation\":5"), "{}", answer.text());
    lab.wait_until_ready();
    assert_eq!(lab.generation(), Some(5));
    assert_no_stray(&lab);

    drop(predecessor);
    assert_eq!(lab.get("/").expect("it serves on alone").status, 200);
    // Its own successor is of its own version.
    lab.upgrade();
    assert_eq!(lab.whoami().generation, 6);
    lab.signal(nix::sys::signal::Signal::SIGTERM);
    lab.assert_gone();
}

/// Descriptors under keys that nobody here knows are closed.
fn assert_no_stray(lab: &Lab) {
    for process in lab.processes() {
        let files = procfs::descriptors(process.pid);
        assert!(!files.values().any(|file| file.ends_with("/stray")), "{process}: {files:?}");
    }
}

#[test]
fn from_this_version() {
    upgrades("v=1;min=1;PID;gen=5;LISTEN;LINK;workers=2;configured=2", &["commit;draining=0"]);
}

#[test]
fn from_a_newer_version_that_says_more() {
    let variable = "v=2;min=1;PID;gen=5;LISTEN;LINK;comet=STRAY;moon=full;workers=2;configured=2";
    upgrades(variable, &["comet;v=2;n=4", "commit;draining=0;moon=full"]);
}

#[test]
fn from_an_older_version_that_says_less() {
    upgrades("v=1;PID;gen=5;LISTEN;LINK", &["commit"]);
}

#[test]
fn from_a_version_that_is_too_new() {
    let (predecessor, start) = Predecessor::start("v=9;min=9;PID;gen=5;LISTEN;LINK");
    start.ended().assert_one_line(1, &["HATCHERY_HANDOFF", "version 9"]);
    drop(predecessor);
}

#[test]
fn a_kind_of_listener_that_nobody_here_knows_is_closed() {
    let variable = "v=2;min=1;PID;gen=5;LISTEN;listen=quic@127.0.0.1:443#STRAY;LINK";
    upgrades(variable, &["commit;draining=0"]);
}

#[test]
fn an_abort_before_the_commit_ends_the_successor_and_leaves_the_queue_alone() {
    let (predecessor, start) = Predecessor::start("v=1;min=1;PID;gen=5;LISTEN;LINK");
    let lab = start.spawn();
    predecessor.hear("ready");
    predecessor.say("abort");
    lab.until("the successor is gone", || lab.processes().is_empty());
    let address = predecessor.listener.local_addr().expect("an address");
    let _waits = std::net::TcpStream::connect(address).expect("the queue is as it was");
    assert!(predecessor.listener.accept().is_ok());
    lab.assert_gone();
}

#[test]
fn a_predecessor_that_dies_before_the_commit_is_succeeded() {
    let (predecessor, start) = Predecessor::start("v=1;min=1;PID;gen=5;LISTEN;LINK");
    let mut lab = start.spawn();
    predecessor.hear("ready");
    drop(predecessor);
    lab.wait_until_ready();
    assert_eq!(lab.whoami().generation, 5);
    lab.stop();
}

/// Upgrades to a program whose relay speaks another version, and tells what is
/// the same each time: nobody fails, everybody is told or was idle.
fn upgrades_to_strangers(lab: &Lab, program: &Program) {
    let (http, counter) = (lab.address(), lab.counter());
    let storm = Storm::begin([
        Crowd::keep_alive(http, 24),
        Crowd::keep_alive(http, 2).pausing(Duration::ZERO..Duration::ZERO),
        Crowd::fresh(http, 4),
        Crowd::idle(http, 50),
        Crowd::slow_head(http, 8),
        Crowd::slow_post(http, 8),
        Crowd::slow_stream(http, 8),
    ]);
    let mut idle = Client::connect(counter).expect("a connection");
    idle.send("add 1\n").expect("sent");
    assert!(idle.line().expect("a sum").starts_with("sum 1 "));
    storm.more(2);
    lab.install(program);
    lab.upgrade();
    storm.more(2);
    let report = storm.finish();
    report.assert_no_failure();
    assert!(report.of(KEEP_ALIVE).announced > 0, "{report}");
    assert_eq!(report.of(IDLE).closed_idle, 50, "{report}");
    assert!(idle.read_to_end().is_ok_and(|rest| rest.is_empty()), "the counter is closed in order as well");
    assert_eq!(log::MESSAGE_REFUSED.count(&lab.log()), 0, "nothing was sent that is not understood");
}

#[test]
fn to_another_version_of_the_relay_and_back() {
    let next = Program::Link(next_lab());
    for mode in ["shared", "reuseport"] {
        let lab = Start::lab().for_a_storm().set("listen-mode", mode).ready();
        for (program, generation) in [(&next, 2), (&Program::lab(), 3), (&next, 4)] {
            upgrades_to_strangers(&lab, program);
            assert_eq!(lab.generation(), Some(generation));
            // Among themselves they understand each other.
            let mut kept = Client::connect(lab.address()).expect("a connection");
            let worker = kept.get("/whoami").expect("an answer").whoami().pid;
            lab.signal_to(worker, nix::sys::signal::Signal::SIGTERM);
            lab.until("it is replaced", || !lab.workers().contains(&worker));
            let answer = kept.get("/whoami").expect("the connection has moved");
            assert_ne!(answer.whoami().pid, worker);
            lab.until("nobody else is left", || lab.processes().len() == 3);
        }
        lab.stop();
    }
}

#[test]
fn a_raw_service_whose_state_has_another_version_is_not_given_any() {
    let lab = Start::lab().for_a_storm().ready();
    let counter = lab.counter().to_owned();
    let count = |client: &mut Client, sum: u64| {
        client.send("add 5\n").expect("sent");
        let line = client.line().unwrap_or_else(|failure| panic!("the connection is lost: {failure}"));
        assert!(line.starts_with(&format!("sum {sum} ")), "{line}");
    };
    let mut http = Client::connect(lab.address()).expect("a connection");
    let mut raw = Client::connect(&counter).expect("a connection");
    assert_eq!(http.get("/whoami").expect("an answer").whoami().generation, 1);
    count(&mut raw, 5);
    lab.upgrade();
    count(&mut raw, 10);
    lab.install(&Program::lab_with("LAB_COUNTER=2"));
    lab.upgrade();
    assert!(raw.read_to_end().is_ok_and(|rest| rest.is_empty()), "closed in order");
    assert_eq!(log::MESSAGE_REFUSED.count(&lab.log()), 0, "it was not even sent");
    assert_eq!(log::NOT_TAKEN.count(&lab.log()), 1, "and the log says so");
    assert_eq!(http.get("/whoami").expect("an answer").whoami().generation, 3, "it is no business of HTTP");

    let mut raw = Client::connect(&counter).expect("a connection");
    count(&mut raw, 5);
    lab.upgrade();
    count(&mut raw, 10);
    lab.stop();
}
