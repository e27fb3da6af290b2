//! Workers whose loop stands still, and those of which that only seems so.

use std::thread;
use std::time::{Duration, Instant};

use hatchery_tests::client::Client;
use hatchery_tests::{Lab, Start, log, wait};
use nix::sys::signal::Signal;

fn lab(timeout: &str) -> Lab {
    Start::lab().set("heartbeat-timeout", timeout).ready()
}

/// Blocks the loop of some worker, and returns which it is and who waits for it.
fn block(lab: &Lab, millis: u32) -> (i32, Client) {
    let mut client = Client::connect(lab.address()).expect("a connection");
    let worker = client.get("/whoami").expect("an answer").whoami().pid;
    client.ask(&format!("/spin?ms={millis}")).expect("sent");
    lab.until_read(lab.address(), &client);
    (worker, client)
}

#[test]
fn a_worker_that_hangs_is_aborted_with_a_dump_and_replaced() {
    for mode in ["shared", "reuseport"] {
        let lab = Start::lab().set("heartbeat-timeout", "1s").set("listen-mode", mode).ready();
        let (hung, mut client) = block(&lab, 600_000);
        lab.until_logged(log::WORKER_HUNG, 1);
        lab.until_logged(log::WORKER_ABORTED, 1);
        assert!(client.is_closed().expect("closed"), "its client waits for a process that is gone");
        lab.until("it is replaced", || !lab.ready().contains(&hung) && lab.ready().len() == 2);
        assert!(lab.log().contains("this is what it was doing"), "{}", lab.log());
        for _ in 0..20 {
            assert_ne!(lab.whoami().pid, hung);
        }
        assert_eq!(log::WORKER_HUNG.count(&lab.log()), 1, "one only");
        lab.stop();
    }
}

#[test]
fn a_request_that_takes_long_is_no_blocked_loop() {
    let lab = lab("2s");
    let mut slow: Vec<Client> = (0..4).map(|_| Client::connect(lab.address()).expect("a connection")).collect();
    for client in &mut slow {
        client.ask("/sleep?ms=5000").expect("sent");
    }
    for client in &mut slow {
        assert_eq!(client.answer().expect("an answer").text(), "slept\n");
    }
    assert_eq!(log::WORKER_HUNG.count(&lab.log()), 0);
    lab.stop();
}

/// Such a loop never parks.
#[test]
fn a_loop_that_always_has_something_to_do_is_no_blocked_loop() {
    let lab = Start::lab().for_a_storm().set("workers", "1").set("heartbeat-timeout", "2s").ready();
    let until = Instant::now() + Duration::from_secs(6);
    let busy = || {
        let mut client = Client::connect(lab.counter()).expect("a connection");
        let (batch, mut sum) = ("add 1\n".repeat(200), 0);
        while Instant::now() < until {
            client.send(&batch).expect("sent");
            for _ in 0..200 {
                sum += 1;
                let line = client.line().expect("an answer");
                assert!(line.starts_with(&format!("sum {sum} ")), "{line}");
            }
        }
    };
    thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(busy))));
    assert_eq!(log::WORKER_HUNG.count(&lab.log()), 0, "{}", lab.log());
    lab.stop();
}

#[test]
fn whoever_is_stopped_is_not_to_blame() {
    let lab = lab("3s");
    let (busy, mut client) = block(&lab, 1500);
    // In the middle of a turn, and for longer than the limit.
    lab.freeze(busy);
    let stands = wait::within(Duration::from_secs(6), || (log::WORKER_HUNG.count(&lab.log()) > 0).then_some(()));
    assert_eq!(stands, None, "{}", lab.log());
    lab.thaw(busy);
    // Whether the spin that began before goes on is up to the clock that it looks at.
    let answered = client.answer();
    assert!(answered.is_ok(), "{answered:?}: {}", lab.log());
    lab.stop();
}

#[test]
fn a_machine_that_was_stopped_murders_nobody() {
    let lab = Start::lab()
        .set("heartbeat-timeout", "3s")
        .set("boot-timeout", "3s")
        .set("drain-timeout", "3s")
        .for_a_storm()
        .ready();
    let workers = lab.ready();
    // One that drains, with a request that takes its time.
    let mut busy = Client::connect(lab.address()).expect("a connection");
    let drains = busy.get("/whoami").expect("an answer").whoami().pid;
    busy.ask("/sleep?ms=1000").expect("sent");
    lab.until_read(lab.address(), &busy);
    lab.signal(Signal::SIGHUP);
    lab.until("there are new ones", || lab.ready().is_disjoint(&workers) && lab.ready().len() == 2);
    assert!(lab.workers().contains(&drains));
    lab.signal_all(Signal::SIGSTOP);
    let began = Instant::now();
    assert_eq!(wait::within(Duration::from_secs(5), || lab.has_ended(lab.first()).then_some(())), None);
    assert!(began.elapsed() > Duration::from_secs(4));
    lab.signal_all(Signal::SIGCONT);
    assert_eq!(busy.answer().expect("an answer").text(), "slept\n", "{}", lab.log());
    lab.until("it has drained", || lab.workers().len() == 2);
    assert_eq!(log::DRAIN_TIMEOUT.count(&lab.log()), 0, "{}", lab.log());
    assert_eq!(log::WORKER_HUNG.count(&lab.log()), 0, "{}", lab.log());
    lab.stop();
}

#[test]
fn without_a_limit_a_loop_may_stand_still() {
    let lab = lab("0");
    let (busy, mut client) = block(&lab, 2500);
    assert_eq!(client.answer().expect("an answer").text(), "spun\n");
    assert!(lab.ready().contains(&busy));
    assert_eq!(log::WORKER_HUNG.count(&lab.log()), 0);
    lab.stop();
}
