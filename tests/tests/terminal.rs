//! Under a terminal: what the terminal says, and what it does not mean.

use hatchery_tests::client::{self, Client};
use hatchery_tests::network::{Host, Network};
use hatchery_tests::program::example;
use hatchery_tests::pty::Terminal;
use hatchery_tests::{End, Lab, Program, Start, log, procfs};
use nix::sys::signal::Signal;

/// `hello` under a terminal, as it is started by hand. Its address is its own, 127.0.0.1:8080, so it
/// gets a host of its own: whatever else runs on this machine may have that port.
fn hello(terminal: &Terminal, host: &Host) -> Lab {
    let start = Start::lab().without_settings().program(Program::Link(example("hello"))).terminal(terminal);
    start.launcher(host.launcher().into_iter().chain(Terminal::LAUNCHER)).ready()
}

#[test]
fn resizing_the_terminal_under_hello_changes_nothing() {
    let Some(network) = Network::of(1) else { return };
    let host = network.host(0);
    let mut terminal = Terminal::open();
    let lab = hello(&terminal, host);
    let workers = lab.ready();
    for columns in 100..120 {
        terminal.resize(columns, 40);
        let answer = host.run(|| client::get(lab.address(), "/"));
        assert_eq!(answer.expect("an answer").text(), "Hello, World!");
    }
    assert_eq!(lab.ready(), workers);
    assert_eq!(log::RESTING.count(&lab.log()), 0);
    terminal.interrupt();
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    lab.assert_gone();
}

#[test]
fn resizing_the_terminal_under_the_lab_changes_nothing() {
    let terminal = Terminal::open();
    let lab = Start::lab().terminal(&terminal).ready();
    let workers = lab.ready();
    for columns in 100..110 {
        terminal.resize(columns, 40);
        assert_eq!(lab.get("/").expect("an answer").status, 200);
    }
    assert_eq!(lab.ready(), workers);
    lab.until("all of it has come", || !procfs::has_pending(lab.first(), Signal::SIGWINCH));
    // The same signal from a process is meant.
    lab.signal(Signal::SIGWINCH);
    lab.until("the workers go", || lab.workers().is_empty());
    lab.stop();
}

#[test]
fn ctrl_c_drains_once() {
    let mut terminal = Terminal::open();
    let lab = Start::lab().terminal(&terminal).ready();
    let mut open = Client::connect(lab.address()).expect("a connection");
    open.begin("/stream?chunks=5&ms=100").expect("the answer begins");
    terminal.interrupt();
    assert_eq!(open.answer().expect("what is open is finished").body.len(), 80);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    assert_eq!(log::STOP_NOW.count(&lab.log()), 0);
    lab.assert_gone();
}

#[test]
fn ctrl_c_twice_stops_now() {
    let mut terminal = Terminal::open();
    let lab = Start::lab().set("drain-timeout", "10m").terminal(&terminal).ready();
    let mut open = Client::connect(lab.address()).expect("a connection");
    open.begin("/stream?chunks=100000&ms=100").expect("the answer begins");
    terminal.interrupt();
    lab.until_logged(log::STOP_BEGUN, 1);
    terminal.interrupt();
    assert_eq!(lab.end_of(lab.first()), End::Code(2));
    lab.assert_gone();
}

#[test]
fn a_terminal_that_is_gone_is_a_stop() {
    let terminal = Terminal::open();
    let lab = Start::lab().terminal(&terminal).ready();
    drop(terminal);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    assert_eq!(log::RELOAD_BEGUN.count(&lab.log()), 0);
    lab.assert_gone();
}

#[test]
fn what_is_open_when_the_terminal_goes_is_finished_even_if_it_was_the_log() {
    let terminal = Terminal::open();
    let (start, address) = Start::lab().unix();
    let lab = start.errors(terminal.input()).terminal(&terminal).ready();
    let mut open = Client::connect(&address).expect("a connection");
    open.begin("/stream?chunks=5&ms=100").expect("the answer begins");
    drop(terminal);
    assert_eq!(open.answer().expect("what is open is finished").body.len(), 80);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    lab.assert_gone();
}

#[test]
fn under_nohup_a_terminal_that_is_gone_means_nothing() {
    let terminal = Terminal::open();
    let under_nohup = Terminal::LAUNCHER.into_iter().chain(["nohup"]);
    let lab = Start::lab().terminal(&terminal).launcher(under_nohup).ready();
    let before = lab.ready();
    drop(terminal);
    lab.until("the terminal is gone", || !procfs::has_terminal(lab.first()));
    lab.until("the hang-up has come", || !procfs::has_pending(lab.first(), Signal::SIGHUP));
    // One that is sent by a process is meant, also under nohup.
    lab.signal(Signal::SIGHUP);
    lab.until("every worker is new", || lab.ready().is_disjoint(&before) && lab.ready().len() == 2);
    assert_eq!(lab.get("/").expect("an answer").status, 200);
    lab.upgrade();
    assert_eq!(lab.whoami().generation, 2);
    assert_eq!(log::RELOAD_BEGUN.count(&lab.log()), 1);
    assert_eq!(log::STOP_BEGUN.count(&lab.log()), 0);
    lab.stop();
}
