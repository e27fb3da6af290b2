//! Processes that die, and drains that do not end.

use std::time::{Duration, Instant};

use hatchery_tests::client::{Client, Failure};
use hatchery_tests::load::Load;
use hatchery_tests::{End, Start, client, log};
use nix::sys::signal::Signal;

#[test]
fn a_killed_worker_is_replaced() {
    for mode in ["shared", "reuseport"] {
        let lab = Start::lab().set("listen-mode", mode).ready();
        let before = lab.ready();
        let victim = *before.first().expect("a worker");
        lab.signal_to(victim, Signal::SIGKILL);
        lab.until("it is replaced", || !lab.ready().contains(&victim) && lab.ready().len() == 2);
        assert_eq!(lab.ready().intersection(&before).count(), 1, "the other one serves on");
        assert!(lab.log().lines().any(|line| log::WORKER_EXITED.is(line) && line.contains("signal 9")));
        lab.stop();
    }
}

#[test]
fn what_a_killed_worker_left_in_the_queue_is_answered() {
    for mode in ["shared", "reuseport"] {
        let lab = Start::lab().set("workers", "1").set("listen-mode", mode).ready();
        let victim = *lab.ready().first().expect("a worker");
        lab.freeze(victim);
        let mut queued: Vec<Client> = (0..20).map(|_| Client::connect(lab.address()).expect("queued")).collect();
        for client in &mut queued {
            client.ask("/").expect("sent");
        }
        lab.signal_to(victim, Signal::SIGKILL);
        for client in &mut queued {
            assert_eq!(client.answer().expect("the replacement answers").text(), "Hello, World!");
        }
        lab.stop();
    }
}

#[test]
fn a_worker_that_ends_itself_is_replaced_and_its_end_is_logged() {
    for (path, cause) in [("/abort", "signal 6"), ("/exit?code=7", "exit code 7")] {
        let lab = Start::lab().ready();
        assert!(lab.get(path).is_err_and(|failure| failure.is_end()));
        lab.until("its end is in the log", || {
            lab.log().lines().any(|line| log::WORKER_EXITED.is(line) && line.contains(cause))
        });
        lab.until("it is replaced", || lab.ready().len() == 2);
        lab.stop();
    }
}

#[test]
fn workers_of_a_killed_master_finish_and_let_go_at_once() {
    for mode in ["shared", "reuseport"] {
        let lab = Start::lab().set("listen-mode", mode).ready();
        let mut open = Client::connect(lab.address()).expect("a connection");
        open.begin("/stream?chunks=16&ms=100").expect("the answer begins");
        lab.signal_to(lab.first(), Signal::SIGKILL);
        assert_eq!(lab.end_of(lab.first()), End::Signal(9));
        lab.until("nobody accepts", || matches!(Client::connect(lab.address()), Err(Failure::NotConnected(_))));

        // The request is still open: address and pid file are free nevertheless.
        let pid_file = lab.path("lab.pid").display().to_string();
        let next = Start::lab().set("bind", lab.address()).set("listen-mode", mode).set("pid-file", &pid_file).spawn();
        lab.until("the next one serves", || lab.pid_file("lab.pid") == Some(next.first()));
        assert!(!open.is_closed().expect("open"));
        assert_eq!(client::get(lab.address(), "/").expect("an answer").status, 200);

        assert_eq!(open.answer().expect("what was open is finished").status, 200);
        lab.until("the workers are gone", || lab.processes().is_empty());
        next.signal(Signal::SIGTERM);
        assert_eq!(next.end_of(next.first()), End::Code(0));
    }
}

#[test]
fn a_drain_that_does_not_end_is_ended_with_code_2() {
    for path in ["/sleep?ms=600000", "/spin?ms=600000", "/stream?chunks=100000&ms=100"] {
        let lab = Start::lab().set("drain-timeout", "500ms").ready();
        let mut open = Client::connect(lab.address()).expect("a connection");
        open.ask(path).expect("sent");
        lab.signal(Signal::SIGTERM);
        assert_eq!(lab.end_of(lab.first()), End::Code(2), "{path}");
        lab.assert_gone();
        assert!(log::DRAIN_TIMEOUT.count(&lab.log()) >= 1, "{path}");
    }
}

