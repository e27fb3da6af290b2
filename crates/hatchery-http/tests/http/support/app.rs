//! What the worker under test serves.

use std::convert::Infallible;
use std::io::Read;
use std::os::fd::AsFd;
use std::time::Duration;

use hatchery_core::{Generation, Slot};
use hatchery_http::{self as http, Body, BoxError, Client, Request, Response, Server};
use hatchery_sys::board::Board;
use hatchery_sys::channel::Channel;
use hatchery_worker::{Limits, Seed, Worker};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Nest, Role, Serves, counts};

/// What `/early` answers with.
pub(crate) fn early() -> Vec<u8> {
    (0..16_u32 << 20).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

/// Becomes a worker if this process was started as one.
pub(crate) fn child() {
    let Ok(role) = std::env::var(super::ROLE) else { return };
    let Role { serves, limits, slot, gate } = Role::decode(&role);
    let millis = Duration::from_millis;
    let granted = Limits {
        head: millis(limits.head),
        body: millis(limits.body),
        send: millis(limits.send),
        idle: millis(limits.idle),
        max_body_size: limits.max_body,
        min_body_rate: u32::try_from(limits.min_rate).unwrap(),
        ..Limits::default()
    };
    let pings = millis(limits.pings);
    let max_head = usize::try_from(limits.max_head).unwrap();

    let blocked = hatchery_sys::signals::block_all().unwrap();
    let channel = Channel::from_fd(std::io::stdin().as_fd().try_clone_to_owned().unwrap()).unwrap();
    let (listeners, relay) = Nest::inherit(&channel);
    let board = Board::create(1).unwrap();
    let seed = Seed {
        slot: Slot(slot),
        generation: Generation::FIRST,
        master: hatchery_sys::process::parent(),
        listeners,
        relay,
        channel,
        board,
        cell: 0,
        secret: None,
        limits: granted,
        quota: None,
        measure: false,
        boot_timeout: super::PATIENCE,
        drain_timeout: super::PATIENCE,
        reopen: Box::new(|_| {}),
        jobs: Vec::new(),
        kept: hatchery_net::Kept::default(),
        sidecar: None,
        blocked,
    };
    let code = hatchery_worker::run(seed, &(), async move |worker: Worker, _preloaded: &'static ()| {
        let limits = http::Limits::default().max_head_size(max_head).pings(pings, pings);
        match serves {
            Serves::Routes => {
                let routes = worker.clone();
                let service = hyper::service::service_fn(move |request: Request| {
                    assert!(request.uri().path() != "/panic-in-call", "told to, in the call");
                    route(routes.clone(), gate, request)
                });
                Server::new(service).limits(limits).client_in_extensions(true).serve(worker).await
            }
            Serves::Counts => counts::server().limits(limits).serve(worker).await,
            Serves::MovingCounts => counts::moving(1).limits(limits).serve(worker).await,
            Serves::NewerCounts => counts::moving(2).limits(limits).serve(worker).await,
        }
        .map_err(BoxError::from)
    });
    hatchery_sys::process::exit_now(code);
}

