//! A unix socket behind nginx, with `examples/deploy/nginx/unix-socket.conf`: the
//! connections that nginx keeps open are clients like others.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use hatchery_tests::client::{self, Client};
use hatchery_tests::load::Load;
use hatchery_tests::neighbour::{Neighbour, deployed, with};
use hatchery_tests::{Lab, Start, log};
use nix::sys::signal::Signal;

/// What nginx is told to do with a request that has failed.
const RETRIES: &str = "proxy_next_upstream error timeout;";

struct Pair {
    nginx: Neighbour,
    lab: Lab,
    /// Where nginx listens.
    address: String,
}

impl Pair {
    /// With this in the place of what the example says on retries.
    fn start(retries: &str) -> Self {
        let (start, address) = Start::lab().unix();
        let lab = start.ready();
        let front = format!("unix:{}", lab.path("front.sock").display());
        let listen = format!("listen {front};");
        let http = with(
            &deployed("nginx/unix-socket.conf"),
            &[("unix:/run/app/app.sock", &address), ("listen 80;", &listen), (RETRIES, retries)],
        );
        let nginx = Neighbour::nginx(&[], &http, Some(&front));
        Self { nginx, lab, address: front }
    }

    fn inode(&self) -> u64 {
        fs::metadata(self.lab.path("lab.sock")).expect("a socket").ino()
    }

    fn generation(&self) -> u32 {
        client::get(&self.address, "/whoami").expect("an answer").whoami().generation
    }

    fn reload(&self) {
        let (before, reloads) = (self.lab.ready(), log::RELOAD_DONE.count(&self.lab.log()));
        self.lab.signal(Signal::SIGHUP);
        self.lab.until_logged(log::RELOAD_DONE, reloads + 1);
        self.lab.until("every worker is new", || self.lab.ready().is_disjoint(&before) && self.lab.ready().len() == 2);
    }

    fn recycle(&self) {
        let before = self.lab.ready();
        let worker = *before.first().expect("a worker");
        self.lab.signal_to(worker, Signal::SIGTERM);
        self.lab.until("it is replaced", || !self.lab.workers().contains(&worker) && self.lab.ready().len() == 2);
    }
}

#[test]
fn no_operation_costs_a_request_that_is_never_sent_twice() {
    let pair = Pair::start("proxy_next_upstream off;");
    let inode = pair.inode();
    let fresh = Load::fresh(&pair.address, 2);
    let busy = Load::keep_alive(&pair.address, 2, Duration::ZERO);
    let thinking = Load::keep_alive(&pair.address, 6, Duration::from_millis(20));
    let more = || [&fresh, &busy, &thinking].into_iter().for_each(|load| load.more(30));
    for generation in 1..=3 {
        assert_eq!(pair.generation(), generation);
        more();
        pair.reload();
        more();
        pair.recycle();
        more();
        pair.lab.upgrade();
        more();
        assert_eq!(pair.inode(), inode, "the socket stays");
    }
    for load in [fresh, busy, thinking] {
        load.finish_without_failure();
    }
    let complaints: Vec<String> =
        pair.nginx.log().lines().filter(|it| it.contains("[error]")).map(str::to_owned).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    pair.lab.stop();
}

#[test]
fn the_connections_that_nginx_keeps_move_to_the_next_generation() {
    let pair = Pair::start("proxy_next_upstream off;");
    let mut clients: Vec<Client> = (0..8).map(|_| Client::connect(&pair.address).expect("a connection")).collect();
    let ask_all = |clients: &mut Vec<Client>| {
        for client in clients.iter_mut() {
            client.ask("/sleep?ms=300").expect("sent");
        }
        for client in clients.iter_mut() {
            assert_eq!(client.answer().expect("an answer").status, 200);
        }
    };
    ask_all(&mut clients);
    let before = pair.nginx.sockets();
    let first = pair.lab.serving();
    pair.reload();
    pair.lab.upgrade();
    assert_ne!(pair.lab.serving(), first);
    assert_eq!(pair.nginx.sockets(), before, "nothing was closed, and nothing opened");
    ask_all(&mut clients);
    assert_eq!(pair.nginx.sockets(), before, "they are used again");
    pair.lab.stop();
}

#[test]
fn a_killed_worker_costs_what_it_had_in_hand_and_nothing_with_retries() {
    let pair = Pair::start(RETRIES);
    let load = Load::keep_alive(&pair.address, 8, Duration::from_millis(2));
    let mut killed = BTreeSet::new();
    for _ in 0..5 {
        load.more(100);
        let worker = *pair.lab.ready().first().expect("a worker");
        pair.lab.signal_to(worker, Signal::SIGKILL);
        killed.insert(worker);
        pair.lab.until("it is replaced", || pair.lab.ready().is_disjoint(&killed) && pair.lab.ready().len() == 2);
    }
    load.more(100);
    load.finish_without_failure();
    pair.lab.stop();
}
