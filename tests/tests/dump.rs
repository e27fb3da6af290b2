//! What a worker says when it is aborted.

use hatchery_tests::client::Client;
use hatchery_tests::{Lab, Start, log};
use nix::sys::signal::Signal;

/// Aborts the one worker of a lab and waits until its replacement is ready and all it said is in the log.
fn abort(lab: &Lab) -> Vec<String> {
    let victim = *lab.ready().first().expect("a worker");
    lab.signal_to(victim, Signal::SIGABRT);
    lab.until("its end is logged", || {
        lab.log().lines().any(|line| {
            log::WORKER_EXITED.is(line) && line.contains("signal 6") && line.contains(&format!("pid {victim}"))
        })
    });
    lab.until("it is replaced", || !lab.ready().contains(&victim) && lab.ready().len() == 1);
    let log = lab.log();
    log.lines().filter(|line| line.starts_with("hatchery: worker 0")).map(str::to_owned).collect()
}

fn is_about(line: &str, client: &Client) -> bool {
    line.contains(&format!("connection from 127.0.0.1:{} ", client.port()))
}

#[test]
fn a_blocked_worker_tells_in_which_handler_it_is_and_what_else_is_open() {
    let lab = Start::lab().set("workers", "1").ready();
    let worker = *lab.ready().first().expect("a worker");
    let mut idle = Client::connect(lab.address()).expect("a connection");
    for _ in 0..3 {
        assert_eq!(idle.get("/").expect("an answer").status, 200);
    }
    let mut sleeps = Client::connect(lab.address()).expect("a connection");
    sleeps.ask("/sleep?ms=600000").expect("sent");
    let mut head = Client::connect(lab.address()).expect("a connection");
    head.send("GET / HT").expect("sent");
    for client in [&sleeps, &head] {
        lab.until_read(lab.address(), client);
    }
    assert_eq!(idle.get("/").expect("an answer").status, 200);
    let mut spins = Client::connect(lab.address()).expect("a connection");
    spins.ask("/spin?ms=600000").expect("sent");
    lab.until_read(lab.address(), &spins);

    let said = abort(&lab);
    let all = said.join("\n");
    assert!(said[0].contains(&format!("(pid {worker}, generation 1) aborts")), "{all}");
    assert!(said[1].contains("in the middle of a turn, for ") && said[1].ends_with(" s at most"), "{all}");
    assert!(said[2].contains(": 4 connections, 2 requests in flight, 6 so far, "), "{all}");
    assert!(said[2].contains(" tasks, "), "{all}");
    assert!(is_about(&said[3], &spins), "the one that blocks is the first: {all}");
    let state = |client: &Client| {
        let line = said.iter().find(|line| is_about(line, client)).unwrap_or_else(|| panic!("no line: {all}"));
        assert!(line.contains(&format!(" to {}, ", lab.address())), "{line}");
        line.split_once(" s old, ").expect("an age").1.to_owned()
    };
    assert_eq!(state(&spins), "http1 handler, 1 requests, the loop is in its handler");
    assert_eq!(state(&sleeps), "http1 handler, 1 requests");
    assert!(state(&head).ends_with("head, 0 requests"));
    let idle_state = state(&idle);
    assert!(["http1 idle, 4 requests", "http1 parked, 4 requests"].contains(&idle_state.as_str()), "{idle_state}");
    assert!(lab.log().contains("nanosleep"), "the backtrace says where: {}", lab.log());
    lab.stop();
}

#[test]
fn an_idle_worker_says_that_it_is_not_blocked() {
    let lab = Start::lab().set("workers", "1").ready();
    lab.until_asleep(*lab.ready().first().expect("a worker"));
    let said = abort(&lab);
    assert!(said[1].ends_with("its loop waits for events, it is not blocked"), "{said:?}");
    assert!(said[2].contains(": 0 connections, 0 requests in flight, 0 so far"), "{said:?}");
    assert_eq!(said.len(), 3, "{said:?}");
    lab.stop();
}

#[test]
fn hundreds_of_connections_are_counted_and_the_busy_ones_named() {
    let lab = Start::lab().set("workers", "1").ready();
    let mut idle: Vec<Client> = (0..300).map(|_| Client::connect(lab.address()).expect("a connection")).collect();
    for client in &mut idle {
        assert_eq!(client.get("/").expect("an answer").status, 200);
    }
    let mut busy: Vec<Client> = (0..20).map(|_| Client::connect(lab.address()).expect("a connection")).collect();
    for client in &mut busy {
        client.begin("/stream?chunks=100000&ms=1000").expect("the answer begins");
    }
    // Those that were closed leave no line.
    idle.truncate(250);
    lab.until("fifty are closed", || lab.connections(lab.address()) == 270);

    let said = abort(&lab);
    assert!(said[2].contains(": 270 connections, 20 requests in flight, 320 so far, "), "{said:?}");
    for client in &busy {
        let place = said.iter().position(|line| is_about(line, client)).expect("a line");
        assert!((3..23).contains(&place) && said[place].contains("http1 handler"), "{}", said[place]);
    }
    assert_eq!(said.len(), 3 + 64 + 1, "{said:?}");
    assert!(said.last().expect("a line").ends_with(": and 206 connections more"), "{said:?}");
    lab.stop();
}

#[test]
fn http2_and_raw_protocols_and_unix_sockets_are_told_apart() {
    let start = Start::lab().set("workers", "1");
    let unix = format!("unix:{}", start.path("lab.sock").display());
    let lab = start.argument("--raw").argument("127.0.0.1:0").argument("--bind").argument(&unix).ready();
    let mut raw = Client::connect(lab.counter()).expect("a connection");
    raw.send("add 1\n").expect("sent");
    lab.until_read(lab.counter(), &raw);
    let mut local = Client::connect(&unix).expect("a connection");
    assert_eq!(local.get("/").expect("an answer").status, 200);
    let mut http2 = Client::connect(lab.address()).expect("a connection");
    http2.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("sent");
    lab.until_read(lab.address(), &http2);
    assert_eq!(local.get("/").expect("an answer").status, 200);

    let said = abort(&lab);
    let line = |part: &str| said.iter().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}: {said:?}"));
    assert!(line(&format!("127.0.0.1:{} ", raw.port())).ends_with(" s old, raw handler"), "{said:?}");
    assert!(line(&format!("127.0.0.1:{} ", http2.port())).ends_with("http2 head, 0 requests"), "{said:?}");
    assert!(line(&format!("connection to {unix}, ")).contains("http1 "), "{said:?}");
    lab.stop();
}

#[test]
fn an_abort_of_the_applications_own_tells_it_too() {
    let lab = Start::lab().set("workers", "1").ready();
    assert!(lab.get("/abort").is_err_and(|failure| failure.is_end()));
    lab.until("its end is logged", || {
        lab.log().lines().any(|line| log::WORKER_EXITED.is(line) && line.contains("signal 6"))
    });
    let log = lab.log();
    assert!(log.lines().any(|line| line.ends_with("http1 handler, 1 requests, the loop is in its handler")), "{log}");
    lab.until("it is replaced", || lab.ready().len() == 1);
    lab.stop();
}
