//! Connections that move while those who should take them are gone, rest, or
//! have no room: none of them waits for ever.

use hatchery_tests::client::Client;
use hatchery_tests::eve::{Eve, Fate, fate, idle};
use hatchery_tests::{Start, log};
use nix::sys::signal::Signal;

#[test]
fn a_predecessor_whose_master_dies_leaves_its_connections_to_the_successor() {
    let mut eve = Eve::new(Start::lab(), 50);
    eve.lab.signal_to(eve.lab.first(), Signal::SIGKILL);
    eve.wait_until_gone(eve.sender);
    assert_eq!(fate(&mut eve.waiting), Fate { answered: 50, ..Fate::default() });
    eve.stop();
}

#[test]
fn a_successor_that_rests_takes_nothing_that_nobody_would_read() {
    let mut eve = Eve::new(Start::lab(), 50);
    eve.lab.signal(Signal::SIGWINCH);
    eve.lab.until_logged(log::RESTING, 1);
    eve.wait_until_gone(eve.reader);
    eve.let_them_move();
    eve.wait_until_gone(eve.sender);
    assert_eq!(fate(&mut eve.waiting), Fate { closed: 50, ..Fate::default() });
    // It has a relay again when it wakes.
    eve.lab.signal(Signal::SIGHUP);
    eve.lab.until("it is awake", || eve.lab.ready().len() == 1);
    let mut waiting = idle(eve.lab.address(), 20);
    eve.lab.signal(Signal::SIGHUP);
    eve.lab.until_logged(log::RELOAD_DONE, 2);
    assert_eq!(fate(&mut waiting), Fate { answered: 20, ..Fate::default() });
    eve.stop();
}

#[test]
fn connections_are_taken_by_workers_that_are_full() {
    let lab = Start::lab().set("workers", "2").set("max-connections", "10").set("balance", "off").ready();
    let mut waiting = idle(lab.address(), 20);
    lab.signal(Signal::SIGTTOU);
    lab.until("one worker is left", || lab.workers().len() == 1);
    assert_eq!(fate(&mut waiting), Fate { answered: 20, ..Fate::default() });
    // Nobody new is accepted by one that is full.
    drop(waiting);
    let mut late = Client::connect(lab.address()).expect("a connection");
    assert_eq!(late.get("/").expect("an answer, now that there is room").status, 200);
    lab.stop();
}
