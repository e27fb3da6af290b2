//! Connections move: to whom, in which state, and through which operations.
//! Each is looked at from outside, on its old TCP connection.

use std::fs;
use std::time::{Duration, Instant};

use hatchery_tests::client::{Client, request};
use hatchery_tests::storm::{Crowd, Storm};
use hatchery_tests::{End, Lab, Start, Whoami, log, wait};
use nix::sys::signal::Signal;

/// A connection that was answered once.
fn idle(address: &str) -> Client {
    let mut client = Client::connect(address).expect("a connection");
    let _ = ask(&mut client);
    client
}

/// Who answers on this connection, without a word of its end.
fn ask(client: &mut Client) -> Whoami {
    let answer = client.get("/whoami").unwrap_or_else(|failure| panic!("the connection is lost: {failure}"));
    assert!(!answer.announces_close(), "{answer:?}");
    answer.whoami()
}

/// Asserts that the connection was closed in order, with nothing said.
fn assert_closed(client: &mut Client) {
    let rest = client.read_to_end().unwrap_or_else(|failure| panic!("not closed in order: {failure}"));
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
}

/// Upgrades, and waits no longer than until the predecessor's workers begin to drain.
fn begin_upgrade(lab: &Lab, count: usize) {
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::RETIRING, count);
}

#[test]
fn idle_connections_outlive_their_process() {
    for mode in ["shared", "reuseport"] {
        let lab = Start::lab().set("listen-mode", mode).ready();
        let mut clients: Vec<Client> = (0..50).map(|_| idle(lab.address())).collect();
        lab.signal(Signal::SIGHUP);
        lab.until_logged(log::RELOAD_DONE, 1);
        lab.until("the old workers are gone", || lab.workers() == lab.ready());
        for client in &mut clients {
            assert!(lab.ready().contains(&ask(client).pid));
        }
        for generation in [2, 3] {
            lab.upgrade();
            for client in &mut clients {
                assert_eq!(ask(client).generation, generation);
            }
        }
        lab.signal(Signal::SIGTTOU);
        lab.until("one is left", || lab.workers().len() == 1);
        for client in &mut clients {
            assert!(lab.ready().contains(&ask(client).pid));
        }
        lab.stop();
    }
}

#[test]
fn a_connection_of_a_unix_socket_moves_as_well() {
    let (start, address) = Start::lab().unix();
    let lab = start.ready();
    let mut client = idle(&address);
    lab.upgrade();
    assert_eq!(ask(&mut client).generation, 2);
    let worker = ask(&mut client).pid;
    lab.signal_to(worker, Signal::SIGTERM);
    lab.until("it is replaced", || !lab.workers().contains(&worker));
    assert_ne!(ask(&mut client).pid, worker);
    lab.stop();
}

#[test]
fn term_to_one_worker_moves_what_it_has_and_leaves_the_others_alone() {
    let lab = Start::lab().set("balance", "off").ready();
    let mut clients: Vec<Client> = (0..20).map(|_| idle(lab.address())).collect();
    let before: Vec<i32> = clients.iter_mut().map(|client| ask(client).pid).collect();
    let gone = before[0];
    lab.signal_to(gone, Signal::SIGTERM);
    lab.until("it is replaced", || !lab.workers().contains(&gone) && lab.ready().len() == 2);
    for (client, before) in clients.iter_mut().zip(before) {
        let now = ask(client).pid;
        assert_ne!(now, gone);
        assert!(before == gone || now == before, "nobody told this one to move");
    }
    lab.stop();
}

#[test]
fn a_connection_that_has_sent_nothing_or_half_a_head_moves_with_what_was_read() {
    let lab = Start::lab().set("header-timeout", "10m").ready();
    let mut silent = Client::connect(lab.address()).expect("a connection");
    let whole = request("/whoami", "");
    let mut halves: Vec<(Client, usize)> = Vec::new();
    for cut in 1..whole.len() {
        // Every other one is the second request on its connection.
        let mut client =
            if cut % 2 == 0 { idle(lab.address()) } else { Client::connect(lab.address()).expect("a connection") };
        client.send(&whole[..cut]).expect("sent");
        lab.until_read(lab.address(), &client);
        halves.push((client, cut));
    }
    lab.upgrade();
    for (client, cut) in &mut halves {
        client.send(&whole[*cut..]).unwrap_or_else(|failure| panic!("cut at {cut}: {failure}"));
        let answer = client.answer().unwrap_or_else(|failure| panic!("cut at {cut}: {failure}"));
        assert!(!answer.announces_close(), "{answer:?}");
        assert_eq!(answer.whoami().generation, 2);
        assert_eq!(ask(client).generation, 2);
    }
    assert_eq!(ask(&mut silent).generation, 2);
    lab.stop();
}

