//! Clients of the control socket that do not behave cost the master nothing, and nobody else.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use hatchery_control::{LONGEST_REQUEST, Operation, Refusal, Reply, Request};
use hatchery_tests::control::send_raw;
use hatchery_tests::procfs::Process;
use hatchery_tests::{End, Lab, Start, wait};
use nix::sys::signal::Signal;

/// The last line of an answer.
fn last(heard: &str) -> Reply {
    Reply::from_line(heard.lines().last().unwrap_or_default()).unwrap_or_else(|error| panic!("{heard:?}: {error}"))
}

fn is_refused(lab: &Lab, bytes: &[u8], words: &str) {
    let heard = send_raw(&lab.control_path(), bytes).expect("it listens");
    let Reply::Failed { because: Refusal::Invalid, text } = last(&heard) else { panic!("{heard:?}") };
    assert!(text.contains(words), "{text}");
}

#[test]
fn what_is_no_request_is_told_so_and_closed() {
    let lab = Start::lab().controlled().ready();
    is_refused(&lab, b"hello\n", "not a request");
    is_refused(&lab, b"\n", "not a request");
    is_refused(&lab, b"\xff\xfe\n", "it is no text");
    is_refused(&lab, b"{\"version\":2,\"command\":\"status\"}\n", "version 2");
    is_refused(&lab, &vec![b'x'; LONGEST_REQUEST + 1], "4096 bytes at most");
    is_refused(&lab, &vec![b'x'; 1 << 24], "4096 bytes at most");
    let deep = "[".repeat(4000) + "\n";
    is_refused(&lab, deep.as_bytes(), "not a request");
    assert!(lab.status().workers.len() == 2);
    lab.stop();
}

#[test]
fn several_requests_at_once_are_answered_one_after_the_other() {
    let lab = Start::lab().controlled().ready();
    let mut stream = UnixStream::connect(lab.control_path()).expect("it listens");
    let lines: String = (0..5).map(|_| Request::Status.to_line()).chain([Request::Reopen.to_line()]).collect();
    stream.write_all(lines.as_bytes()).expect("room");
    stream.shutdown(std::net::Shutdown::Write).expect("open");
    let mut heard = String::new();
    stream.read_to_string(&mut heard).expect("answers");
    let replies: Vec<_> = heard.lines().map(|line| Reply::from_line(line).expect("a reply")).collect();
    assert_eq!(replies.iter().filter(|reply| matches!(reply, Reply::Status { .. })).count(), 5);
    assert!(matches!(replies.last(), Some(Reply::Done { .. })), "{replies:?}");
    lab.stop();
}

#[test]
fn an_order_is_obeyed_whose_client_has_gone_before_its_turn() {
    let lab = Start::lab().controlled().ready();
    // What comes while the master stands still is read in one moment.
    let master = lab.serving();
    lab.freeze(master);
    let send = |request: Request| {
        let mut stream = UnixStream::connect(lab.control_path()).expect("it listens");
        stream.write_all(request.to_line().as_bytes()).expect("room");
        stream
    };
    let stays = send(Request::Scale { workers: 3, wait: false });
    drop(send(Request::Stop { wait: false }));
    lab.thaw(master);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    drop(stays);
}

/// A client that keeps its connection and does this with it, again and again.
fn pester(stream: &mut UnixStream, kind: usize) {
    let _ = match kind % 4 {
        // Never anything.
        0 => Ok(()),
        // A byte now and then, and no end.
        1 => stream.write_all(b"x"),
        // Questions, and no answer is read.
        2 => stream.write_all(Request::Status.to_line().as_bytes()),
        // As much as there is room for.
        _ => stream.write_all(&[b' '; 1 << 16]),
    };
}

#[test]
fn dozens_of_hostile_clients_change_nothing_for_supervision() {
    let lab = Start::lab().controlled().ready();
    let path = lab.control_path();
    let mut crowd: Vec<_> = (0..200)
        .filter_map(|_| UnixStream::connect(&path).ok())
        .inspect(|stream| stream.set_nonblocking(true).expect("a socket"))
        .collect();
    let began = Instant::now();
    for round in 0..5 {
        crowd.iter_mut().enumerate().for_each(|(kind, stream)| pester(stream, kind));
        let victim = *lab.ready().first().expect("a worker");
        let told = Instant::now();
        lab.signal_to(victim, Signal::SIGKILL);
        lab.until("it is replaced", || {
            crowd.iter_mut().enumerate().for_each(|(kind, stream)| pester(stream, kind));
            let ready = lab.ready();
            ready.len() == 2 && !ready.contains(&victim)
        });
        assert!(told.elapsed() < Duration::from_secs(10), "round {round}");
        // An operator finds a place, since those that only hold one lose it.
        assert_eq!(lab.status().workers.len(), 2);
        assert_eq!(lab.get("/").expect("an answer").status, 200);
    }
    assert!(lab.status().totals.restarts >= 5);
    let master = Process::read(lab.serving()).expect("it lives");
    let fds = std::fs::read_dir(format!("/proc/{}/fd", master.pid)).expect("its descriptors").count();
    assert!(fds < 130, "{fds} descriptors after {:?}", began.elapsed());
    drop(crowd);
    lab.stop();
}

#[test]
fn who_does_not_get_on_is_closed_after_a_while() {
    let lab = Start::lab().controlled().ready();
    let open = || UnixStream::connect(lab.control_path()).expect("it listens");
    let (mut slow, mut deaf) = (open(), open());
    slow.write_all(b"{").expect("room");
    deaf.set_nonblocking(true).expect("a socket");
    // Until neither side takes more.
    while deaf.write(Request::Status.to_line().as_bytes()).is_ok() {}
    slow.set_nonblocking(true).expect("a socket");
    wait::until("the slow one is closed", || {
        // A byte more does not help.
        let written = slow.write(b" ");
        let ended = matches!(slow.read(&mut [0; 16]), Ok(0));
        (ended || written.is_err_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)).then_some(())
    });
    wait::until("the deaf one is closed", || {
        let written = deaf.write(b" ");
        written.is_err_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe).then_some(())
    });
    lab.stop();
}

#[test]
fn clients_that_wait_keep_no_operator_out() {
    let lab = Start::lab().controlled().set("drain-timeout", "120s").ready();
    let mut slow = lab.in_the_middle();
    let stop = Request::Stop { wait: true };
    let mut crowd: Vec<_> = (0..64).map(|_| UnixStream::connect(lab.control_path()).expect("it listens")).collect();
    crowd.iter_mut().for_each(|stream| stream.write_all(stop.to_line().as_bytes()).expect("room"));
    lab.until("as many wait as may", || lab.log().matches("asks for stop").count() == 12);
    let told = lab.ask(&stop);
    let (because, text) = told.failed();
    assert_eq!(because, Refusal::Refused);
    assert!(text.starts_with("stop refused: user "), "{text}");
    assert!(text.ends_with(" waits for 12 operations already; end one, or ask without waiting"), "{text}");
    for _ in 0..100 {
        assert_eq!(lab.status().operation, Some(Operation::Stop));
    }
    assert_eq!(lab.ask(&Request::Stop { wait: false }).done(), "it stops already");
    slow.send("end").expect("it is read");
    let told = crowd.into_iter().filter_map(|stream| std::io::read_to_string(stream).ok());
    assert_eq!(told.filter(|told| told.contains("stopped: everything was drained")).count(), 12);
    lab.assert_gone();
}
