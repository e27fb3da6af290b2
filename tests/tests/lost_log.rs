//! A log that cannot be written costs lines, and nothing else.

use hatchery_tests::load::Load;
use hatchery_tests::pipe::Reader;
use hatchery_tests::{Lab, Start, client};
use nix::sys::signal::Signal;

/// Goes through all that a server says something about, under load.
fn lives_on(lab: Lab, address: &str) {
    let load = Load::fresh(address, 2);
    load.more(20);
    assert_eq!(client::get(address, "/panic").expect("an answer").status, 500);
    let before = lab.ready();
    lab.signal(Signal::SIGHUP);
    lab.until("every worker is new", || lab.ready().is_disjoint(&before) && lab.ready().len() == 2);
    let victim = *lab.ready().first().expect("a worker");
    lab.signal_to(victim, Signal::SIGTERM);
    lab.until("it is replaced", || !lab.ready().contains(&victim) && lab.ready().len() == 2);
    for generation in [2, 3] {
        lab.upgrade();
        assert_eq!(lab.generation(), Some(generation));
        assert_eq!(client::get(address, "/panic").expect("an answer").status, 500);
    }
    load.more(20);
    load.finish_without_failure();
    lab.stop();
}

#[test]
fn standard_error_that_nobody_reads_any_more() {
    for format in ["text", "json"] {
        let (mut reader, errors) = Reader::pipe();
        let mut lab = Start::lab().set("log-format", format).errors(errors).spawn();
        reader.until_ready(&mut lab);
        drop(reader);
        let address = lab.address().to_owned();
        lives_on(lab, &address);
    }
}

#[test]
fn a_reader_that_stands_still_costs_lines_only() {
    let (mut reader, errors) = Reader::narrow_pipe();
    let mut lab = Start::lab().errors(errors).spawn();
    reader.until_ready(&mut lab);
    for _ in 0..3 {
        let before = lab.ready();
        lab.signal(Signal::SIGHUP);
        lab.until("every worker is new", || lab.ready().is_disjoint(&before) && lab.ready().len() == 2);
    }
    assert_eq!(client::get(lab.address(), "/").expect("an answer").status, 200);
    lab.signal(Signal::SIGTERM);
    assert_eq!(lab.end_of(lab.first()), hatchery_tests::End::Code(0));
    lab.assert_gone();
}

#[test]
fn a_stop_that_nobody_reads_about() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let (mut reader, errors) = Reader::pipe();
        let mut lab = Start::lab().errors(errors).spawn();
        reader.until_ready(&mut lab);
        let mut open = client::Client::connect(lab.address()).expect("a connection");
        open.begin("/stream?chunks=3&ms=100").expect("the answer begins");
        drop(reader);
        lab.signal_all(signal);
        assert_eq!(open.answer().expect("the whole answer").body.len(), 48);
        assert_eq!(lab.end_of(lab.first()), hatchery_tests::End::Code(0), "{signal}");
        lab.assert_gone();
    }
}

#[test]
fn a_log_file_on_a_full_disk() {
    let (start, address) = Start::lab().unix();
    lives_on(start.set("log", "/dev/full").ready(), &address);
}

#[test]
fn a_start_that_fails_with_a_log_on_a_full_disk_is_said_to_the_starter() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = holder.local_addr().expect("an address").to_string();
    let ended = Start::lab().set("log", "/dev/full").set("bind", &address).ended();
    ended.assert_one_line(1, &["address in use", &address]);
}