#[test]
fn a_busy_connection_moves_when_its_answer_is_whole() {
    // Cut off before its head, in a body of known length, and in one in chunks.
    for (path, length) in [("/sleep?ms=700", 6), ("/bytes?n=20000000", 20_000_000), ("/stream?chunks=8&ms=100", 128)] {
        let lab = Start::lab().ready();
        let mut client = idle(lab.address());
        client.ask(path).expect("sent");
        begin_upgrade(&lab, 1);
        let answer = client.answer().unwrap_or_else(|failure| panic!("{path}: {failure}"));
        assert!(!answer.announces_close(), "{path}: {:?}", answer.headers);
        assert_eq!(answer.body.len(), length);
        lab.until("the predecessor is gone", || lab.has_ended(lab.first()));
        assert_eq!(ask(&mut client).generation, 2, "{path}");
        lab.stop();
    }
}

#[test]
fn a_request_whose_body_still_comes_is_finished_where_it_began() {
    let lab = Start::lab().ready();
    let mut client = idle(lab.address());
    client.begin_post("/echo", "Content-Length: 6\r\n", "abc").expect("the answer begins");
    begin_upgrade(&lab, 1);
    client.send("def").expect("sent");
    let answer = client.answer().expect("the whole answer");
    assert_eq!(answer.text(), "abcdef");
    assert!(!answer.announces_close());
    lab.until("the predecessor is gone", || lab.has_ended(lab.first()));
    assert_eq!(ask(&mut client).generation, 2);
    lab.stop();
}

#[test]
fn pipelined_requests_are_all_answered_in_their_order() {
    let lab = Start::lab().ready();
    let mut client = idle(lab.address());
    let sizes = 1..=40;
    let together: String = sizes.clone().map(|n| request(&format!("/bytes?n={n}"), "")).collect();
    client.send(request("/sleep?ms=700", "") + &together + &request("/whoami", "")).expect("sent");
    begin_upgrade(&lab, 1);
    assert_eq!(client.answer().expect("an answer").text(), "slept\n");
    for n in sizes {
        let answer = client.answer().unwrap_or_else(|failure| panic!("answer {n}: {failure}"));
        assert_eq!((answer.status, answer.body.len(), answer.announces_close()), (200, n, false));
    }
    assert_eq!(client.answer().expect("the last answer").status, 200);
    lab.until("the predecessor is gone", || lab.has_ended(lab.first()));
    assert_eq!(ask(&mut client).generation, 2);
    lab.stop();
}

#[test]
fn who_still_drains_when_an_upgrade_comes_hands_over_to_the_successor() {
    let lab = Start::lab().ready();
    let mut client = idle(lab.address());
    let old = ask(&mut client).pid;
    client.begin("/stream?chunks=25&ms=100").expect("the answer begins");
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_DONE, 1);
    begin_upgrade(&lab, 1);
    assert!(lab.processes().iter().any(|process| process.pid == old), "it drains still");
    let answer = client.answer().expect("the whole answer");
    assert_eq!((answer.body.len(), answer.announces_close()), (25 * 16, false));
    lab.until("the predecessor is gone", || lab.has_ended(lab.first()));
    assert_eq!(ask(&mut client).generation, 2);
    lab.stop();
}

