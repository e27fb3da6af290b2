//! A stop while the generation before still drains: whoever waits for the stop waits for its clients too.

use std::time::{Duration, Instant};

use hatchery_control::Request;
use hatchery_tests::client::Client;
use hatchery_tests::{End, Lab, Start, log};
use nix::sys::signal::Signal;

/// A server that was upgraded while a request went on that takes so long, and its client.
fn upgraded(start: Start, milliseconds: u64) -> (Lab, Client) {
    let lab = start.set("upgrade-probation", "100ms").set("drain-timeout", "10m").ready();
    let mut client = Client::connect(lab.address()).expect("a connection");
    client.ask(&format!("/sleep?ms={milliseconds}")).expect("sent");
    lab.until_read(lab.address(), &client);
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::RETIRING, 1);
    lab.until("only the client's worker drains", || drained(&lab) == 1);
    (lab, client)
}

/// How many workers have gone.
fn drained(lab: &Lab) -> usize {
    lab.log().matches("exited: drained").count()
}

#[test]
fn it_waits_for_the_clients_of_the_predecessor() {
    let (lab, mut client) = upgraded(Start::lab().controlled(), 3000);
    let told = lab.ask(&Request::Stop { wait: true });
    assert_eq!(log::PREDECESSOR_DONE.count(&lab.log()), 1, "{told:?}");
    assert!(told.done().ends_with("exit code 0"), "{told:?}");
    assert_eq!(client.answer().expect("an answer").text(), "slept\n");
    lab.assert_gone();
}

#[test]
fn an_anchor_ends_as_the_last_generation_does() {
    let (lab, mut client) = upgraded(Start::lab().set("anchor", "always"), 2000);
    lab.signal(Signal::SIGTERM);
    assert_eq!(client.answer().expect("an answer").text(), "slept\n");
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    lab.assert_gone();
}

#[test]
fn the_second_one_ends_both_generations() {
    for twice in [Signal::SIGTERM, Signal::SIGINT] {
        let (lab, mut client) = upgraded(Start::lab(), 600_000);
        let successor = lab.serving();
        lab.signal_to(successor, twice);
        lab.until("its own workers have gone", || drained(&lab) == 3);
        assert!(lab.processes().iter().any(|process| process.pid == successor), "{twice}: it waits");
        let began = Instant::now();
        lab.signal_to(successor, twice);
        lab.until("both are gone", || lab.processes().is_empty());
        assert!(began.elapsed() < Duration::from_secs(60), "{twice}: {:?}", began.elapsed());
        assert!(client.answer().is_err(), "{twice}: nobody is left to answer");
        lab.assert_gone();
    }
}
