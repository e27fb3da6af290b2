//! What operators are told on `--admin`, by a process that hurts nobody else.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use hatchery_tests::client::{self, Answer, Client};
use hatchery_tests::{End, Lab, Program, Start, admin, log, procfs};
use nix::sys::signal::Signal;

fn start() -> Start {
    Start::lab().set("admin", "127.0.0.1:0")
}

fn get(lab: &Lab, path: &str) -> Answer {
    client::get(&admin::address(lab), path).unwrap_or_else(|failure| panic!("{path}: {failure}"))
}

fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

#[test]
fn metrics_are_what_prometheus_reads_and_say_what_clients_did() {
    let lab = start().ready();
    for path in ["/", "/", "/nowhere", "/panic", "/sleep?ms=30"] {
        lab.get(path).expect("an answer");
    }
    lab.until("all are counted", || admin::snapshot(&lab).counts.latency.buckets.iter().sum::<u64>() == 5);
    let answer = get(&lab, "/metrics");
    assert_eq!(answer.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let metrics = text(&answer);
    for line in [
        "hatchery_requests_total 5",
        "hatchery_connections_total 5",
        "hatchery_responses_total{class=\"2xx\"} 3",
        "hatchery_responses_total{class=\"4xx\"} 1",
        "hatchery_responses_total{class=\"5xx\"} 1",
        "hatchery_handler_panics_total 1",
        "hatchery_request_duration_seconds_count 5",
        "hatchery_request_duration_seconds_bucket{le=\"+Inf\"} 5",
        "hatchery_ready 1",
        "hatchery_generation 1",
        "hatchery_state{state=\"serving\"} 1",
        "hatchery_worker_processes{slot=\"1\"} 1",
    ] {
        assert!(metrics.lines().any(|it| it == line), "no `{line}` in\n{metrics}");
    }
    let slow = |le: &str| metrics.contains(&format!("hatchery_request_duration_seconds_bucket{{le=\"{le}\"}} 5"));
    assert!(!slow("0.025") && slow("10.0"), "one has taken 30 ms:\n{metrics}");
    admin::assert_parses(&metrics);
    lab.stop();
}

#[test]
fn only_what_there_is_can_be_asked_for() {
    let lab = start().ready();
    assert_eq!((get(&lab, "/livez").status, text(&get(&lab, "/livez"))), (200, "ok\n".to_owned()));
    assert_eq!(get(&lab, "/readyz").status, 200);
    assert_eq!(get(&lab, "/nowhere").status, 404);
    let mut client = Client::connect(&admin::address(&lab)).expect("a connection");
    client.begin_post("/metrics", "content-length: 0\r\n", "").expect("sent");
    let answer = client.answer().expect("an answer");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
    lab.stop();
}

#[test]
fn a_drain_is_told_until_its_end() {
    let lab = start().ready();
    let mut slow = Client::connect(lab.address()).expect("a connection");
    slow.ask("/sleep?ms=3000").expect("sent");
    lab.until("it is in flight", || {
        admin::snapshot(&lab).slots.iter().filter(|slot| slot.name.is_none()).any(|slot| slot.in_flight == 1)
    });
    lab.signal(Signal::SIGTERM);
    lab.until("the server drains", || get(&lab, "/readyz").status == 503);
    assert_eq!(text(&get(&lab, "/readyz")), "draining: new connections are not accepted any more\n");
    assert_eq!(get(&lab, "/livez").status, 200);
    assert_eq!(slow.answer().expect("it is answered").status, 200);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    lab.assert_gone();
}

#[test]
fn one_that_is_killed_comes_back_and_no_worker_notices() {
    let lab = start().ready();
    let (workers, before) = (lab.ready(), lab.one_titled("hatchery: sidecar admin gen 1 ready"));
    lab.signal_to(before, Signal::SIGKILL);
    lab.until_gone(before);
    // Whoever asks meanwhile waits in the queue.
    assert_eq!(get(&lab, "/livez").status, 200);
    assert_ne!(lab.one_titled("hatchery: sidecar admin gen 1 ready"), before);
    assert_eq!(lab.ready(), workers);
    lab.stop();
}

#[test]
fn a_hostile_scraper_hurts_nobody_else() {
    let lab = start().ready();
    let address = admin::address(&lab);
    // More of them than there are places, and they never say what they want.
    let silent: Vec<TcpStream> = (0..200).filter_map(|_| TcpStream::connect(&address).ok()).collect();
    for mut stream in &silent {
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: ");
    }
    drop(silent);
    let until = Instant::now() + Duration::from_secs(1);
    let scrapers: Vec<_> = (0..8)
        .map(|_| {
            let address = address.clone();
            thread::spawn(move || while Instant::now() < until && client::get(&address, "/metrics").is_ok() {})
        })
        .collect();
    let ticks = |pid: i32| procfs::Process::read(pid).map(|process| process.state);
    while Instant::now() < until {
        assert_eq!(lab.get("/").expect("workers answer").status, 200);
        assert!(ticks(lab.serving()).is_some());
    }
    scrapers.into_iter().for_each(|scraper| scraper.join().expect("it has not panicked"));
    let metrics = text(&get(&lab, "/metrics"));
    assert!(metrics.contains("hatchery_worker_restarts_total{cause=\"crash\"} 0"), "{metrics}");
    lab.stop();
}

#[test]
fn an_address_in_use_is_said_as_for_bind() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    Start::lab()
        .set("admin", &address)
        .ended()
        .assert_one_line(1, &["--admin (command line): address in use: ", &address]);
}

