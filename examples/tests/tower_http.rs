//! What the layers of tower-http do, seen by a client.

use hatchery_tests::client::{Answer, Client};
use hatchery_tests::program::example;
use hatchery_tests::{Lab, Program, Start};

fn ready() -> Lab {
    Start::default().program(Program::Link(example("tower_http"))).variable("RUST_LOG", "info,tower_http=debug").ready()
}

fn ask(lab: &Lab, path: &str, headers: &str) -> Answer {
    let mut client = Client::connect(lab.address()).expect("a connection");
    client.send(format!("GET {path} HTTP/1.1\r\nhost: lab\r\n{headers}\r\n")).expect("sent");
    client.answer().expect("an answer")
}

#[test]
fn each_layer_does_its_part() {
    let lab = ready();
    let plain = ask(&lab, "/poem", "origin: http://elsewhere\r\n");
    assert_eq!((plain.status, plain.body.len()), (200, 24_000));
    assert_eq!(plain.header("access-control-allow-origin"), Some("*"));
    let small = ask(&lab, "/poem", "accept-encoding: gzip\r\n");
    assert_eq!((small.status, small.header("content-encoding")), (200, Some("gzip")));
    assert!(small.body.len() < 1000 && small.body.starts_with(&[0x1f, 0x8b]));
    assert_eq!(ask(&lab, "/slow", "").status, 503);
    lab.until("the requests are traced", || lab.log().contains("finished processing request"));
    lab.stop();
}
