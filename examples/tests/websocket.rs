//! A WebSocket across an upgrade, by a client that is not ours.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hatchery_tests::program::example;
use hatchery_tests::{Lab, Program, Start, log};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const PATIENCE: Duration = Duration::from_secs(20);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

fn ready() -> Lab {
    Start::default().program(Program::Link(example("websocket"))).ready()
}

async fn connect(address: &str) -> Socket {
    timeout(PATIENCE, connect_async(format!("ws://{address}/"))).await.expect("in time").expect("a WebSocket").0
}

/// The next message.
async fn next(socket: &mut Socket) -> Message {
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
    lab.signal(nix::sys::signal::Signal::SIGTERM);
    match runtime.block_on(next(&mut socket)) {
        Message::Close(Some(reason)) => assert_eq!(reason.code, CloseCode::Restart),
        other => panic!("{other:?}"),
    }
    drop(socket);
    assert_eq!(lab.end_of(lab.first()), hatchery_tests::End::Code(0));
}
