//! The layers of tower-http around an axum router: traces, compression, timeouts, CORS.
//!
//! Try `cargo run --release --example tower_http -- --bind 127.0.0.1:3000`, then
//! `curl --compressed -i 127.0.0.1:3000/poem` and `curl -i 127.0.0.1:3000/slow`.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use clap::Parser;
use hatchery::{Exit, Server, cli, http};
use tower_http::compression::CompressionLayer;
use tower_http::cors::CorsLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

/// Answers a little slower than it should, and smaller.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    server: cli::ServerArgs,
}

fn main() -> Exit {
    let args: Args = cli::parse();
    Server::from_args(args.server)
        .run(async |worker, _preloaded: &'static ()| http::Server::new(router()).serve(worker).await)
}

/// The last layer is the outermost one: it sees a request first and its answer last.
fn router() -> Router {
    Router::new()
        .route("/poem", get(|| async { "a line that is repeated\n".repeat(1000) }))
        .route("/slow", get(std::future::pending::<()>))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, Duration::from_millis(500)))
        .layer(CompressionLayer::new())
        .layer(CorsLayer::permissive())
        .layer(TraceLayer::new_for_http())
}
