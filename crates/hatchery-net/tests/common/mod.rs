//! Second programs, and what both sides say.
#![allow(dead_code, unreachable_pub, clippy::allow_attributes, reason = "each test binary uses a part")]

use std::io::Read;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hatchery_net::{Address, Listener, Queue, Spec};
use hatchery_sys::{accept, poll};

/// Where a role is told to a second program.
pub const ROLE: &str = "HATCHERY_TEST_ROLE";

/// Waits of a test that has failed end after this.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub fn spec(address: &str) -> Spec {
    Spec { name: None, address: address.parse().expect("an address") }
}

pub fn unix_spec(path: &Path) -> Spec {
    Spec { name: None, address: Address::Unix(path.to_owned()) }
}

pub fn tcp(listener: &Listener) -> SocketAddr {
    match listener.bound() {
        Address::Tcp(address) => *address,
        Address::Unix(path) => panic!("{}", path.display()),
    }
}

/// A descriptor as another program would hand it over.
pub fn copy(queue: &Queue) -> OwnedFd {
    queue.try_clone().expect("a descriptor").into()
}

pub fn copies(listener: &Listener) -> Vec<OwnedFd> {
    listener.queues().iter().map(copy).collect()
}

/// Waits for a connection and takes it.
pub fn take(queue: &Queue) -> OwnedFd {
    assert_eq!(poll::readable(&[queue.as_fd()], Some(DEADLINE)).expect("poll"), [true], "a connection should come");
    accept::accept(queue.as_fd()).expect("a connection").0
}

/// Takes everything that waits.
pub fn take_all(queue: &Queue) -> usize {
    std::iter::from_fn(|| accept::accept(queue.as_fd()).ok()).count()
}

/// This test binary in another process, where only the test `second_program` runs, in `role`.
pub fn second_program(role: &str, stdin: impl Into<Stdio>) -> Child {
    start(Command::new(std::env::current_exe().expect("a path")), role, stdin)
}

/// The same with so many descriptors at most.
pub fn second_with_few_descriptors(role: &str, most: u32) -> Child {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -n {most}; exec \"$0\" \"$@\"")]);
    shell.arg(std::env::current_exe().expect("a path"));
    start(shell, role, Stdio::null())
}

fn start(mut program: Command, role: &str, stdin: impl Into<Stdio>) -> Child {
    program.args(["--exact", "second_program", "--nocapture", "--quiet"]).env(ROLE, role);
    program.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::null());
    program.spawn().expect("this program starts")
}

/// Waits until the second program has said `mark`, and answers what it said.
pub fn hear(child: &mut Child, mark: &str) -> String {
    let out = child.stdout.as_mut().expect("piped");
    let mut heard = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&heard).contains(mark) {
        let said = poll::readable(&[out.as_fd()], Some(DEADLINE)).expect("poll") == [true];
        assert!(said, "it says no more than: {}", String::from_utf8_lossy(&heard));
        assert_eq!(out.read(&mut byte).expect("a pipe"), 1, "it ended: {}", String::from_utf8_lossy(&heard));
        heard.push(byte[0]);
    }
    String::from_utf8_lossy(&heard).into_owned()
}
