//! The PROXY protocol, said by haproxy and by hand.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use hatchery_tests::client::{self, Client};
use hatchery_tests::program::example;
use hatchery_tests::{Lab, Program, Start};

fn start() -> Start {
    Start::default().program(Program::Link(example("proxy_protocol"))).set("workers", "1")
}

fn trusting() -> Lab {
    start().set("proxy-protocol-from", "127.0.0.1").ready()
}

/// Asks behind a header.
fn said(lab: &Lab, header: &[u8]) -> Option<String> {
    let mut client = Client::connect(lab.address()).expect("a connection");
    client.send(header).ok()?;
    client.get("/").ok().map(|answer| answer.text())
}

/// haproxy, killed when dropped.
struct Haproxy(Child, String);

impl Haproxy {
    fn before(lab: &Lab, how: &str) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
        let path = lab.path("haproxy.cfg");
        let config = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n\
             listen front\n bind {free}\n server one {} {how} check inter 100ms\n",
            lab.address()
        );
        fs::File::create(&path).and_then(|mut file| file.write_all(config.as_bytes())).expect("a configuration");
        let child = Command::new("haproxy")
            .arg("-db")
            .arg("-f")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("haproxy, of Debian's package of that name");
        let address = free.to_string();
        lab.until("haproxy listens", || std::net::TcpStream::connect(&address).is_ok());
        Self(child, address)
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn haproxy_says_who_its_clients_are_in_both_versions() {
    for how in ["send-proxy", "send-proxy-v2"] {
        let lab = trusting();
        let haproxy = Haproxy::before(&lab, how);
        let mut client = Client::connect(&haproxy.1).expect("a connection");
        let expected = format!("you are 127.0.0.1:{}, behind a proxy\n", client.port());
        assert_eq!(client.get("/").expect("an answer").text(), expected, "{how}");
        // It goes along when the connection moves to another process.
        lab.upgrade();
        assert_eq!(client.get("/").expect("an answer").text(), expected, "{how}");
        drop(client);
        drop(haproxy);
        lab.stop();
    }
}

#[test]
fn who_is_trusted_has_to_say_it_and_nothing_else() {
    let lab = trusting();
    let v1 = b"PROXY TCP4 192.0.2.1 192.0.2.2 4096 80\r\n";
    assert_eq!(said(&lab, v1).as_deref(), Some("you are 192.0.2.1:4096, behind a proxy\n"));
    assert!(said(&lab, b"PROXY UNKNOWN\r\n").is_some_and(|text| !text.contains("proxy")));
    assert_eq!(said(&lab, b""), None, "a request without a header");
    assert_eq!(said(&lab, b"PROXY TCP4 nobody\r\n"), None);
    let twice = [v1.as_slice(), v1].concat();
    let answer = {
        let mut client = Client::connect(lab.address()).expect("a connection");
        client.send(&twice).expect("sent");
        client.ask("/").and_then(|()| client.answer())
    };
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 400), "a second header is no request");
    lab.stop();
}

#[test]
fn it_has_the_time_of_a_head() {
    let lab = start().set("proxy-protocol-from", "127.0.0.0/8").set("header-timeout", "500ms").ready();
    let mut client = Client::connect(lab.address()).expect("a connection");
    client.send("PROXY TCP4 192.0.2.1 ").expect("sent");
    assert!(client.read_to_end().is_ok_and(|rest| rest.is_empty()) || client.is_closed().is_ok());
    lab.until("it is closed", || is_alone(&lab));
    lab.stop();
}

fn is_alone(lab: &Lab) -> bool {
    lab.connections(lab.address()) == 0
}

#[test]
fn nobody_else_is_believed() {
    let lab = start().set("proxy-protocol-from", "192.0.2.0/24, unix").ready();
    let mut client = Client::connect(lab.address()).expect("a connection");
    let expected = format!("you are 127.0.0.1:{}\n", client.port());
    assert_eq!(client.get("/").expect("an answer").text(), expected);
    let answer = {
        let mut client = Client::connect(lab.address()).expect("a connection");
        client.send("PROXY TCP4 192.0.2.1 192.0.2.2 4096 80\r\n").expect("sent");
        client.ask("/").and_then(|()| client.answer())
    };
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 400));
    lab.stop();
}

#[test]
fn limits_are_those_of_the_client_and_not_of_the_proxy() {
    let lab = start().set("proxy-protocol-from", "127.0.0.1").set("max-connections-per-peer", "2").ready();
    let connect = |last: u8| {
        let mut client = Client::connect(lab.address()).expect("a connection");
        client.send(format!("PROXY TCP4 192.0.2.{last} 192.0.2.200 4096 80\r\n")).expect("sent");
        let answer = client.get("/").map(|answer| answer.status);
        (client, answer)
    };
    let held: Vec<_> = (1..5).flat_map(|client| [connect(client), connect(client)]).collect();
    assert!(held.iter().all(|(_, answer)| matches!(answer, Ok(200))));
    assert!(connect(1).1.is_err());
    drop(held);
    lab.stop();
}

#[test]
fn a_stop_does_not_wait_for_who_says_nothing() {
    let lab = trusting();
    let silent = Client::connect(lab.address()).expect("a connection");
    assert!(client::get(lab.address(), "/").is_err());
    lab.stop();
    drop(silent);
}
