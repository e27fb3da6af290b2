//! Listeners that end while new clients keep coming: whoever is connected is answered.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hatchery_tests::client::ANSWER;
use hatchery_tests::{End, Lab, Start, log, wait};
use nix::sys::signal::Signal;

/// How many clients come at a time.
const CLIENTS: usize = 6;

/// How many answers they have had before anything ends.
const SOME: usize = 120;

/// How often something ends: with nothing done about it, two stops of five cost a client.
const ROUNDS: usize = 10;

/// How long a client waits to be let in. Its kernel asks again after a second only.
const LET_IN: Duration = Duration::from_millis(200);

/// What clients have seen until they were not let in any more.
#[derive(Debug, Default)]
struct Seen {
    answered: usize,
    /// What became of connections that were there, and were not answered.
    lost: Vec<String>,
}

/// Connects, and says how the request went that was sent then; fails where it is not let in.
fn get(address: &str) -> io::Result<io::Result<()>> {
    match address.strip_prefix("unix:") {
        Some(path) => UnixStream::connect(path).map(ask),
        None => {
            let address = address.parse().expect("an address");
            let stream = TcpStream::connect_timeout(&address, LET_IN)?;
            stream.set_read_timeout(Some(ANSWER))?;
            Ok(ask(stream))
        }
    }
}

/// A request on a connection of its own.
fn ask(mut stream: impl Read + Write) -> io::Result<()> {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: lab\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let whole = answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nHello, World!");
    if whole { Ok(()) } else { Err(io::Error::other(format!("{answer:?}"))) }
}

/// Connects for every request, until it is not let in any more. Counts `answered`.
fn come(address: &str, answered: &AtomicUsize) -> Seen {
    let mut seen = Seen::default();
    let began = Instant::now();
    // Nobody may come for ever to a server that did not end.
    while began.elapsed() < 2 * wait::PATIENCE {
        match get(address) {
            Ok(Ok(())) => {
                seen.answered += 1;
                answered.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Err(failure)) => seen.lost.push(failure.to_string()),
            Err(_) => break,
        }
        wait::think(Duration::from_micros(500));
    }
    seen
}

/// What clients of `address` see while `end` is done to it.
fn coming_to(address: &str, end: impl FnOnce()) -> Seen {
    let answered = AtomicUsize::new(0);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| come(address, &answered))).collect();
        wait::until("some are answered", || (answered.load(Ordering::Relaxed) >= SOME).then_some(()));
        end();
        let seen = clients.into_iter().map(|client| client.join().expect("a client"));
        seen.fold(Seen::default(), |mut sum, seen| {
            sum.answered += seen.answered;
            sum.lost.extend(seen.lost);
            sum
        })
    })
}

fn stops(start: impl Fn() -> (Lab, String)) {
    let mut lost = Vec::new();
    for stop in 0..ROUNDS {
        let (lab, address) = start();
        let seen = coming_to(&address, || lab.signal(Signal::SIGTERM));
        assert!(seen.answered >= SOME, "{seen:?}");
        assert_eq!(lab.end_of(lab.first()), End::Code(0));
        lost.extend(seen.lost.into_iter().map(|how| format!("stop {stop}: {how}")));
    }
    assert!(lost.is_empty(), "{} were connected and not answered: {lost:#?}", lost.len());
}

fn over_tcp(mode: &str) -> (Lab, String) {
    let lab = Start::lab().set("listen-mode", mode).ready();
    let address = lab.address().to_owned();
    (lab, address)
}

#[test]
fn a_stop_answers_whoever_is_connected() {
    stops(|| over_tcp("shared"));
}

#[test]
fn a_stop_answers_whoever_is_connected_with_a_queue_for_each_worker() {
    stops(|| over_tcp("reuseport"));
}

#[test]
fn a_stop_answers_whoever_is_connected_over_a_unix_socket() {
    stops(|| {
        let (start, address) = Start::lab().unix();
        (start.ready(), address)
    });
}

/// The address is served, and given up by the reload that ends a round.
fn reloads(mode: &str) {
    let settings = |addresses: &[&str]| format!("bind = {addresses:?}\n");
    let start = Start::lab().set("listen-mode", mode).without("bind");
    let lab = start.config(&settings(&["127.0.0.1:0", "127.0.0.1:0"])).ready();
    let [stays, goes] = [0, 1].map(|index| lab.addresses()[index].clone());
    let mut reloads = 0;
    let mut reload = |addresses: &[&str]| {
        reloads += 1;
        fs::write(lab.path("lab.toml"), settings(addresses)).expect("other settings");
        lab.signal(Signal::SIGHUP);
        lab.until_logged(log::RELOAD_DONE, reloads);
    };
    let mut lost = Vec::new();
    for round in 0..ROUNDS {
        let seen = coming_to(&goes, || reload(&[&stays]));
        lost.extend(seen.lost.into_iter().map(|how| format!("reload {round}: {how}")));
        reload(&[&stays, &goes]);
    }
    assert!(lost.is_empty(), "{} were connected and not answered: {lost:#?}", lost.len());
    lab.stop();
}

#[test]
fn an_address_that_is_given_up_answers_whoever_is_connected() {
    reloads("shared");
}

#[test]
fn an_address_that_is_given_up_answers_whoever_is_connected_with_a_queue_for_each_worker() {
    reloads("reuseport");
}
