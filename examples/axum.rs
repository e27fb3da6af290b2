//! An axum router, with state that is loaded once and shared by all workers.
//!
//! Try `cargo run --release --example axum -- --workers 4 --bind 127.0.0.1:3000`,
//! then `curl 127.0.0.1:3000/greet/you`.

use std::collections::BTreeMap;
use std::convert::Infallible;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use clap::Parser;
use hatchery::{Exit, Server, cli, http};

/// Greets whoever asks.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    server: cli::ServerArgs,
}

/// What takes long to load: here it does not.
type Greetings = BTreeMap<&'static str, &'static str>;

fn main() -> Exit {
    let args: Args = cli::parse();
    Server::from_args(args.server)
        // In the master, before the fork: the workers share its memory.
        .preload(|| Ok::<Greetings, Infallible>([("en", "Hello"), ("fr", "Bonjour"), ("de", "Hallo")].into()))
        // In each worker, on its own runtime: here connections to databases are made.
        .run(async |worker, greetings: &'static Greetings| http::Server::new(router(greetings)).serve(worker).await)
}

fn router(greetings: &'static Greetings) -> Router {
    Router::new()
        .route("/", get(|| async { "Hello, World!" }))
        .route("/greet/{name}", get(greet))
        .route("/languages", get(languages))
        .with_state(greetings)
}

async fn greet(State(greetings): State<&'static Greetings>, Path(name): Path<String>) -> Result<String, StatusCode> {
    let greeting = greetings.get("en").ok_or(StatusCode::NOT_FOUND)?;
    Ok(format!("{greeting}, {name}!\n"))
}

async fn languages(State(greetings): State<&'static Greetings>) -> Json<Vec<&'static str>> {
    Json(greetings.keys().copied().collect())
}
