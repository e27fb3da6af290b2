//! Who is connected, and what each connection does, also where a worker's loop is blocked.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use hatchery_control::{Client, Connection, Reply, Request, Until};
use hatchery_tests::{Lab, Start};

fn connections_at(path: &Path) -> Vec<Connection> {
    let mut found = Vec::new();
    let mut take = |reply| match reply {
        Reply::Connections { connections, .. } => found.extend(connections),
        other => panic!("{other:?}"),
    };
    let last = Client::connect(path).and_then(|mut client| client.ask(&Request::Connections, &mut take));
    take(last.expect("an answer"));
    found
}

fn connections(lab: &Lab) -> Vec<Connection> {
    connections_at(&lab.control_path())
}

fn ask(lab: &Lab, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(lab.address()).expect("room");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: lab\r\n\r\n").expect("room");
    stream
}

#[test]
fn each_is_told_with_its_client_also_by_a_worker_that_is_blocked() {
    let lab = Start::lab().set("workers", "1").controlled().ready();
    assert!(connections(&lab).is_empty());
    let mut idle = ask(&lab, "/");
    assert!(idle.read(&mut [0; 1024]).expect("an answer") > 0);
    let blocking = ask(&lab, "/spin?ms=20000");
    let address = |stream: &TcpStream| Some(stream.local_addr().expect("an address").to_string());
    let find = |stream: &TcpStream| connections(&lab).into_iter().find(|found| found.peer == address(stream));
    lab.until("it blocks", || find(&blocking).is_some_and(|found| found.doing == "handler"));
    let found = find(&idle).expect("it is open");
    let worker = *lab.ready().first().expect("a worker");
    assert_eq!((found.pid, found.slot, found.generation, found.draining), (worker, 0, 1, false));
    assert_eq!((found.listener.as_str(), found.protocol.as_str(), found.requests), (lab.address(), "http/1", 1));
    assert!(["idle", "parked"].contains(&found.doing.as_str()), "{found:?}");
    assert!(found.age_seconds < 120.0);
    assert_eq!(connections(&lab).len(), 2);
    lab.signal_to(worker, nix::sys::signal::Signal::SIGKILL);
    lab.until("they are gone", || connections(&lab).is_empty());
    lab.stop();
}

#[test]
fn a_long_list_comes_in_parts() {
    let lab = Start::lab().controlled().ready();
    let crowd: Vec<_> = (0..700).map(|_| TcpStream::connect(lab.address()).expect("room")).collect();
    lab.until("all are told", || connections(&lab).len() == crowd.len());
    drop(crowd);
    lab.until("none is left", || connections(&lab).is_empty());
    lab.stop();
}

#[test]
fn who_holds_a_drain_up_is_told_by_the_predecessor() {
    let lab = Start::lab().controlled().ready();
    let slow = ask(&lab, "/sleep?ms=5000");
    lab.until("it is in a handler", || connections(&lab).iter().any(|found| found.doing == "handler"));
    let upgraded = lab.ask(&Request::Upgrade { wait: Until::Done });
    assert!(upgraded.done().starts_with("upgrade is done"), "{upgraded:?}");
    let before = lab.status().predecessors.first().cloned().expect("it drains");
    let path = before.control.expect("it can be asked");
    lab.until("it drains", || connections_at(&path).iter().any(|found| found.draining && found.doing == "handler"));
    drop(slow);
    lab.until("the predecessor is gone", || lab.status().predecessors.is_empty());
    lab.stop();
}
