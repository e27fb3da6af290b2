//! gRPC by tonic's client, over two kinds of connections, while the server is replaced.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hatchery_tests::program::{Program, example};
use hatchery_tests::{Start, log};
use http::Uri;
use http::uri::PathAndQuery;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use nix::sys::signal::Signal;
use tokio::runtime::Builder;
use tonic::Status;
use tonic::body::Body;
use tonic::client::{Grpc, GrpcService};
use tonic::codegen::{Body as AnyBody, StdError};
use tonic::transport::Endpoint;
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, prost::Message)]
struct Name {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Greeting {
    #[prost(string, tag = "1")]
    text: String,
}

/// What calls have come to so far.
#[derive(Debug, Default)]
struct Tally {
    calls: AtomicU64,
    streams: AtomicU64,
    /// Those that were never sent, and are made again.
    again: AtomicU64,
}

/// `SERVING`, as `grpc.health.v1` has it.
const SERVING: i32 = 1;

#[derive(Clone, PartialEq, prost::Message)]
struct Health {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// What tonic's client makes its calls over.
trait Transport: GrpcService<Body, ResponseBody = Self::Answer, Future: Send> + Clone + Send + Sync + 'static {
    type Answer: AnyBody<Data = bytes::Bytes, Error: Into<StdError>> + Send + 'static;
}

impl<T, B> Transport for T
where
    T: GrpcService<Body, ResponseBody = B, Future: Send> + Clone + Send + Sync + 'static,
    B: AnyBody<Data = bytes::Bytes, Error: Into<StdError>> + Send + 'static,
{
    type Answer = B;
}

async fn ready<T: Transport>(transport: &T, origin: &Uri) -> Result<Grpc<T>, Status> {
    let mut grpc = Grpc::with_origin(transport.clone(), origin.clone());
    grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
    Ok(grpc)
}

async fn unary<T, A, B>(transport: &T, origin: &Uri, path: &'static str, message: A) -> Result<B, Status>
where
    T: Transport,
    A: prost::Message + 'static,
    B: prost::Message + Default + 'static,
{
    let mut grpc = ready(transport, origin).await?;
    let codec = ProstCodec::<A, B>::default();
    let answer = grpc.unary(tonic::Request::new(message), PathAndQuery::from_static(path), codec).await?;
    Ok(answer.into_inner())
}

fn name() -> Name {
    Name { name: "you".to_owned() }
}

async fn greet<T: Transport>(transport: &T, origin: &Uri) -> Result<(), Status> {
    let greeting: Greeting = unary(transport, origin, "/greeter.Greeter/Greet", name()).await?;
    assert_eq!(greeting.text, "Hello, you!");
    Ok(())
}

async fn greet_often<T: Transport>(transport: &T, origin: &Uri) -> Result<(), Status> {
    let mut grpc = ready(transport, origin).await?;
    let codec = ProstCodec::<Name, Greeting>::default();
    let path = PathAndQuery::from_static("/greeter.Greeter/GreetOften");
    let mut stream = grpc.server_streaming(tonic::Request::new(name()), path, codec).await?.into_inner();
    let mut count = 0;
    while stream.message().await?.is_some() {
        count += 1;
    }
    assert_eq!(count, 20, "a stream was cut off");
    Ok(())
}

/// Whether the client has given a call back that it had not sent: hyper alone cancels, and only such ones.
fn never_sent(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Calls and streams by a client that makes calls again that were never sent, if it is told so.
fn go_on<T: Transport>(connect: impl FnOnce(&Uri) -> T, again: fn(&Status) -> bool) {
    let lab = Start::lab().program(Program::Link(example("grpc"))).ready();
    // One thread for all: a GOAWAY does not arrive while hyper hands a request to h2.
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let origin: Uri = format!("http://{}", lab.address()).parse().expect("an address");
    let transport = connect(&origin);
    let health = unary(&transport, &origin, "/grpc.health.v1.Health/Check", Name::default());
    let health: Health = runtime.block_on(health).expect("it is healthy");
    assert_eq!(health.status, SERVING);

    let tally = Arc::new(Tally::default());
    let calls = runtime.spawn({
        let (transport, origin, tally) = (transport.clone(), origin.clone(), Arc::clone(&tally));
        async move {
            loop {
                match greet(&transport, &origin).await {
                    Ok(()) => tally.calls.fetch_add(1, Ordering::Relaxed),
                    Err(status) if again(&status) => tally.again.fetch_add(1, Ordering::Relaxed),
                    Err(status) => return status,
                };
            }
        }
    });
    let streams = runtime.spawn({
        let tally = Arc::clone(&tally);
        async move {
            loop {
                match greet_often(&transport, &origin).await {
                    Ok(()) => tally.streams.fetch_add(1, Ordering::Relaxed),
                    Err(status) if again(&status) => tally.again.fetch_add(1, Ordering::Relaxed),
                    Err(status) => return status,
                };
            }
        }
    });
    let more = || {
        let before = (tally.calls.load(Ordering::Relaxed), tally.streams.load(Ordering::Relaxed));
        lab.until("calls and streams go on, or one fails", || {
            calls.is_finished()
                || streams.is_finished()
                || tally.calls.load(Ordering::Relaxed) > before.0 + 100
                    && tally.streams.load(Ordering::Relaxed) > before.1
        });
    };
    for count in 1..=2 {
        more();
        lab.upgrade();
        more();
        lab.signal(Signal::SIGHUP);
        lab.until_logged(log::RELOAD_DONE, count);
    }
    more();
    for task in [&calls, &streams] {
        task.abort();
    }
    for task in [calls, streams] {
        let ended = runtime.block_on(task);
        assert!(ended.as_ref().is_err_and(tokio::task::JoinError::is_cancelled), "{ended:?}");
    }
    // Each of the four replacements closes one connection, under two clients.
    let again = tally.again.load(Ordering::Relaxed);
    assert!(again <= 8, "{again} calls were given back");
    lab.stop();
}

#[test]
fn calls_and_streams_go_on_through_reloads_and_upgrades() {
    let pool = |_: &Uri| {
        let mut connector = HttpConnector::new();
        // As tonic's own: a call is two small writes, and the second would wait 40 ms for an ACK.
        connector.set_nodelay(true);
        legacy::Client::builder(TokioExecutor::new()).http2_only(true).build::<_, Body>(connector)
    };
    go_on(pool, |_| false);
}

#[test]
fn a_tonic_channel_fails_only_calls_that_it_has_not_sent() {
    go_on(|origin| Endpoint::from(origin.clone()).connect_lazy(), never_sent);
}