async fn route(worker: Worker, gate: u16, request: Request) -> Result<Response, Infallible> {
    Ok(match request.uri().path() {
        // Answers when it is let go.
        "/hold" => {
            wait_at(gate).await;
            http::text("held")
        }
        // Asks for the body when it is let go.
        "/hold-and-echo" => {
            wait_at(gate).await;
            Response::new(Body::wrap(request.into_body()))
        }
        "/hold-and-close" => {
            wait_at(gate).await;
            let mut response = http::text("held");
            response.headers_mut().insert("connection", ::http::HeaderValue::from_static("close"));
            response
        }
        "/hold-and-panic" => {
            wait_at(gate).await;
            panic!("told to, when it was let go")
        }
        // Drops the body when it is let go.
        "/hold-and-drop" => {
            wait_at(gate).await;
            drop(request);
            http::text("dropped")
        }
        // Stops the whole event loop until it is let go.
        "/block" => {
            let mut gate = std::net::TcpStream::connect(("127.0.0.1", gate)).unwrap();
            let _closed = gate.read(&mut [0]).unwrap();
            http::text("blocked")
        }
        // Sends a head and a chunk, and the rest when it is let go.
        "/drip" => {
            let (sender, body) = Body::channel(1);
            tokio::task::spawn_local(async move {
                sender.send("first ").await.unwrap();
                wait_at(gate).await;
                sender.send("last").await.unwrap();
            });
            Response::new(body)
        }
        // Knocks when it is called, and again when the worker drains.
        "/draining" => {
            wait_at(gate).await;
            worker.draining().await;
            wait_at(gate).await;
            http::text("draining")
        }
        "/echo" => Response::new(Body::wrap(request.into_body())),
        // Answers at once and reads the body meanwhile; knocks when it has all of it.
        "/early" => {
            tokio::task::spawn_local(async move {
                let mut body = request.into_body();
                // hyper says that it is at its end when the next request begins.
                while !body.is_end_stream() {
                    body.frame().await.unwrap().unwrap();
                }
                wait_at(gate).await;
            });
            http::bytes(early())
        }
        // Echoes what comes, and says goodbye when the worker drains.
        "/upgrade" => upgrade(request, true),
        // Echoes what comes, and never looks up.
        "/upgrade-deaf" => upgrade(request, false),
        // Reads the whole body first.
        "/read" => match request.into_body().collect().await {
            Ok(body) => http::text(body.to_bytes().len().to_string()),
            Err(error) => http::text(format!("{error}")),
        },
        "/empty" => http::status(204),
        // Who answers.
        "/who" => http::text(worker.slot().to_string()),
        // What is known of the connection.
        "/client" => {
            let client: &Client = request.extensions().get().unwrap();
            assert!(matches!(client.peer(), hatchery_worker::Peer::Tcp(address) if address.ip().is_loopback()));
            http::text(format!("{} {} {}", client.requests(), client.moves(), client.age().as_nanos()))
        }
        "/panic" => panic!("told to"),
        "/panic-late" => Response::new(Body::stream(Panics)),
        "/endless" => Response::new(Body::stream(Endless)),
        "/large" => http::bytes(vec![b'x'; 32 << 20]),
        path => http::text(path.to_owned()),
    })
}

/// Takes the connection over, if that is asked for.
fn upgrade(request: Request, listens: bool) -> Response {
    let Some(drain) = request.extensions().get::<http::DrainSignal>().cloned() else {
        return http::status(426);
    };
    tokio::task::spawn_local(async move {
        let mut client = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
        let mut buffer = [0; 1024];
        loop {
            tokio::select! {
                biased;
                read = client.read(&mut buffer) => match read {
                    Ok(read @ 1..) => client.write_all(&buffer[..read]).await.unwrap(),
                    Ok(0) | Err(_) => return,
                },
                () = drain.wait(), if listens => return client.write_all(b"bye").await.unwrap(),
            }
        }
    });
    let mut response = http::status(101);
    response.headers_mut().insert("connection", ::http::HeaderValue::from_static("upgrade"));
    response.headers_mut().insert("upgrade", ::http::HeaderValue::from_static("echo"));
    response
}

async fn wait_at(gate: u16) {
    let mut gate = tokio::net::TcpStream::connect(("127.0.0.1", gate)).await.unwrap();
    let _closed = gate.read(&mut [0]).await.unwrap();
}

/// A body that never ends, and is never waited for.
struct Endless;

impl futures_core::Stream for Endless {
    type Item = Result<&'static [u8], Infallible>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(Some(Ok(&[b'x'; 4096])))
    }
}

/// A body that panics when it is asked for.
struct Panics;

impl futures_core::Stream for Panics {
    type Item = Result<String, Infallible>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        panic!("told to, late")
    }
}
