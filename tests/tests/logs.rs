//! Log lines: whole, whoever writes beside, and each says where it comes from.

use std::fs;

use hatchery_tests::{Start, chores, client, log};
use nix::sys::signal::Signal;
use serde_json::Value;

/// The lines that are JSON; all of them have to be, but what is not the log's.
fn parsed(log: &str) -> Vec<Value> {
    log.lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("torn: {error}: {line}")))
        .collect()
}

/// Of a key that is there twice one value is lost, so what is left is shorter.
fn assert_no_key_is_twice(log: &str) {
    for line in log.lines().filter(|line| line.starts_with('{')) {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("torn: {error}: {line}"));
        assert_eq!(value.to_string().len(), line.len(), "a key is there twice: {line}");
    }
}

#[test]
fn an_event_of_a_worker_says_which_one_it_is() {
    let lab = Start::lab().set("log-format", "json").ready();
    assert_eq!(lab.get("/panic").expect("an answer").status, 500);
    lab.until("it is said", || parsed(&lab.log()).iter().any(|line| line["level"] == "ERROR"));
    let lines = parsed(&lab.log());
    let said = lines.iter().find(|line| line["level"] == "ERROR").expect("the line");
    let worker = &said["spans"][0];
    let pid = i32::try_from(worker["pid"].as_i64().expect("a pid")).expect("a pid");
    assert!(lab.ready().contains(&pid), "{said}");
    assert!(worker["slot"].is_u64() && worker["generation"] == 1 && worker["name"] == "worker", "{said}");
    assert_no_key_is_twice(&lab.log());
    lab.stop();
}

#[test]
fn an_event_of_a_sidecar_says_which_one_it_is_and_no_key_is_twice() {
    for format in ["json", "text"] {
        // It asks for what is not kept, and ends.
        let start = chores::start(env!("CARGO_BIN_EXE_chores")).variable("CHORES_SIDECAR", "busy");
        let lab = start.set("log-format", format).spawn();
        lab.until("it is said", || lab.log().contains("sidecar beat ends: "));
        let log = lab.log();
        assert_no_key_is_twice(&log);
        let said = log.lines().find(|line| line.contains("sidecar beat ends: ")).expect("the line");
        match format {
            "json" => {
                let line: Value = serde_json::from_str(said).expect("an object");
                let span = &line["span"];
                assert_eq!((&span["name"], &span["companion"]), (&"companion".into(), &"beat".into()), "{said}");
                assert!(span["pid"].is_u64() && span["generation"] == 1, "{said}");
            }
            _ => assert!(said.contains("companion{companion=\"beat\" pid="), "{said}"),
        }
    }
}

#[test]
fn rust_log_filters_and_the_process_is_named_all_the_same() {
    let lab = Start::lab().variable("RUST_LOG", "error").spawn();
    lab.until("it serves", || lab.ready().len() == 2);
    lab.signal(Signal::SIGTERM);
    let _end = lab.end_of(lab.first());
    assert!(!lab.log().contains("INFO"), "{}", lab.log());
    let ended = Start::lab().variable("RUST_LOG", "what=ever=this").ended();
    ended.assert_one_line(1, &["RUST_LOG"]);
}

#[test]
fn long_lines_of_many_processes_are_not_torn() {
    // Through a pipe: a write of more than a page is not one of the kernel's whole ones.
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("copy");
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let target = copy.clone();
    let reading = std::thread::spawn(move || {
        let mut file = fs::File::create(target).expect("a file");
        std::io::copy(&mut reader, &mut file).expect("a copy")
    });
    let lab = Start::lab().set("workers", "4").set("log-format", "json").errors(writer.into()).unix().0.spawn();
    lab.until("it serves", || lab.ready().len() == 4);
    let address = format!("unix:{}", lab.path("lab.sock").display());
    let clients: Vec<_> = (0..8)
        .map(|number| {
            let address = address.clone();
            std::thread::spawn(move || {
                for _ in 0..40 {
                    let path = format!("/log?n={number}&bytes={}", 3_000 + number * 3_000);
                    assert_eq!(client::get(&address, &path).expect("an answer").status, 200);
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().expect("a client"));
    lab.signal(Signal::SIGTERM);
    let _end = lab.end_of(lab.first());
    lab.assert_gone();
    drop(lab);
    let _copied = reading.join().expect("a reader");
    let text = fs::read_to_string(&copy).expect("the log");
    let long = text.lines().filter(|line| line.starts_with('{'));
    let long = long.map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("torn: {error}")));
    let long = long.filter(|line| line["message"].as_str().is_some_and(|message| message.starts_with("line "))).count();
    assert_eq!(long, 8 * 40, "none was torn or lost");
    assert!(log::READY.count(&text) > 0);
}
