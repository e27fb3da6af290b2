//! `examples/deploy/logrotate`, by the real logrotate, while every request logs a line:
//! none is lost and none is torn.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use hatchery_tests::client::Client;
use hatchery_tests::neighbour::{deployed, with};
use hatchery_tests::{Lab, Start, log, procfs, wait};
use nix::sys::signal::Signal;

/// More than what a pipe takes at once, now and then.
const LONG: u64 = 6000;

struct Rotated {
    lab: Lab,
    folder: PathBuf,
    address: String,
}

impl Rotated {
    fn start(format: &str) -> Self {
        let start = Start::lab().set("log-format", format).set("workers", "3");
        let folder = start.path("logs");
        fs::create_dir(&folder).expect("a folder");
        let lab = start.set("log", &folder.join("app.log").display().to_string()).spawn();
        lab.until("it is ready", || lab.ready().len() == 3 && lab.pid_file("lab.pid").is_some());
        let text = fs::read_to_string(folder.join("app.log")).expect("a log");
        let address = log::listening(&text).first().expect("an address").to_string();
        let (place, pid_file) = (format!("{}/*.log", folder.display()), lab.path("lab.pid").display().to_string());
        let text = with(&deployed("logrotate/app"), &[("/var/log/app/*.log", &place), ("/run/app/app.pid", &pid_file)]);
        fs::write(lab.path("logrotate.conf"), text).expect("a configuration");
        Self { lab, folder, address }
    }

    /// What cron does once a day. Returns when every process that serves writes into the new file.
    fn rotate(&self) {
        let mut command = Command::new("logrotate");
        command.arg("--force").arg("--state").arg(self.lab.path("state")).arg(self.lab.path("logrotate.conf"));
        let done = command.output().expect("logrotate");
        assert!(done.status.success() && done.stderr.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
        let new = self.folder.join("app.log").display().to_string();
        let writes_there = |pid: &i32| procfs::descriptors(*pid).get(&2).is_some_and(|it| *it == new);
        self.lab.until("all have opened the new file", || {
            let mut all = self.lab.workers();
            all.insert(self.lab.serving());
            all.len() == 4 && all.iter().all(writes_there)
        });
    }

    /// All files, the oldest first, as one text.
    fn text(&self) -> String {
        let script = "for n in 9 8 7 6 5 4 3 2; do zcat app.log.$n.gz 2>/dev/null; done; cat app.log.1 app.log";
        let all = Command::new("sh").args(["-c", script]).current_dir(&self.folder).output().expect("a shell");
        String::from_utf8(all.stdout).expect("text")
    }
}

/// The number in a line, if it is a whole one.
fn number_in(format: &str, line: &str) -> Option<u64> {
    let message = if format == "json" {
        let object: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        object["message"].as_str().expect("a message").to_owned()
    } else {
        let (time, rest) = line.split_once(' ').unwrap_or_else(|| panic!("torn: {line}"));
        assert!(time.starts_with("20") && time.ends_with('Z') && time.len() == 27, "torn: {line}");
        assert_eq!(rest.matches(" INFO ").count() + usize::from(rest.starts_with("INFO ")), 1, "torn: {line}");
        rest.to_owned()
    };
    let (_, rest) = message.split_once("line ")?;
    let (number, rest) = rest.split_once(' ')?;
    let number: u64 = number.parse().ok()?;
    assert_eq!(rest.matches('x').count() as u64, size_of_line(number), "cut: {line}");
    Some(number)
}

fn size_of_line(number: u64) -> u64 {
    if number.is_multiple_of(10) { LONG } else { number % 100 }
}

fn no_line_is_lost_or_torn(format: &str) {
    let rotated = Rotated::start(format);
    let lab = &rotated.lab;
    let (next, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let write = |_| {
        let (next, stop, address) = (Arc::clone(&next), Arc::clone(&stop), rotated.address.clone());
        thread::spawn(move || {
            let mut client = Client::connect(&address).expect("a server");
            while !stop.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let path = format!("/log?n={number}&bytes={}", size_of_line(number));
                assert_eq!(client.get(&path).expect("an answer").status, 200);
                wait::think(Duration::from_micros(500));
            }
        })
    };
    let writers: Vec<_> = (0..6).map(write).collect();
    let more = || {
        let goal = next.load(Ordering::Relaxed) + 300;
        wait::until("more lines", || (next.load(Ordering::Relaxed) >= goal).then_some(()));
    };
    for _ in 0..3 {
        more();
        rotated.rotate();
    }
    more();
    let old = lab.serving();
    lab.signal(Signal::SIGUSR2);
    lab.until("the successor serves", || lab.serving() != old && lab.ready().len() == 3);
    // The predecessor's workers may still drain, into the renamed file.
    rotated.rotate();
    more();
    lab.until_gone(old);
    rotated.rotate();
    more();
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.join().expect("a client");
    }
    let written = next.load(Ordering::Relaxed);
    let text = rotated.text();
    let mut found = BTreeSet::new();
    for number in text.lines().filter_map(|line| number_in(format, line)) {
        assert!(found.insert(number), "line {number} is there twice");
    }
    let lost: Vec<u64> = (0..written).filter(|number| !found.contains(number)).collect();
    assert!(lost.is_empty(), "of {written}, lost: {lost:?}");
    assert!(rotated.folder.join("app.log.5").with_extension("5.gz").exists(), "five rotations");
    rotated.lab.stop();
}

#[test]
fn no_line_is_lost_or_torn_as_text() {
    no_line_is_lost_or_torn("text");
}

#[test]
fn no_line_is_lost_or_torn_as_json() {
    no_line_is_lost_or_torn("json");
}
