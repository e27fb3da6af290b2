//! The access log: a line a request, whole, whoever asks.

use std::fs;
use std::thread;

use hatchery_tests::client::Client;
use hatchery_tests::{Lab, Start};
use nix::sys::signal::Signal;

fn lines(lab: &Lab, name: &str) -> Vec<String> {
    fs::read_to_string(lab.path(name)).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn logging(format: &str) -> Lab {
    let start = Start::lab().set("log-format", format);
    let path = start.path("access.log").display().to_string();
    start.set("access-log", &path).ready()
}

fn ask(lab: &Lab, path: &str, agent: &str) {
    let mut client = Client::connect(lab.address()).expect("a connection");
    client.send(format!("GET {path} HTTP/1.1\r\nhost: lab\r\nuser-agent: {agent}\r\n\r\n")).expect("sent");
    client.answer().expect("an answer");
}

#[test]
fn a_line_says_what_was_asked_and_answered() {
    let lab = logging("text");
    ask(&lab, "/bytes?n=1000", "tests/1.0");
    // Of what cannot be printed, these are the bytes that hyper lets through.
    ask(&lab, "/nowhere%22%0a", "\"evil\tagent\u{e9}\"\\");
    lab.until("both are written", || lines(&lab, "access.log").len() == 2);
    let lines = lines(&lab, "access.log");
    assert!(lines[0].starts_with("127.0.0.1 - - ["), "{}", lines[0]);
    assert!(lines[0].contains("\"GET /bytes?n=1000 HTTP/1.1\" 200 1000 \"-\" \"tests/1.0\" 0."), "{}", lines[0]);
    let rest = "\"GET /nowhere%22%0a HTTP/1.1\" 404 0 \"-\" \"\\x22evil\\x09agent\\xC3\\xA9\\x22\\x5C\" 0.";
    assert!(lines[1].contains(rest), "{}", lines[1]);
    lab.stop();
}

#[test]
fn in_json_it_is_an_object_a_line() {
    let lab = logging("json");
    ask(&lab, "/?a=%22", "a \"quoted\" \\ agent");
    lab.until("it is written", || lines(&lab, "access.log").len() == 1);
    let line: serde_json::Value = serde_json::from_str(&lines(&lab, "access.log")[0]).expect("an object");
    assert_eq!(line["path"], "/?a=%22");
    assert_eq!(line["status"], 200);
    assert_eq!(line["bytes"], 13);
    assert_eq!(line["client"], "127.0.0.1");
    assert_eq!(line["user_agent"], "a \"quoted\" \\ agent");
    assert_eq!(line["referer"], serde_json::Value::Null);
    assert!(line["seconds"].as_f64().is_some_and(|seconds| (0.0..60.0).contains(&seconds)));
    lab.stop();
}

#[test]
fn no_line_is_torn_or_lost_whatever_is_done_meanwhile() {
    const CLIENTS: usize = 8;
    const EACH: usize = 100;
    let lab = logging("text");
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let lab = &lab;
            scope.spawn(move || {
                let agent = format!("client-{number}-{}", "x".repeat(5000));
                let path = format!("/?{}", "y".repeat(3000));
                for _ in 0..EACH {
                    ask(lab, &path, &agent);
                }
            });
        }
        // As logrotate does it.
        fs::rename(lab.path("access.log"), lab.path("access.log.1")).expect("the log");
        lab.signal(Signal::SIGUSR1);
        lab.until("it was opened again", || lab.path("access.log").exists());
        lab.signal(Signal::SIGHUP);
    });
    let all = || [lines(&lab, "access.log"), lines(&lab, "access.log.1")].concat();
    lab.until("all are written", || all().len() >= CLIENTS * EACH);
    let all = all();
    assert_eq!(all.len(), CLIENTS * EACH);
    for line in &all {
        let tail = line.rsplit(' ').next().expect("a word");
        assert!(line.starts_with("127.0.0.1 - - [") && tail.parse::<f64>().is_ok() && line.len() < 4096, "{line}");
        assert_eq!(line.matches("...").count(), 2, "{line}");
    }
    assert!(!lines(&lab, "access.log").is_empty());
    lab.stop();
}

#[test]
fn it_goes_to_standard_output_if_it_is_only_on() {
    let lab = Start::lab().set("access-log", "on").ready();
    ask(&lab, "/", "somebody");
    lab.until("it is written", || lab.log().contains("\"GET / HTTP/1.1\" 200 13 \"-\" \"somebody\""));
    lab.stop();
}
