//! Connections of a protocol of the application's own are spread as those of HTTP are.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use hatchery_control::{Request, Until, Whom, WorkerState};
use hatchery_tests::client::ANSWER;
use hatchery_tests::program::example;
use hatchery_tests::{Lab, Program, Start};

const CLIENTS: usize = 90;
const WORKERS: usize = 3;

/// More than this above the mean is too much: the balance begins there.
const SLACK: u64 = 8;

/// A client that says lines, and counts them with the server.
struct Lines {
    stream: BufReader<TcpStream>,
    said: u64,
}

impl Lines {
    fn connect(lab: &Lab) -> Self {
        let stream = TcpStream::connect(lab.address()).expect("a connection");
        stream.set_read_timeout(Some(ANSWER)).expect("a time");
        Self { stream: BufReader::new(stream), said: 0 }
    }

    /// The second half of a line, and the first half of the next one, which is under way when the connection moves.
    fn say(&mut self) {
        let begun = if self.said == 0 { "he" } else { "" };
        self.stream.get_mut().write_all(format!("{begun}llo\nhe").as_bytes()).expect("sent");
        self.said += 1;
        let mut answer = String::new();
        self.stream.read_line(&mut answer).expect("an answer");
        assert_eq!(answer, format!("{} hello\n", self.said), "the client has noticed");
    }
}

/// Of each worker, when none of them drains any more and there are as many as there should be.
fn counts(lab: &Lab) -> Option<Vec<u64>> {
    let workers = lab.status().workers;
    let ready = workers.len() == WORKERS && workers.iter().all(|worker| worker.state == WorkerState::Ready);
    ready.then(|| workers.iter().map(|worker| worker.connections).collect())
}

#[test]
fn connections_of_a_raw_protocol_are_evened_out_and_lose_nothing() {
    let start = Start::default().program(Program::Link(example("echo"))).controlled().set("workers", "1");
    let lab = start.ready();
    let mut clients: Vec<Lines> = (0..CLIENTS).map(|_| Lines::connect(&lab)).collect();
    clients.iter_mut().for_each(Lines::say);
    let operations = [
        Request::Scale { workers: 3, wait: true },
        Request::Reload { wait: true },
        Request::Upgrade { wait: Until::Proven },
        Request::Recycle { whom: Whom::Slot(0), wait: true },
        Request::Recycle { whom: Whom::Slot(1), wait: true },
    ];
    for operation in operations {
        println!("{}", lab.ask(&operation).done());
        let mut seen = None;
        let mean = (CLIENTS / WORKERS) as u64;
        lab.until(&format!("connections are even after {operation:?}"), || {
            let now = counts(&lab);
            let even = now.as_ref().is_some_and(|now| {
                now.iter().sum::<u64>() == CLIENTS as u64 && now.iter().all(|open| *open <= mean + SLACK)
            });
            if now != seen {
                println!("{operation:?}: {now:?}");
                seen = now;
            }
            even
        });
        clients.iter_mut().for_each(Lines::say);
    }
    lab.stop();
}