#[test]
fn two_upgrades_at_once_are_gone_through_in_order() {
    let lab = Start::lab().set("upgrade-probation", "1s").ready();
    let mut clients: Vec<Client> = (0..100).map(|_| idle(lab.address())).collect();
    let mut busy = idle(lab.address());
    busy.begin("/stream?chunks=30&ms=100").expect("the answer begins");
    lab.signal(Signal::SIGUSR2);
    lab.until("the second serves", || lab.generation() == Some(2) && lab.ready().len() == 2);
    lab.signal(Signal::SIGUSR2);
    lab.until("the third serves", || lab.generation() == Some(3) && lab.ready().len() == 2);
    let answer = busy.answer().expect("the whole answer");
    assert_eq!((answer.body.len(), answer.announces_close()), (30 * 16, false));
    let ended = Instant::now();
    lab.until("both predecessors are gone", || lab.processes().len() == 3);
    assert!(ended.elapsed() < Duration::from_secs(6), "nothing held the first one any more: {:?}", ended.elapsed());
    for client in &mut clients {
        assert_eq!(ask(client).generation, 3);
    }
    // Whom the first would have given it to is gone by now: it may be closed.
    match busy.is_closed().expect("not reset") {
        true => {}
        false => assert_eq!(ask(&mut busy).generation, 3),
    }
    lab.stop();
}

#[test]
fn winch_to_a_predecessor_on_probation_moves_its_connections_now() {
    let lab = Start::lab().set("upgrade-probation", "10m").ready();
    let mut clients: Vec<Client> = (0..20).map(|_| idle(lab.address())).collect();
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_DONE, 1);
    assert!(clients.iter_mut().all(|client| ask(client).generation == 1), "it waits for the end of the probation");
    lab.signal_to(lab.first(), Signal::SIGWINCH);
    lab.until("its workers are gone", || lab.workers_of(lab.first(), |_| true).is_empty());
    for client in &mut clients {
        assert_eq!(ask(client).generation, 2);
    }
    lab.signal(Signal::SIGTERM);
    lab.assert_gone();
}

#[test]
fn connections_of_a_successor_whose_master_dies_go_back() {
    let lab = Start::lab().set("upgrade-probation", "10m").ready();
    let mut old: Vec<Client> = (0..10).map(|_| idle(lab.address())).collect();
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_DONE, 1);
    // The predecessor's workers may accept once more in the moment after.
    let mut new = Vec::new();
    lab.until("the successor has ten", || {
        let mut client = idle(lab.address());
        if ask(&mut client).generation == 2 {
            new.push(client);
        }
        new.len() == 10
    });
    let successor = lab.serving();
    lab.signal_to(successor, Signal::SIGKILL);
    lab.until("the predecessor serves alone", || lab.serving() == lab.first() && lab.processes().len() == 3);
    for client in old.iter_mut().chain(&mut new) {
        assert_eq!(ask(client).generation, 1);
    }
    lab.stop();
}

#[test]
fn a_listener_that_the_successor_does_not_serve_lets_its_connections_go_politely() {
    let lab = Start::lab().without("bind").config("bind = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\n").ready();
    let [kept, given_up] = [0, 1].map(|index| lab.addresses()[index].clone());
    let mut moves = idle(&kept);
    let (mut idles, mut busy) = (idle(&given_up), idle(&given_up));
    fs::write(lab.path("lab.toml"), format!("bind = [\"{kept}\"]\n")).expect("other settings");
    busy.ask("/sleep?ms=1000").expect("sent");
    begin_upgrade(&lab, 1);
    let answer = busy.answer().expect("what was asked is answered");
    assert!(answer.announces_close());
    assert_closed(&mut busy);
    assert_closed(&mut idles);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    assert_eq!(ask(&mut moves).generation, 2);
    lab.stop();
}

#[test]
fn one_worker_that_is_replaced_again_and_again_is_never_missed() {
    for mode in ["shared", "reuseport"] {
        let start = Start::lab().for_a_storm().set("listen-mode", mode);
        let lab = start.set("workers", "1").set("max-requests", "300").set("max-requests-jitter", "30").ready();
        let http = lab.address();
        let storm = Storm::begin([Crowd::keep_alive(http, 16), Crowd::fresh(http, 4), Crowd::idle(http, 20)]);
        lab.until("it was replaced ten times", || {
            // Twice: whoever comes while one is looking is not seen.
            assert!(!(lab.ready().is_empty() && lab.ready().is_empty()), "the last ready worker was let go");
            log::RECYCLE_BEGUN.count(&lab.log()) >= 10
        });
        storm.finish().assert_nobody_noticed();
        lab.stop();
    }
}

