//! Connections on their way when somebody dies, stands still, or when nobody
//! is left to take them: nothing is lost but what the dead one had in its hands.

use std::time::{Duration, Instant};

use hatchery_tests::client::{Client, Failure};
use hatchery_tests::eve::{Eve, Fate, MANY, fate, idle};
use hatchery_tests::storm::{Crowd, IDLE, KEEP_ALIVE, Reason, Storm};
use hatchery_tests::{End, Start, log, procfs};
use nix::sys::signal::Signal;

#[test]
fn a_worker_killed_while_it_sends_takes_only_what_it_has_still() {
    let mut eve = Eve::heavy(Start::lab(), MANY, 20);
    let before = procfs::descriptors(eve.sender).len();
    eve.lab.freeze(eve.reader);
    eve.let_them_move();
    // Nobody reads: it has filled the relay soon, and waits.
    let mut sent = 0;
    let mut since = Instant::now();
    eve.lab.until("it waits for room", || {
        let now = before.saturating_sub(procfs::descriptors(eve.sender).len());
        if now != sent {
            (sent, since) = (now, Instant::now());
        }
        sent > 0 && since.elapsed() > Duration::from_millis(200)
    });
    assert!(sent < MANY, "the relay takes all {sent}");
    eve.lab.signal_to(eve.sender, Signal::SIGKILL);
    eve.wait_until_gone(eve.sender);
    eve.lab.thaw(eve.reader);
    let fate = fate(&mut eve.waiting);
    // Of the descriptors that it has closed, a few were not connections.
    assert!(fate.answered >= sent - 8 && fate.closed + fate.reset > 0, "{fate:?}, {sent} sent");
    eve.stop();
}

#[test]
fn what_is_queued_for_a_killed_worker_is_taken_by_its_replacement() {
    let mut eve = Eve::new(Start::lab(), 100);
    eve.lab.freeze(eve.reader);
    eve.let_them_move();
    eve.wait_until_gone(eve.sender);
    eve.lab.signal_to(eve.reader, Signal::SIGKILL);
    eve.wait_until_gone(eve.reader);
    assert_eq!(fate(&mut eve.waiting).answered, 100);
    eve.stop();
}

#[test]
fn a_worker_killed_while_it_receives_takes_only_what_it_has_received() {
    let mut eve = Eve::new(Start::lab(), 1000);
    let before = procfs::descriptors(eve.reader).len();
    let mut busy = Client::connect(eve.lab.address()).expect("a connection");
    busy.begin("/stream?chunks=1000&ms=100").expect("the answer begins");
    eve.let_them_move();
    eve.lab.until("it receives", || procfs::descriptors(eve.reader).len() > before + 20);
    eve.lab.signal_to(eve.reader, Signal::SIGKILL);
    eve.wait_until_gone(eve.reader);
    assert!(busy.answer().is_err_and(|failure| failure.is_end()), "what it was asked is lost with it");
    let fate = fate(&mut eve.waiting);
    assert!(fate.closed + fate.reset >= 20, "{fate:?}");
    eve.lab.until("its replacement is ready", || eve.lab.ready().len() == 1);
    eve.stop();
}

#[test]
fn a_plain_stop_tells_everybody_and_loses_nothing() {
    for mode in ["shared", "reuseport"] {
        let lab = Start::lab().for_a_storm().set("listen-mode", mode).ready();
        let http = lab.address();
        let storm = Storm::begin([
            Crowd::keep_alive(http, 24),
            Crowd::keep_alive(http, 2).pausing(Duration::ZERO..Duration::ZERO),
            Crowd::idle(http, 30),
            Crowd::slow_post(http, 8),
            Crowd::slow_stream(http, 8),
            Crowd::slow_head(http, 8),
        ]);
        storm.more(2);
        lab.signal(Signal::SIGTERM);
        assert_eq!(lab.end_of(lab.first()), End::Code(0));
        let report = storm.finish();
        for (name, tally) in &report.crowds {
            // Whoever comes back finds nobody.
            let is_late = |reason: &Reason| matches!(reason, Reason::Lost(Failure::NotConnected(_)));
            assert!(tally.failures.iter().all(|failure| is_late(&failure.reason)), "{mode}, {name}: {report}");
        }
        assert!(report.of(KEEP_ALIVE).announced > 0, "{report}");
        assert_eq!(report.of(IDLE).closed_idle, 30, "{report}");
        lab.assert_gone();
    }
}

#[test]
fn a_stop_while_connections_wait_to_move_closes_them_politely() {
    let mut eve = Eve::heavy(Start::lab(), MANY, 100);
    let before = procfs::descriptors(eve.sender).len();
    eve.lab.freeze(eve.reader);
    eve.let_them_move();
    eve.lab.until("they move", || procfs::descriptors(eve.sender).len() < before - 20);
    eve.lab.signal(Signal::SIGTERM);
    eve.lab.until_logged(log::STOP_BEGUN, 1);
    eve.lab.thaw(eve.reader);
    eve.lab.assert_gone();
    assert_eq!(fate(&mut eve.waiting), Fate { closed: MANY + 100, ..Fate::default() });
}

#[test]
fn the_last_workers_close_politely_when_nobody_serves_on() {
    let lab = Start::lab().ready();
    let mut idles = idle(lab.address(), 20);
    let mut busy = Client::connect(lab.address()).expect("a connection");
    busy.ask("/sleep?ms=500").expect("sent");
    let mut begun = Client::connect(lab.address()).expect("a connection");
    begun.begin("/stream?chunks=5&ms=100").expect("the answer begins");
    lab.signal(Signal::SIGWINCH);
    assert!(busy.answer().expect("an answer").announces_close());
    assert_eq!(begun.answer().expect("the whole answer").body.len(), 80);
    let idles = idles.iter_mut().map(|waiting| &mut waiting.client);
    for client in idles.chain([&mut busy, &mut begun]) {
        assert!(client.read_to_end().is_ok_and(|rest| rest.is_empty()), "closed in order");
    }
    lab.until("no worker is left", || lab.workers().is_empty());
    lab.stop();
}

#[test]
fn a_worker_that_drains_when_a_stop_comes_closes_politely() {
    let lab = Start::lab().ready();
    let mut client = idle(lab.address(), 1).remove(0).client;
    client.begin("/stream?chunks=15&ms=100").expect("the answer begins");
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_DONE, 1);
    lab.signal(Signal::SIGTERM);
    let stopped = Instant::now();
    assert_eq!(client.answer().expect("the whole answer").body.len(), 15 * 16);
    assert!(client.read_to_end().is_ok_and(|rest| rest.is_empty()), "closed in order");
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    assert!(stopped.elapsed() < Duration::from_secs(8), "it waited for an heir: {:?}", stopped.elapsed());
    lab.assert_gone();
}
