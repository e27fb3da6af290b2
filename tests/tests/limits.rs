//! Each limit that is counted is reached by a real client, and the counter tells.

use std::collections::BTreeSet;
use std::net::TcpStream;

use bytes::Bytes;
use h2::Reason;
use h2::client::{Builder, SendRequest};
use hatchery_sys::board::Counter;
use hatchery_tests::certificates::authority;
use hatchery_tests::client::Client;
use hatchery_tests::{Lab, Start, admin, flood};
use http::{Method, Request};

/// How long everything may take.
const LIMIT: &str = "600ms";

/// How many connections one address may have.
const PEERS: usize = 40;

/// What a client does, and what the server counts.
type Case = (&'static str, fn(&Lab));

const CASES: [Case; 14] = [
    ("header-timeout", half_a_head),
    ("body-timeout", half_a_body),
    ("body-timeout", |lab| http2(lab, half_a_stream)),
    ("send-timeout", nothing_is_read),
    ("send-timeout", |lab| http2(lab, no_room)),
    ("keep-alive-timeout", idle),
    ("head-too-large", large_head),
    ("body-too-large", large_body),
    ("body-too-large", |lab| http2(lab, large_stream)),
    ("connections-of-one-peer", many_connections),
    ("reset-flood", |lab| flood::resets(lab.address())),
    ("tls-handshake-failed", garbage_for_tls),
    ("tls-handshake-timeout", silence_for_tls),
    ("proxy-header", no_proxy_header),
];

/// A server with all of them, and one that believes a proxy.
fn start() -> (Lab, Lab) {
    let start = Start::lab().set("workers", "1").set("admin", "127.0.0.1:0");
    let (certificate, key) = authority().issue(&["localhost"]).write(start.path("").as_path(), "server");
    let start = start
        .set("tls-bind", "127.0.0.1:0")
        .set("tls-certificate", &certificate.display().to_string())
        .set("tls-key", &key.display().to_string());
    let times = ["header-timeout", "body-timeout", "send-timeout", "keep-alive-timeout", "tls-handshake-timeout"];
    let lab = times.into_iter().fold(start, |start, name| start.set(name, LIMIT));
    let lab = lab.set("max-header-size", "16KiB").set("max-body-size", "10KiB");
    let lab = lab.set("max-connections-per-peer", &PEERS.to_string());
    let behind = Start::lab().set("workers", "1").set("admin", "127.0.0.1:0");
    (lab.ready(), behind.set("proxy-protocol-from", "127.0.0.1").ready())
}

#[test]
fn each_is_reached_and_counted() {
    let covered: BTreeSet<_> = CASES.iter().map(|(limit, _)| *limit).collect();
    assert_eq!(covered, Counter::LIMITS.iter().map(|(_, name)| *name).collect(), "each limit has a case");
    let (lab, behind_a_proxy) = start();
    let before = (lab.ready(), behind_a_proxy.ready());
    for (n, (limit, reach)) in CASES.into_iter().enumerate() {
        let lab = if limit == "proxy-header" { &behind_a_proxy } else { &lab };
        let counted = admin::limited(lab, limit);
        reach(lab);
        lab.until(&format!("case {n}, {limit}, is counted"), || admin::limited(lab, limit) > counted);
        // `hatchery status --json` and the page read the same.
        let known = admin::snapshot(lab).counts.limits;
        assert!(known.iter().any(|(name, count)| name == limit && *count > counted), "{limit}: {known:?}");
    }
    assert_eq!((lab.ready(), behind_a_proxy.ready()), before);
    lab.stop();
    behind_a_proxy.stop();
}

fn connect(lab: &Lab) -> Client {
    Client::connect(lab.address()).expect("a connection")
}

fn half_a_head(lab: &Lab) {
    let mut client = connect(lab);
    client.send("GET / HTTP/1.1\r\nx-slow: ").expect("sent");
    assert_eq!(client.answer().expect("an answer").status, 408);
}

fn half_a_body(lab: &Lab) {
    let mut client = connect(lab);
    client.begin_post("/echo", "Content-Length: 10\r\n", "half").expect("sent");
    assert!(client.answer().is_err());
}

fn nothing_is_read(lab: &Lab) {
    let mut client = connect(lab);
    client.begin("/bytes?n=50000000").expect("sent");
    lab.until("it is reset", || lab.connections(lab.address()) == 0);
    assert!(client.answer().is_err());
}

fn idle(lab: &Lab) {
    let mut client = connect(lab);
    assert_eq!(client.get("/").expect("an answer").status, 200);
    assert!(client.read_to_end().expect("it is closed").is_empty());
}

fn large_head(lab: &Lab) {
    let mut client = connect(lab);
    client.send(format!("GET / HTTP/1.1\r\nx-long: {}\r\n\r\n", "x".repeat(20_000))).expect("sent");
    assert_eq!(client.answer().expect("an answer").status, 431);
}

fn large_body(lab: &Lab) {
    let mut client = connect(lab);
    client.send("POST /echo HTTP/1.1\r\nHost: lab\r\nContent-Length: 10241\r\n\r\n").expect("sent");
    assert_eq!(client.answer().expect("an answer").status, 413);
}

fn many_connections(lab: &Lab) {
    let _held: Vec<_> = (0..=PEERS).map(|_| TcpStream::connect(lab.address()).expect("a connection")).collect();
    lab.until("one was too many", || admin::limited(lab, "connections-of-one-peer") > 0);
}

fn garbage_for_tls(lab: &Lab) {
    let mut client = Client::connect(&lab.addresses()[1]).expect("a connection");
    client.send("\0\0\0\0 what is this?").expect("sent");
    let _alert = client.read_to_end();
}

fn silence_for_tls(lab: &Lab) {
    let mut client = Client::connect(&lab.addresses()[1]).expect("a connection");
    let _alert = client.read_to_end();
}

fn no_proxy_header(lab: &Lab) {
    assert!(connect(lab).get("/").is_err());
}

type Sender = SendRequest<Bytes>;

/// A client of HTTP/2 whose stream is reset, and whose next one is answered.
fn http2<F: Future<Output = Result<(), h2::Error>>>(lab: &Lab, reach: impl FnOnce(Sender) -> F) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(lab.address()).await.expect("a connection");
        let mut builder = Builder::new();
        builder.initial_window_size(16_384).initial_connection_window_size(1 << 20);
        let (mut sender, connection) = builder.handshake(stream).await.expect("a preface");
        tokio::spawn(connection);
        let error = reach(sender.clone()).await.expect_err("the stream is reset");
        assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM), "{error}");
        let (answer, _) = sender.send_request(request(Method::GET, "/"), true).expect("sent");
        assert_eq!(answer.await.expect("an answer").status(), 200);
    });
}

fn request(method: Method, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("http://lab{path}")).body(()).expect("a request")
}

async fn half_a_stream(mut sender: Sender) -> Result<(), h2::Error> {
    let (answer, mut body) = sender.send_request(request(Method::POST, "/echo"), false)?;
    body.send_data("half".into(), false)?;
    let mut echo = answer.await?.into_body();
    while let Some(piece) = echo.data().await {
        piece?;
    }
    Ok(())
}

async fn large_stream(mut sender: Sender) -> Result<(), h2::Error> {
    let (answer, mut body) = sender.send_request(request(Method::POST, "/echo"), false)?;
    body.send_data(vec![b'x'; 10_241].into(), true)?;
    let mut echo = answer.await?.into_body();
    while let Some(piece) = echo.data().await {
        piece?;
    }
    Ok(())
}

async fn no_room(mut sender: Sender) -> Result<(), h2::Error> {
    let (answer, _) = sender.send_request(request(Method::GET, "/bytes?n=1000000"), true)?;
    let mut unread = answer.await?.into_body();
    while let Some(piece) = unread.data().await {
        piece?;
    }
    Ok(())
}