#[test]
fn what_cannot_move_is_told_so() {
    let lab = Start::lab().set("workers", "1").ready();
    let mut old_version = Client::connect(lab.address()).expect("a connection");
    old_version.send("GET /sleep?ms=500 HTTP/1.0\r\n\r\n").expect("sent");
    let mut last = Client::connect(lab.address()).expect("a connection");
    last.send(request("/sleep?ms=500", "Connection: close\r\n")).expect("sent");
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_DONE, 1);
    assert!(last.answer().expect("an answer").announces_close());
    assert_closed(&mut last);
    let rest = old_version.read_to_end().expect("closed in order");
    assert!(String::from_utf8_lossy(&rest).ends_with("slept\n"));
    lab.until("the old worker is gone", || lab.workers() == lab.ready());
    lab.stop();
}

/// Adds on a raw connection, and tells the sum and whose process has added.
fn add(client: &mut Client, number: u64) -> (u64, i32) {
    client.send(format!("add {number}\n")).expect("sent");
    sum(client)
}

fn sum(client: &mut Client) -> (u64, i32) {
    let line = client.line().unwrap_or_else(|failure| panic!("the connection is lost: {failure}"));
    let words: Vec<&str> = line.split(' ').collect();
    let ["sum", sum, "pid", pid] = words[..] else { panic!("no sum: {line}") };
    (sum.parse().expect("a number"), pid.parse().expect("a pid"))
}

#[test]
fn a_raw_protocol_takes_its_state_and_half_a_line_along() {
    for mode in ["shared", "reuseport"] {
        let lab = Start::lab().for_a_storm().set("listen-mode", mode).ready();
        let counter = lab.counter().to_owned();
        let mut client = Client::connect(&counter).expect("a connection");
        let (mut expected, mut worker) = add(&mut client, 1);
        let replace = |lab: &Lab, step: usize, worker: i32| match step {
            0 => {
                lab.signal(Signal::SIGHUP);
                lab.until_logged(log::RELOAD_DONE, 1);
                lab.until("all are new", || !lab.workers().contains(&worker) && lab.workers() == lab.ready());
            }
            1 => {
                lab.upgrade();
            }
            2 => {
                lab.signal_to(worker, Signal::SIGTERM);
                lab.until("it is replaced", || !lab.workers().contains(&worker));
            }
            _ => {
                lab.signal(Signal::SIGTTOU);
                lab.until("one is left", || lab.workers().len() == 1);
            }
        };
        for step in 0..4 {
            client.send("ad").expect("sent");
            lab.until_read(&counter, &client);
            replace(&lab, step, worker);
            client.send(format!("d {step}0\n")).expect("sent");
            expected += 10 * step as u64;
            let (sum, pid) = sum(&mut client);
            assert_eq!(sum, expected, "{mode}, step {step}");
            assert!(lab.ready().contains(&pid) && (pid != worker || step == 3), "{mode}, step {step}");
            worker = pid;
        }
        lab.stop();
    }
}

#[test]
fn a_client_that_waits_until_after_the_upgrade_finds_its_limits_as_they_were() {
    // Half a head is not given more time by a move, and neither is an idle connection.
    let lab = Start::lab().set("header-timeout", "3s").set("keep-alive-timeout", "10m").ready();
    let mut half = idle(lab.address());
    let mut idles = idle(lab.address());
    half.send("GET / HT").expect("sent");
    let began = Instant::now();
    let mut upgrades = 0;
    let closed = wait::within(Duration::from_secs(30), || {
        upgrades += 1;
        lab.upgrade();
        half.is_closed().unwrap_or(true).then(|| began.elapsed())
    });
    let closed = closed.expect("moving from process to process does not keep half a head alive");
    assert!(closed < Duration::from_secs(12) && upgrades >= 2, "after {closed:?} and {upgrades} upgrades");
    assert_eq!(ask(&mut idles).generation, 1 + upgrades);
    lab.stop();
}
