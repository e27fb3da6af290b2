//! gRPC with tonic: a unary call, a stream of answers, and the health service, which says
//! that a worker drains.
//!
//! ```text
//! cargo run --example grpc -- --bind 127.0.0.1:50051
//! grpcurl -plaintext -d '{"service": ""}' 127.0.0.1:50051 grpc.health.v1.Health/Check
//! ```
//!
//! What tonic-build would make of a `.proto` file is written by hand here, so that no `protoc` is needed:
//!
//! ```proto
//! package greeter;
//! message Name { string name = 1; }
//! message Greeting { string text = 1; }
//! service Greeter {
//!     rpc Greet(Name) returns (Greeting);
//!     rpc GreetOften(Name) returns (stream Greeting);
//! }
//! ```

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll, ready as poll_ready};
use std::time::Duration;

use clap::Parser;
use futures_util::Stream;
use hatchery::{BoxError, Exit, Server, Worker, cli, http};
use tokio::time::Interval;
use tonic::body::Body;
use tonic::server::{Grpc, ServerStreamingService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_health::ServingStatus;
use tonic_prost::ProstCodec;
use tower_service::Service;

/// How many greetings `GreetOften` sends, and how far apart.
const OFTEN: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    server: cli::ServerArgs,
}

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

fn main() -> Exit {
    let args: Args = cli::parse();
    Server::from_args(args.server).run(async |worker: Worker, _: &'static ()| {
        let (reporter, health) = tonic_health::server::health_reporter();
        let draining = worker.draining();
        tokio::task::spawn_local(async move {
            draining.await;
            reporter.set_service_status("", ServingStatus::NotServing).await;
        });
        http::Server::new(Routes { health }).serve(worker).await.map_err(BoxError::from)
    })
}

/// Which service a request is for, by its path.
#[derive(Clone)]
struct Routes<H> {
    health: H,
}

impl<H> Service<http::Request> for Routes<H>
where
    H: Service<http::Request, Response = ::http::Response<Body>, Error = Infallible, Future: 'static>,
{
    type Response = ::http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>>>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request) -> Self::Future {
        match request.uri().path() {
            "/greeter.Greeter/Greet" => {
                Box::pin(async { Ok(Grpc::new(ProstCodec::default()).unary(Greet, request).await) })
            }
            "/greeter.Greeter/GreetOften" => {
                Box::pin(async { Ok(Grpc::new(ProstCodec::default()).server_streaming(GreetOften, request).await) })
            }
            path if path.starts_with("/grpc.health.v1.Health/") => Box::pin(self.health.call(request)),
            _ => Box::pin(ready(Ok(Status::unimplemented("there is no such method").into_http()))),
        }
    }
}

struct Greet;

impl UnaryService<Name> for Greet {
    type Response = Greeting;
    type Future = Ready<Result<Response<Greeting>, Status>>;

    fn call(&mut self, request: Request<Name>) -> Self::Future {
        let text = format!("Hello, {}!", request.into_inner().name);
        ready(Ok(Response::new(Greeting { text })))
    }
}

struct GreetOften;

impl ServerStreamingService<Name> for GreetOften {
    type Response = Greeting;
    type ResponseStream = Often;
    type Future = Ready<Result<Response<Often>, Status>>;

    fn call(&mut self, request: Request<Name>) -> Self::Future {
        let often = Often { name: request.into_inner().name, sent: 0, interval: tokio::time::interval(PAUSE) };
        ready(Ok(Response::new(often)))
    }
}

/// One greeting after the other. A drain waits for the last one.
struct Often {
    name: String,
    sent: u32,
    interval: Interval,
}

impl Stream for Often {
    type Item = Result<Greeting, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.sent == OFTEN {
            return Poll::Ready(None);
        }
        poll_ready!(self.interval.poll_tick(cx));
        self.sent += 1;
        let text = format!("Hello for the {}. time, {}!", self.sent, self.name);
        Poll::Ready(Some(Ok(Greeting { text })))
    }
}