#[test]
fn a_unix_socket_will_do_and_is_removed_at_the_end() {
    let start = Start::lab();
    let path = start.path("admin.sock");
    let lab = start.set("admin", &format!("unix:{}", path.display())).ready();
    let mut stream = std::os::unix::net::UnixStream::connect(&path).expect("it listens");
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("sent");
    let answer = std::io::read_to_string(stream).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok\n"), "{answer}");
    let successor = lab.upgrade();
    assert!(path.exists());
    lab.signal_to(successor, Signal::SIGTERM);
    assert_eq!(lab.end_of(successor), End::Code(0));
    lab.until("the file is gone", || !path.exists());
}

/// The list in the guide is the one of the program, with types and labels.
#[test]
fn every_metric_is_documented() {
    let lab = start().ready();
    let metrics = text(&get(&lab, "/metrics"));
    let guide = include_str!("../../docs/metrics.md");
    let mut names = Vec::new();
    for line in metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').expect("a name and a type");
        let shown = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
        let row = guide.lines().find(|line| line.starts_with(&format!("| `{shown}` | {kind} |")));
        let row = row.unwrap_or_else(|| panic!("docs/metrics.md has no row for `{shown}`, a {kind}"));
        let sample = metrics.lines().find(|line| line.starts_with(&format!("{shown}{{")));
        if let Some(label) = sample.and_then(|line| line.split(['{', '=']).nth(1)).filter(|label| *label != "le") {
            assert!(row.contains(&format!("`{label}`")), "`{shown}` has a label `{label}`: {row}");
        }
        names.push(shown);
    }
    for line in guide.lines().filter_map(|line| line.strip_prefix("| `hatchery_")) {
        let name = format!("hatchery_{}", line.split('`').next().unwrap_or_default());
        assert!(names.contains(&name), "docs/metrics.md tells of `{name}`, which is not there");
    }
    lab.stop();
}

#[test]
fn an_upgrade_that_is_taken_back_gives_it_back() {
    for path in [None, Some("admin.sock")] {
        let start = Start::lab();
        let asked = path.map_or("127.0.0.1:0".to_owned(), |name| format!("unix:{}", start.path(name).display()));
        let lab = start.set("admin", &asked).ready();
        let master = lab.serving();
        // It is ready, and crashes when it has taken over.
        lab.install(&Program::lab_with("LAB_BOOT=crash"));
        lab.signal(Signal::SIGUSR2);
        lab.until_logged(log::TAKEN_BACK, 1);
        lab.until("nothing of it is left", || lab.masters().len() == 1);
        let answers = || client::get(&admin::address(&lab), "/readyz").is_ok_and(|answer| answer.status == 200);
        lab.until("it is told here again", answers);
        assert_eq!(admin::snapshot(&lab).status.master, master);
        lab.install(&Program::lab());
        let successor = lab.upgrade();
        lab.until("it is told there", || admin::snapshot(&lab).status.master == successor);
        lab.stop();
    }
}
