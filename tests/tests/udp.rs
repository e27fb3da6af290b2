//! The example with a UDP socket for each worker: every datagram is answered.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hatchery_tests::program::example;
use hatchery_tests::{Lab, Program, Start, client, log, wait};
use nix::sys::signal::Signal;

/// How long an answer may take. Those that were on their way stay on their way.
const ANSWER: Duration = Duration::from_secs(20);

/// Datagrams that a client sends before it waits for the answers.
const BURST: usize = 20;

fn start(workers: &str) -> (Lab, String) {
    // Free a moment ago: nothing else asks for ports of UDP here.
    let address = UdpSocket::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").to_string();
    let start = Start::default().program(Program::Link(example("udp"))).set("workers", workers);
    let lab = start.argument("--udp").argument(&address).ready();
    (lab, address)
}

/// A client with a port of its own, and so with one socket of the server's.
fn client_of(address: &str) -> UdpSocket {
    let client = UdpSocket::bind("127.0.0.1:0").expect("a port");
    client.connect(address).expect("an address");
    client.set_read_timeout(Some(ANSWER)).expect("a time");
    client
}

/// Sends a few datagrams at once, and waits for the answer to each. Returns who has answered.
fn ask(client: &UdpSocket, first: u64) -> Result<Vec<String>, String> {
    let mut missing: Vec<String> = (first..).take(BURST).map(|number| number.to_string()).collect();
    for text in &missing {
        client.send(text.as_bytes()).map_err(|error| format!("not sent: {error}"))?;
    }
    let mut who = Vec::new();
    let mut buffer = [0; 200];
    while !missing.is_empty() {
        let length = match client.recv(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            received => received.map_err(|error| format!("no answer to {missing:?}: {error}"))?,
        };
        let answer = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let (worker, text) = answer.split_once(": ").ok_or(format!("a strange answer: {answer}"))?;
        let index = missing.iter().position(|it| it == text).ok_or(format!("answered twice: {answer}"))?;
        missing.remove(index);
        who.push(worker.to_owned());
    }
    Ok(who)
}

/// Clients that never send a datagram twice, and may never miss an answer.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Result<(), String>>>,
}

impl Load {
    fn start(address: &str, clients: usize) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let run = |_| {
            let (client, stop, answered) = (client_of(address), Arc::clone(&stop), Arc::clone(&answered));
            thread::spawn(move || {
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    let count = ask(&client, number)?.len() as u64;
                    number += count;
                    answered.fetch_add(count, Ordering::Relaxed);
                    wait::think(Duration::from_millis(1));
                }
                Ok(())
            })
        };
        Self { clients: (0..clients).map(run).collect(), stop, answered }
    }

    fn more(&self) {
        let goal = self.answered.load(Ordering::Relaxed) + 1000;
        wait::until("more answers", || (self.answered.load(Ordering::Relaxed) >= goal).then_some(()));
    }

    fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("a client").expect("every datagram is answered");
        }
    }
}

#[test]
fn every_datagram_is_answered_whatever_the_operator_does() {
    let (lab, address) = start("3");
    let load = Load::start(&address, 12);
    for generation in 1..=3 {
        let before = lab.ready();
        load.more();
        lab.signal(Signal::SIGHUP);
        lab.until("every worker is new", || lab.ready().is_disjoint(&before) && lab.ready().len() == 3);
        load.more();
        let worker = *lab.ready().first().expect("a worker");
        lab.signal_to(worker, Signal::SIGTERM);
        lab.until("it is replaced", || !lab.workers().contains(&worker) && lab.ready().len() == 3);
        load.more();
        for workers in [2, 1] {
            lab.signal(Signal::SIGTTOU);
            lab.until("one less", || lab.workers().len() == workers);
            load.more();
        }
        for workers in [2, 3, 4] {
            lab.signal(Signal::SIGTTIN);
            lab.until("one more", || lab.ready().len() == workers);
        }
        load.more();
        lab.signal(Signal::SIGTTOU);
        lab.until("one less", || lab.workers().len() == 3);
        assert_eq!(lab.generation(), Some(generation));
        lab.upgrade();
        load.more();
    }
    load.finish();
    lab.stop();
}

#[test]
fn what_comes_while_nobody_is_there_waits() {
    let (lab, address) = start("2");
    lab.signal(Signal::SIGWINCH);
    lab.until("all workers have gone", || lab.workers().is_empty());
    let clients: Vec<UdpSocket> = (0..8).map(|_| client_of(&address)).collect();
    for client in &clients {
        client.send(b"early").expect("sent");
    }
    lab.signal(Signal::SIGHUP);
    for client in &clients {
        let mut buffer = [0; 200];
        let length = client.recv(&mut buffer).expect("an answer");
        assert!(buffer[..length].ends_with(b": early"));
    }
    lab.stop();
}

#[test]
fn each_worker_has_clients_of_its_own_and_others_look_after_those_of_one_that_is_stopped() {
    let (lab, address) = start("2");
    let clients: Vec<UdpSocket> = (0..16).map(|_| client_of(&address)).collect();
    let whose = |client| ask(client, 0).expect("answers").remove(0);
    let before: Vec<String> = clients.iter().map(whose).collect();
    assert!(before.iter().any(|who| who != &before[0]), "the kernel spreads them: {before:?}");
    let workers = lab.ready();
    let stopped = *workers.first().expect("a worker");
    lab.freeze(stopped);
    for client in &clients {
        ask(client, 0).expect("the other one answers");
    }
    lab.thaw(stopped);
    lab.stop();
}

#[test]
fn a_second_program_on_the_address_is_refused_and_a_stop_gives_it_back() {
    let (lab, address) = start("2");
    assert!(client::get(lab.address(), "/").is_ok());
    let second = Start::default().program(Program::Link(example("udp"))).argument("--udp").argument(&address).ended();
    second.assert_one_line(1, &["udp-0", "in use"]);
    assert_eq!(log::READY.count(&lab.log()), 1);
    lab.stop();
    UdpSocket::bind(&address).expect("it is free");
}
