//! The access log: a line a request, whole, whoever asks.

use std::fs;
use std::path::Path;
use std::thread;

use hatchery_tests::client::Client;
use hatchery_tests::{End, Lab, Start, log};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

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

#[test]
fn a_file_that_nobody_could_write_to_is_refused_by_whoever_reads_the_settings() {
    let words = ["cannot append to /nonexistent/a.log: No such file", "expected `on`, `off`, or a file"];
    let words_and = |first| [&[first], &words[..]].concat();
    let named = |start: Start| start.set("access-log", "/nonexistent/a.log");
    let flag = words_and("--access-log (command line): ");
    named(Start::lab()).ended().assert_one_line(1, &flag);
    named(Start::lab().argument("--check-config")).ended().assert_one_line(1, &flag);
    let variable = Start::lab().variable("HATCHERY_ACCESS_LOG", "/nonexistent/a.log");
    variable.ended().assert_one_line(1, &words_and("HATCHERY_ACCESS_LOG (environment): "));

    let lab = Start::lab().config("send_timeout = \"9s\"\n").ready();
    let workers = lab.ready();
    fs::write(lab.path("lab.toml"), "\naccess_log = \"/nonexistent/a.log\"\n").expect("a settings file");
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_FAILED, 1);
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_FAILED, 1);
    lab.until("nothing is left of it", || lab.processes().len() == 3);
    let log = lab.log();
    for line in [log::RELOAD_FAILED, log::UPGRADE_FAILED] {
        let said = log.lines().find(|said| line.is(said)).expect("the line");
        for word in words_and("lab.toml line 2): ") {
            assert!(said.contains(word), "`{word}` is not in: {said}");
        }
    }
    assert_eq!(lab.ready(), workers);
    lab.stop();
}

#[test]
fn whether_it_could_be_written_is_asked_without_making_it_or_waiting() {
    let start = Start::lab();
    let (path, pipe) = (start.path("a.log"), start.path("pipe"));
    mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
    let checked = |path: &Path| {
        let start = Start::lab().argument("--check-config").set("access-log", &path.display().to_string());
        start.ended()
    };
    assert_eq!(checked(&path).end, End::Code(0));
    assert!(!path.exists());
    assert_eq!(checked(&pipe).end, End::Code(0));
    let folder = path.parent().expect("a folder");
    checked(folder).assert_one_line(1, &["--access-log (command line): cannot append to ", "Is a directory"]);
}
