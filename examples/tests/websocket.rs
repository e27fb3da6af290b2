//! A WebSocket across an upgrade, by a client that is not ours.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hatchery_tests::certificates::authority;
use hatchery_tests::program::example;
use hatchery_tests::{Lab, Program, Start, log};
use nix::sys::signal::Signal;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async, connect_async};

const PATIENCE: Duration = Duration::from_secs(60);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

fn ready() -> Lab {
    Start::default().program(Program::Link(example("websocket"))).ready()
}

async fn connect(address: &str) -> Socket {
    timeout(PATIENCE, connect_async(format!("ws://{address}/"))).await.expect("in time").expect("a WebSocket").0
}

/// Over TLS, with a handshake for `localhost`.
async fn connect_tls(address: &str) -> WebSocketStream<TlsStream<TcpStream>> {
    let connect = async {
        let stream = TcpStream::connect(address).await.expect("a connection");
        let name = "localhost".try_into().expect("a name");
        let tls = TlsConnector::from(authority().client(&["http/1.1"], None)).connect(name, stream).await;
        client_async("wss://localhost/", tls.expect("a handshake")).await.expect("a WebSocket").0
    };
    timeout(PATIENCE, connect).await.expect("in time")
}

/// The next message.
async fn next<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) -> Message {
    loop {
        match timeout(PATIENCE, socket.next()).await.expect("in time").expect("a message").expect("no error") {
            Message::Ping(_) | Message::Pong(_) => {}
            message => return message,
        }
    }
}

/// Says numbers until one is answered by this generation. Returns how many, and how often it had to come back.
async fn count(address: &str, until: &str) -> (u32, u32) {
    let (mut socket, mut said, mut returns) = (connect(address).await, 0, 0);
    loop {
        socket.send(Message::text(said.to_string())).await.expect("sent");
        match next(&mut socket).await {
            Message::Text(answer) => {
                let (generation, number) = answer.split_once(' ').expect("a generation and a number");
                assert_eq!(number, said.to_string(), "each message is answered once, in its turn");
                said += 1;
                if generation == until {
                    return (said, returns);
                }
            }
            Message::Close(reason) => {
                let reason = reason.expect("a reason");
                assert_eq!(reason.code, CloseCode::Restart, "{reason}");
                // The answer to it is sent by the library, and then the server closes.
                assert!(timeout(PATIENCE, socket.next()).await.expect("in time").is_none());
                socket = connect(address).await;
                returns += 1;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_upgrade_sends_clients_to_the_new_generation_and_loses_no_message() {
    let lab = ready();
    let address = lab.address().to_owned();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let address = address.clone();
            runtime.spawn(async move { count(&address, "2").await })
        })
        .collect();
    // Quiet ones hear of it as well.
    let quiet = runtime.spawn({
        let address = address.clone();
        async move {
            let mut socket = connect(&address).await;
            let last = next(&mut socket).await;
            // The answer to it is sent by the library.
            assert!(timeout(PATIENCE, socket.next()).await.expect("in time").is_none());
            last
        }
    });
    lab.until("all are there", || lab.connections(&address) >= 9);
    lab.upgrade();
    for client in clients {
        let (said, returns) = runtime.block_on(client).expect("no panic");
        assert!(said > 0 && returns == 1, "{said} said, {returns} times back");
    }
    match runtime.block_on(quiet).expect("no panic") {
        Message::Close(Some(reason)) => assert_eq!(reason.code, CloseCode::Restart),
        other => panic!("{other:?}"),
    }
    let predecessor = lab.first();
    lab.until("the predecessor has gone", || lab.has_ended(predecessor));
    assert_eq!(log::DRAIN_TIMEOUT.count(&lab.log()), 0, "nobody had to be killed");
    lab.stop();
}

#[test]
fn a_stop_says_goodbye_as_well() {
    let lab = ready();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut socket = runtime.block_on(connect(lab.address()));
    lab.signal(Signal::SIGTERM);
    match runtime.block_on(next(&mut socket)) {
        Message::Close(Some(reason)) => assert_eq!(reason.code, CloseCode::Restart),
        other => panic!("{other:?}"),
    }
    drop(socket);
    assert_eq!(lab.end_of(lab.first()), hatchery_tests::End::Code(0));
}

#[test]
fn over_tls_messages_come_and_go_and_each_operation_says_goodbye() {
    let start = Start::default().program(Program::Link(example("websocket")));
    let (certificate, key) = authority().issue(&["localhost"]).write(start.path("").as_path(), "server");
    let lab = start
        .set("tls-bind", "127.0.0.1:0")
        .set("tls-certificate", &certificate.display().to_string())
        .set("tls-key", &key.display().to_string())
        .ready();
    let address = lab.addresses()[1].clone();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        for operation in [Signal::SIGHUP, Signal::SIGUSR2, Signal::SIGTERM] {
            let old = lab.workers();
            let mut socket = connect_tls(&address).await;
            // Several records, and many in one.
            for text in ["", "a few words", &"x".repeat(100_000)] {
                socket.send(Message::text(text)).await.expect("sent");
            }
            for text in ["", "a few words", &"x".repeat(100_000)] {
                let Message::Text(answer) = next(&mut socket).await else { panic!("no text") };
                assert_eq!(answer.split_once(' ').expect("a generation").1, text, "{operation}");
            }
            lab.signal(operation);
            match next(&mut socket).await {
                Message::Close(Some(reason)) => assert_eq!(reason.code, CloseCode::Restart, "{operation}"),
                other => panic!("{operation}: {other:?}"),
            }
            // The answer to it is sent by the library, and then the server ends TLS as well, without a reset.
            assert!(timeout(PATIENCE, socket.next()).await.expect("in time").is_none(), "{operation}");
            // An old worker may accept until it has heard of it.
            lab.until("the old workers are gone", || lab.workers().is_disjoint(&old));
        }
    });
    lab.assert_gone();
}
