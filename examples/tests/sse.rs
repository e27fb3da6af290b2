//! Server-Sent Events across an upgrade.

use hatchery_tests::client::Client;
use hatchery_tests::program::example;
use hatchery_tests::{Program, Start};

/// One line of a chunked answer, without the sizes of its chunks.
fn field(client: &mut Client) -> Option<String> {
    loop {
        let line = client.line().expect("a line");
        let line = line.trim_end();
        if line == "0" {
            return None;
        }
        if line.contains(": ") {
            return Some(line.to_owned());
        }
    }
}

fn ask(address: &str, last: Option<u64>) -> Client {
    let mut client = Client::connect(address).expect("a connection");
    let last = last.map_or_else(String::new, |last| format!("last-event-id: {last}\r\n"));
    client.send(format!("GET / HTTP/1.1\r\nhost: lab\r\n{last}\r\n")).expect("sent");
    let status = client.line().expect("a status");
    assert!(status.starts_with("HTTP/1.1 200 "), "{status}");
    while !client.line().expect("a header").trim_end().is_empty() {}
    client
}

#[test]
fn events_go_on_where_they_were_in_the_new_generation() {
    let lab = Start::default().program(Program::Link(example("sse"))).ready();
    let address = lab.address().to_owned();
    let mut client = ask(&address, None);
    let mut next = 0;
    let upgrade = std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| lab.upgrade());
        loop {
            match field(&mut client) {
                Some(line) if line.starts_with("id: ") => {
                    assert_eq!(line, format!("id: {next}"), "none is left out, none comes twice");
                    next += 1;
                }
                Some(line) if line.ends_with("by generation 2") => break,
                Some(_) => {}
                // The answer has come to its end: what a browser does then.
                None => client = ask(&address, Some(next - 1)),
            }
        }
        upgrade.join().expect("no panic")
    });
    assert!(upgrade > 0 && next > 0);
    drop(client);
    lab.stop();
}
