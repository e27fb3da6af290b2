//! What the worker under test serves.

use std::convert::Infallible;
use std::io::Read;
use std::time::Duration;

use hatchery_core::{Generation, ListenMode, Slot};
use hatchery_http::{self as http, Body, BoxError, Request, Response, Server};
use hatchery_net::{Address, Listener, Listeners, Spec};
use hatchery_sys::board::Board;
use hatchery_sys::channel::Channel;
use hatchery_worker::{Limits, Seed, Worker};
use tokio::io::AsyncReadExt;

/// Becomes a worker if this process was started as one.
pub(crate) fn child() {
    let Ok(role) = std::env::var(super::ROLE) else { return };
    let numbers: Vec<u64> = role.split(' ').map(|number| number.parse().unwrap()).collect();
    let millis = |at: usize| Duration::from_millis(numbers[at]);
    let limits = Limits { head: millis(0), body: millis(1), send: millis(2), idle: millis(3), ..Limits::default() };
    let gate = u16::try_from(numbers[4]).unwrap();

    let blocked = hatchery_sys::signals::block_all().unwrap();
    let spec = Spec { name: None, address: "127.0.0.1:0".parse().unwrap() };
    let listener = Listener::bind(&spec, ListenMode::Shared, 1, 1024).unwrap();
    let Address::Tcp(bound) = listener.bound() else { panic!("not TCP") };
    let channel = Channel::from_fd(super::inherited_channel()).unwrap();
    channel.send(&bound.port().to_be_bytes(), &[]).unwrap();
    let seed = Seed {
        slot: Slot(0),
        generation: Generation::FIRST,
        master: hatchery_sys::process::parent(),
        listeners: Listeners::new(vec![listener]),
        channel,
        board: Board::create(1).unwrap(),
        cell: 0,
        limits,
        drain_timeout: super::PATIENCE,
        reopen: Box::new(|| {}),
        blocked,
    };
    let code = hatchery_worker::run(seed, &(), async move |worker: Worker, _preloaded: &'static ()| {
        let routes = worker.clone();
        let service = hyper::service::service_fn(move |request: Request| {
            assert!(request.uri().path() != "/panic-in-call", "told to, in the call");
            route(routes.clone(), gate, request)
        });
        Server::new(service).serve(worker).await.map_err(BoxError::from)
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
        "/panic" => panic!("told to"),
        "/panic-late" => Response::new(Body::stream(Panics)),
        "/endless" => Response::new(Body::stream(Endless)),
        "/large" => http::bytes(vec![b'x'; 32 << 20]),
        path => http::text(path.to_owned()),
    })
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
