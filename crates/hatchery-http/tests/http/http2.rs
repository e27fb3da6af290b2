//! HTTP/2 with prior knowledge, on the same port.

use std::future::Future;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;

use crate::support::{Client, Limits, PATIENCE, Waiting, Worker};

/// Tasks of this thread.
#[derive(Clone)]
struct Local;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default()).unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("the test takes too long") });
}

async fn connect(client: &Client) -> SendRequest<Empty<Bytes>> {
    connect_until_closed(client).await.0
}

/// With a task that ends when the connection does.
async fn connect_until_closed(client: &Client) -> (SendRequest<Empty<Bytes>>, JoinHandle<hyper::Result<()>>) {
    let stream = client.stream().try_clone().unwrap();
    stream.set_nonblocking(true).unwrap();
    let io = TokioIo::new(tokio::net::TcpStream::from_std(stream).unwrap());
    let (sender, connection) = http2::handshake(Local, io).await.unwrap();
    (sender, tokio::task::spawn_local(connection))
}

fn get(
    sender: &mut SendRequest<Empty<Bytes>>,
    path: &str,
) -> impl Future<Output = hyper::Result<Response<Incoming>>> + use<> {
    sender.send_request(Request::get(format!("http://a{path}")).body(Empty::new()).unwrap())
}

/// Waits at the gate without keeping the client's own tasks from running.
async fn entered(worker: &Worker) -> Waiting {
    loop {
        if let Some(waiting) = worker.gate.look() {
            return waiting;
        }
        tokio::task::yield_now().await;
    }
}

async fn text(response: Response<Incoming>) -> Result<String, hyper::Error> {
    Ok(String::from_utf8(response.into_body().collect().await?.to_bytes().to_vec()).unwrap())
}

#[test]
fn many_requests_share_a_connection() {
    let worker = Worker::start();
    let client = worker.connect();
    run(async {
        let mut sender = connect(&client).await;
        let answers: Vec<_> = (0..20).map(|n| get(&mut sender, &format!("/{n}"))).collect();
        for (n, answer) in answers.into_iter().enumerate() {
            assert_eq!(text(answer.await.unwrap()).await.unwrap(), format!("/{n}"));
        }
    });
}

#[test]
fn a_panic_costs_its_own_stream_only() {
    let worker = Worker::start();
    let client = worker.connect();
    run(async {
        let mut sender = connect(&client).await;
        let other = get(&mut sender, "/hold");
        assert_eq!(get(&mut sender, "/panic").await.unwrap().status(), 500);
        assert_eq!(get(&mut sender, "/panic-in-call").await.unwrap().status(), 500);
        let late = get(&mut sender, "/panic-late").await.unwrap();
        assert!(text(late).await.is_err());
        drop(entered(&worker).await);
        assert_eq!(text(other.await.unwrap()).await.unwrap(), "held");
    });
}

#[test]
fn a_drain_finishes_the_streams_and_closes() {
    let mut worker = Worker::start();
    let client = worker.connect();
    run(async {
        let (mut sender, closed) = connect_until_closed(&client).await;
        let held = get(&mut sender, "/hold");
        let gate = entered(&worker).await;
        worker.drain_and_see();
        drop(gate);
        assert_eq!(text(held.await.unwrap()).await.unwrap(), "held");
        // GOAWAY, and then the end.
        closed.await.unwrap().unwrap();
    });
    drop(client);
    worker.ends();
}

#[test]
fn an_idle_connection_does_not_hold_a_drain_up() {
    let mut worker = Worker::start();
    let client = worker.connect();
    run(async {
        let (mut sender, closed) = connect_until_closed(&client).await;
        assert_eq!(text(get(&mut sender, "/one").await.unwrap()).await.unwrap(), "/one");
        worker.drain();
        closed.await.unwrap().unwrap();
    });
    worker.ends();
}

#[test]
fn an_idle_connection_is_told_to_go() {
    let worker = Worker::with_limits(Limits { idle: 200, ..Limits::default() });
    let client = worker.connect();
    run(async {
        let (mut sender, closed) = connect_until_closed(&client).await;
        assert_eq!(text(get(&mut sender, "/one").await.unwrap()).await.unwrap(), "/one");
        closed.await.unwrap().unwrap();
    });
}

#[test]
fn a_handler_may_take_its_time() {
    let worker = Worker::with_limits(Limits { head: 100, body: 100, send: 100, idle: 100, ..Limits::default() });
    let client = worker.connect();
    run(async {
        let mut sender = connect(&client).await;
        let held = get(&mut sender, "/hold");
        let waiting = entered(&worker).await;
        // Outlived by connections that are limited.
        for _ in 0..5 {
            assert_eq!(worker.connect().rest(), "");
        }
        drop(waiting);
        assert_eq!(text(held.await.unwrap()).await.unwrap(), "held");
    });
}
