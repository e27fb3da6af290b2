//! What goes on within TLS, and in front of it: GOAWAY, and headers of the PROXY protocol.

use std::fs;
use std::process::{Command, Stdio};

use hatchery_tests::certificates::{authority, trusting};
use hatchery_tests::client::Client;
use hatchery_tests::log::Line;
use hatchery_tests::neighbour::{Neighbour, free_address};
use hatchery_tests::program::example;
use hatchery_tests::{Program, Start, admin, log};
use nix::sys::signal::Signal;

fn start(program: &str) -> Start {
    Start::default().program(Program::Link(example(program))).set("workers", "1").secured()
}

/// nghttp has a stream open while this happens: it is told to go, and gets the whole answer.
fn goes_when_it_is_told(operation: Signal, done: Line) {
    let lab = start("lab").set("admin", "127.0.0.1:0").ready();
    let client = Command::new("nghttp")
        .args(["--verbose", "--timeout=20"])
        .arg(format!("https://{}/stream?chunks=30&ms=100", lab.secure()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("nghttp, of Debian's package nghttp2-client");
    lab.until("its stream is open", || {
        admin::snapshot(&lab).slots.iter().any(|slot| slot.name.is_none() && slot.in_flight == 1)
    });
    lab.signal(operation);
    let output = client.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said} {}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("The negotiated protocol: h2"), "{said}");
    assert!(said.contains("recv GOAWAY frame") && said.contains("NO_ERROR"), "{said}");
    for chunk in 0..30 {
        assert!(said.contains(&format!("{chunk:015}\n")), "{chunk}: {said}");
    }
    lab.end_after(operation, done);
}

#[test]
fn http2_is_told_to_go_at_a_reload() {
    goes_when_it_is_told(Signal::SIGHUP, log::RELOAD_DONE);
}

#[test]
fn http2_is_told_to_go_at_an_upgrade() {
    goes_when_it_is_told(Signal::SIGUSR2, log::UPGRADE_DONE);
}

#[test]
fn http2_is_told_to_go_at_a_stop() {
    goes_when_it_is_told(Signal::SIGTERM, log::STOP_BEGUN);
}

#[test]
fn haproxy_says_who_its_clients_are_in_front_of_tls() {
    let lab = start("proxy_protocol").set("proxy-protocol-from", "127.0.0.1").ready();
    for how in ["send-proxy", "send-proxy-v2"] {
        let free = free_address();
        let text = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n\
             listen front\n bind {free}\n server one {} {how}\n",
            lab.secure()
        );
        let _haproxy = Neighbour::haproxy(&[], &text, Some(&free));
        let mut client = Client::connect_tls(&free, &trusting()).expect("a handshake");
        let expected = format!("you are 127.0.0.1:{}, behind a proxy\n", client.port());
        assert_eq!(client.get("/").expect("an answer").text(), expected, "{how}");
    }
    // TLS alone, where a header has to be.
    assert!(Client::connect_tls(lab.secure(), &trusting()).is_err());
    lab.stop();
}

#[test]
fn curl_says_for_whom_it_asks_in_front_of_tls() {
    let lab = start("proxy_protocol").set("proxy-protocol-from", "127.0.0.1").ready();
    fs::write(lab.path("ca.pem"), authority().pem()).expect("a file");
    let (_, port) = lab.secure().rsplit_once(':').expect("a port");
    for version in ["--http1.1", "--http2"] {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--haproxy-protocol", "--max-time", "20", version, "--cacert"])
            .arg(lab.path("ca.pem"))
            .args(["--write-out", "%{local_port}"])
            .args(["--resolve", &format!("localhost:{port}:127.0.0.1"), &format!("https://localhost:{port}/")])
            .output()
            .expect("curl is installed");
        let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let (text, port) = said.split_once('\n').expect(&failed);
        assert_eq!(text, format!("you are 127.0.0.1:{port}, behind a proxy"), "{version}");
    }
    lab.stop();
}
