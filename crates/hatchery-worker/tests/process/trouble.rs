//! Descriptors that run out, queues that are shut.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hatchery_core::ListenMode;
use hatchery_core::wire::worker::WorkerSays;
use hatchery_sys::Signal;

use crate::Test;
use crate::support::{Child, Client, DEADLINE, Master, Options, wait_for};

pub(crate) const TESTS: &[Test] = &[
    ("without_descriptors_it_keeps_serving", without_descriptors_it_keeps_serving),
    ("without_descriptors_it_does_not_spin", without_descriptors_it_does_not_spin),
    ("without_descriptors_the_final_stop_still_empties_the_queue", final_stop_without_descriptors),
    ("a_queue_that_is_shut_is_left_alone", a_queue_that_is_shut_is_left_alone),
    ("a_unix_queue_that_is_shut_is_left_alone", a_unix_queue_that_is_shut_is_left_alone),
    ("the_final_stop_of_a_unix_socket", the_final_stop_of_a_unix_socket),
];

/// A worker without descriptors to spare, and more clients than it can accept.
fn short_of_descriptors(master: &Master) -> (Child, VecDeque<Client>) {
    let options = Options { max_connections: 1000, spare_files: Some(12), ..Options::default() };
    let child = master.serving(options);
    let clients = (0..40)
        .map(|_| {
            let mut client = master.client();
            client.say("hello");
            client
        })
        .collect();
    wait_for("it has met the limit", || child.log().contains("cannot accept"));
    (child, clients)
}

fn without_descriptors_it_keeps_serving() {
    let master = Master::new();
    let (child, mut clients) = short_of_descriptors(&master);
    assert!(child.open() < 20);
    // Each one that goes makes room for another.
    while let Some(mut client) = clients.pop_front() {
        assert_eq!(client.heard_by().0, "hello");
        assert_eq!(client.echo(), child.pid);
    }
    wait_for("all are gone", || child.open() == 0);
    assert_eq!(child.accepted(), 40);
    assert_eq!(master.client().echo(), child.pid);
    assert_eq!(child.log().matches("cannot accept").count(), 1, "{}", child.log());
}

fn without_descriptors_it_does_not_spin() {
    let master = Master::new();
    let (child, clients) = short_of_descriptors(&master);
    let turn = || child.cell().turn.load(Ordering::Relaxed);
    let (start, before) = (Instant::now(), turn());
    // Two turns a wake-up, a few of them for the clients that were accepted.
    wait_for("it has tried some times more", || turn() >= before + 14);
    assert!(start.elapsed() > Duration::from_millis(20), "{:?}", start.elapsed());
    drop(clients);
}

fn final_stop_without_descriptors() {
    let master = Master::new();
    let (child, mut clients) = short_of_descriptors(&master);
    child.finish();
    child.settle();
    while let Some(mut client) = clients.pop_front() {
        assert_eq!(client.heard_by().0, "hello");
    }
    child.expect(&WorkerSays::Emptied);
    assert_eq!(child.accepted(), 40);
    master.shut_all();
    child.exits_with(0);
}

fn a_queue_that_is_shut_is_left_alone() {
    let master = Master::new();
    let child = master.serving(Options::default());
    let mut client = master.client();
    client.echo();
    master.shut_all();
    child.settle();
    client.echo();
    let turn = || child.cell().turn.load(Ordering::Relaxed);
    let before = turn();
    for _ in 0..5 {
        client.echo();
    }
    // A loop that asks the queue again and again would have made thousands.
    assert!(turn() < before + 50, "{} turns", turn() - before);
    child.assign([]);
    child.settle();
    assert_eq!(client.echo(), child.pid);
}

/// A master with one unix socket.
fn unix_master() -> (tempfile::TempDir, PathBuf, Master) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let master = Master::with(&[(None, &format!("unix:{}", path.display()))], ListenMode::Shared, 1);
    (dir, path, master)
}

fn say_hello(path: &Path) -> BufReader<UnixStream> {
    let mut client = UnixStream::connect(path).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client.write_all(b"hello\n").unwrap();
    BufReader::new(client)
}

fn hear(client: &mut BufReader<UnixStream>) -> String {
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    line.split(' ').next().unwrap_or_default().to_owned()
}

/// One that is shut stays readable and answers `EAGAIN`.
fn a_unix_queue_that_is_shut_is_left_alone() {
    let (_dir, path, master) = unix_master();
    let child = master.serving(Options::default());
    let mut client = say_hello(&path);
    assert_eq!(hear(&mut client), "hello");
    master.shut_all();
    child.settle();
    let before = child.cell().turn.load(Ordering::Relaxed);
    for _ in 0..5 {
        client.get_mut().write_all(b"again\n").unwrap();
        assert_eq!(hear(&mut client), "again");
    }
    assert!(child.cell().turn.load(Ordering::Relaxed) < before + 50);
}

fn the_final_stop_of_a_unix_socket() {
    // One that does not see that its queue is shut lingers for a second each time; a busy machine is slow now and then.
    let took: Vec<Duration> = std::iter::repeat_with(final_stop_of_a_unix_socket).take(10).collect();
    assert!(
        took.iter().any(|took| *took < Duration::from_millis(900)),
        "it has not seen that the queue is shut: {took:?}"
    );
}

/// How long it takes once the queue is empty.
fn final_stop_of_a_unix_socket() -> Duration {
    let (_dir, path, master) = unix_master();
    let child = master.serving(Options::default());
    child.kill(Signal::SIGSTOP);
    let mut clients: Vec<_> = (0..20).map(|_| say_hello(&path)).collect();
    child.finish();
    child.kill(Signal::SIGCONT);
    child.expect(&WorkerSays::Emptied);
    assert_eq!(child.accepted(), 20);
    let start = Instant::now();
    master.shut_all();
    for client in &mut clients {
        assert_eq!(hear(client), "hello");
        assert_eq!(hear(client), "bye");
    }
    child.exits_with(0);
    start.elapsed()
}
