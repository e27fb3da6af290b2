//! HTTP/2 with prior knowledge on the same port, by a client that is not ours.

use bytes::Bytes;
use h2::client::SendRequest;
use hatchery_tests::{Lab, Start, log};
use http::{Method, Request, Response};
use nix::sys::signal::Signal;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// A connection; the task ends with it.
async fn connect(lab: &Lab) -> (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
    let stream = TcpStream::connect(lab.address()).await.expect("a connection");
    let (client, connection) = h2::client::handshake(stream).await.expect("a preface");
    (client.ready().await.expect("settings"), tokio::spawn(connection))
}

fn request(method: Method, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("http://lab{path}")).body(()).expect("a request")
}

async fn body(answer: Response<h2::RecvStream>) -> Result<Vec<u8>, h2::Error> {
    let mut stream = answer.into_body();
    let mut whole = Vec::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk?;
        stream.flow_control().release_capacity(chunk.len())?;
        whole.extend_from_slice(&chunk);
    }
    Ok(whole)
}

async fn get(client: &mut SendRequest<Bytes>, path: &str) -> Result<(u16, Vec<u8>), h2::Error> {
    let (answer, _) = client.send_request(request(Method::GET, path), true)?;
    let answer = answer.await?;
    let status = answer.status().as_u16();
    Ok((status, body(answer).await?))
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

#[test]
fn requests_and_bodies() {
    let lab = Start::lab().ready();
    runtime().block_on(async {
        let (mut client, _connection) = connect(&lab).await;
        assert_eq!(get(&mut client, "/").await.expect("an answer"), (200, b"Hello, World!".to_vec()));
        let (status, bytes) = get(&mut client, "/bytes?n=500000").await.expect("an answer");
        assert_eq!((status, bytes.len()), (200, 500_000));

        let (answer, mut upload) = client.send_request(request(Method::POST, "/echo"), false).expect("sent");
        upload.send_data(Bytes::from_static(b"hello "), false).expect("sent");
        upload.send_data(Bytes::from_static(b"again"), true).expect("sent");
        assert_eq!(body(answer.await.expect("an answer")).await.expect("a body"), b"hello again");
    });
    lab.stop();
}

#[test]
fn many_streams_on_one_connection() {
    let lab = Start::lab().ready();
    runtime().block_on(async {
        let (client, _connection) = connect(&lab).await;
        let streams: Vec<_> = (0..50)
            .map(|_| {
                let mut client = client.clone();
                tokio::spawn(async move { get(&mut client, "/sleep?ms=50").await })
            })
            .collect();
        for stream in streams {
            assert_eq!(stream.await.expect("a task").expect("an answer").0, 200);
        }
    });
    lab.stop();
}

#[test]
fn a_panic_costs_its_own_stream() {
    let lab = Start::lab().set("workers", "1").ready();
    let before = lab.ready();
    runtime().block_on(async {
        let (mut client, _connection) = connect(&lab).await;
        assert_eq!(get(&mut client, "/panic").await.expect("an answer").0, 500);
        assert_eq!(get(&mut client, "/").await.expect("an answer").0, 200);
    });
    assert_eq!(lab.ready(), before);
    lab.stop();
}

/// What is open when its worker drains is finished, and the connection is closed by GOAWAY.
fn finishes_what_is_open(operation: Signal, done: log::Line) {
    let lab = Start::lab().set("workers", "1").ready();
    runtime().block_on(async {
        let (client, connection) = connect(&lab).await;
        let mut sender = client.clone();
        let (answer, _) = sender.send_request(request(Method::GET, "/stream?chunks=15&ms=100"), true).expect("sent");
        let answer = answer.await.expect("the answer begins");
        lab.signal(operation);
        assert_eq!(body(answer).await.expect("the whole answer").len(), 15 * 16);
        drop((client, sender));
        connection.await.expect("a task").expect("closed in order");
    });
    lab.end_after(operation, done);
}

#[test]
fn a_reload_finishes_what_is_open() {
    finishes_what_is_open(Signal::SIGHUP, log::RELOAD_DONE);
}

#[test]
fn an_upgrade_finishes_what_is_open() {
    finishes_what_is_open(Signal::SIGUSR2, log::UPGRADE_DONE);
}

#[test]
fn a_stop_finishes_what_is_open() {
    finishes_what_is_open(Signal::SIGTERM, log::STOP_BEGUN);
}

#[test]
fn an_idle_connection_does_not_hold_up_a_stop() {
    let lab = Start::lab().set("drain-timeout", "10m").ready();
    runtime().block_on(async {
        let (mut client, connection) = connect(&lab).await;
        assert_eq!(get(&mut client, "/").await.expect("an answer").0, 200);
        lab.signal(Signal::SIGTERM);
        connection.await.expect("a task").expect("closed in order");
    });
    lab.assert_gone();
}