#[test]
fn half_a_head_and_idle_connections_do_not_hold_up_a_stop() {
    let lab = Start::lab().set("drain-timeout", "10m").ready();
    let mut half: Vec<Client> = (0..4).map(|_| Client::connect(lab.address()).expect("a connection")).collect();
    for client in &mut half {
        client.send("GET / HT").expect("sent");
    }
    let silent: Vec<Client> = (0..4).map(|_| Client::connect(lab.address()).expect("a connection")).collect();
    let mut idle: Vec<Client> = (0..4).map(|_| Client::connect(lab.address()).expect("a connection")).collect();
    for client in &mut idle {
        assert_eq!(client.get("/").expect("an answer").status, 200);
    }
    let began = Instant::now();
    lab.stop();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    for mut client in idle.into_iter().chain(silent) {
        assert!(client.read_to_end().is_ok_and(|rest| rest.is_empty()), "closed politely");
    }
}

#[test]
fn half_a_head_gets_a_second_to_become_whole_at_a_stop() {
    let lab = Start::lab().ready();
    let mut client = Client::connect(lab.address()).expect("a connection");
    client.send("GET / HTTP/1.1\r\nHo").expect("sent");
    lab.signal(Signal::SIGTERM);
    lab.until("the workers drain", || lab.ready().is_empty());
    client.send("st: lab\r\n\r\n").expect("sent");
    let answer = client.answer().expect("an answer within the second");
    assert!(answer.announces_close());
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    lab.assert_gone();
}

#[test]
fn a_generation_that_has_served_tries_on_when_its_workers_crash() {
    let lab = Start::lab().set("workers", "1").set("crash-limit", "3").ready();
    // Long enough to be proven: ready for a second.
    let proven = Instant::now();
    lab.until("it has been ready for a second", || proven.elapsed() > Duration::from_millis(1200));
    let mut killed = std::collections::BTreeSet::new();
    lab.until("it says that it is degraded", || {
        for worker in lab.workers() {
            if killed.insert(worker) {
                lab.signal_to(worker, Signal::SIGKILL);
            }
        }
        log::DEGRADED.count(&lab.log()) == 1
    });
    lab.until("a worker is back", || lab.ready().len() == 1);
    assert_eq!(lab.whoami().master, lab.first());
    lab.stop();
}

#[test]
fn other_clients_do_not_pay_for_a_killed_worker() {
    let lab = Start::lab().set("workers", "3").ready();
    let victim = lab.whoami().pid;
    let mut kept = Vec::new();
    lab.until("connections to the others", || {
        let mut client = Client::connect(lab.address()).expect("a connection");
        let answer = client.get("/whoami").expect("an answer").text();
        if !answer.contains(&format!("\"pid\":{victim}")) {
            kept.push(client);
        }
        kept.len() >= 8
    });
    let before = lab.ready();
    lab.signal_to(victim, Signal::SIGKILL);
    lab.until("it is replaced", || lab.ready() != before && lab.ready().len() == 3);
    let load = Load::fresh(lab.address(), 2);
    for client in &mut kept {
        assert_eq!(client.get("/").expect("an answer").status, 200);
    }
    load.more(50);
    load.finish_without_failure();
    lab.stop();
}

/// What all tests under load rest on: clients that are wronged say so.
#[test]
fn clients_of_a_killed_worker_notice() {
    let lab = Start::lab().set("workers", "1").ready();
    let fresh = Load::fresh(lab.address(), 2);
    let kept = Load::keep_alive(lab.address(), 4, Duration::ZERO);
    for _ in 0..3 {
        fresh.more(20);
        kept.more(20);
        let old = lab.ready();
        lab.signal_to(*old.first().expect("a worker"), Signal::SIGKILL);
        lab.until("it is replaced", || lab.ready().is_disjoint(&old) && lab.ready().len() == 1);
    }
    let (fresh, kept) = (fresh.finish(), kept.finish());
    assert!(!kept.failures.is_empty(), "{kept}; {fresh}");
    lab.stop();
}
