//! Server-Sent Events that go on where they were after an upgrade.
//!
//! Try `cargo run --release --example sse -- --bind 127.0.0.1:3000`, then
//! `curl -N 127.0.0.1:3000/`, or an `EventSource` in a browser, which comes back
//! by itself and says which event it has seen last.

use std::convert::Infallible;
use std::time::Duration;

use clap::Parser;
use hatchery::http::{self as http, Body, BodySender, DrainSignal, HeaderValue, Request, Response, header};
use hatchery::{Exit, Server, cli};

/// Counts, an event a number.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    server: cli::ServerArgs,
}

/// Between two events.
const PACE: Duration = Duration::from_millis(20);

fn main() -> Exit {
    let args: Args = cli::parse();
    Server::from_args(args.server).run(async |worker, preloaded: &'static ()| {
        let (drain, generation) = (worker.drain_signal(), worker.generation().0);
        let answer = async move |request: Request| Ok::<_, Infallible>(events(&request, &drain, generation));
        http::serve_fn(answer)(worker, preloaded).await
    })
}

fn events(request: &Request, drain: &DrainSignal, generation: u32) -> Response {
    let last = request.headers().get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let (sender, body) = Body::channel(1);
    tokio::task::spawn_local(count(sender, drain.clone(), generation, last.map_or(0, |last: u64| last + 1)));
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Ends behind a whole event when the client has gone, or when the worker drains: the answer ends as an answer does,
/// and the client asks again, on the same connection if it moves.
async fn count(sender: BodySender, drain: DrainSignal, generation: u32, first: u64) {
    // How soon a client comes back; without it browsers wait for seconds.
    if sender.send("retry: 100\n\n").await.is_err() {
        return;
    }
    for number in first.. {
        let event = format!("id: {number}\ndata: {number} by generation {generation}\n\n");
        if sender.send(event).await.is_err() {
            return;
        }
        tokio::select! {
            () = drain.wait() => return,
            () = tokio::time::sleep(PACE) => {}
        }
    }
}
