//! A WebSocket, served by axum, whose clients come back after an upgrade without having lost a message.
//!
//! Try `cargo run --release --example websocket -- --bind 127.0.0.1:3000`, then
//! `websocat ws://127.0.0.1:3000/`, type, and send the master a SIGUSR2.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use clap::Parser;
use hatchery::http::DrainSignal;
use hatchery::{Exit, Server, cli, http};

/// Says who has answered each message.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    server: cli::ServerArgs,
}

/// A quiet client is asked so often whether it is still there: no limit of the server ends a WebSocket.
const PINGS: Duration = Duration::from_secs(30);

fn main() -> Exit {
    let args: Args = cli::parse();
    Server::from_args(args.server).run(async |worker, _preloaded: &'static ()| {
        let generation = worker.generation().0;
        // The signal is in the extensions of every request that asks for an upgrade.
        let upgrade = async move |ws: WebSocketUpgrade, Extension(drain): Extension<DrainSignal>| -> Response {
            ws.on_upgrade(move |socket| talk(socket, drain, generation))
        };
        http::Server::new(Router::new().route("/", get(upgrade))).serve(worker).await
    })
}

async fn talk(mut socket: WebSocket, drain: DrainSignal, generation: u32) {
    let mut pings = tokio::time::interval(PINGS);
    let mut heard = true;
    loop {
        tokio::select! {
            // First of all: what comes after the goodbye is not answered, and so not done.
            biased;
            () = drain.wait() => return part(socket).await,
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => {
                    if socket.send(Message::text(format!("{generation} {text}"))).await.is_err() {
                        return;
                    }
                }
                // A ping is answered by the library.
                Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
            _ = pings.tick() => {
                if !std::mem::take(&mut heard) || socket.send(Message::Ping("".into())).await.is_err() {
                    return;
                }
                continue;
            }
        }
        heard = true;
    }
}

/// Says that the service restarts: a client that hears it comes back, and says again what was not answered.
async fn part(mut socket: WebSocket) {
    let reason = CloseFrame { code: close_code::RESTART, reason: "a new program takes over".into() };
    if socket.send(Message::Close(Some(reason))).await.is_ok() {
        // Until the client has closed as well, or the worker's time is over.
        while let Some(Ok(_unanswered)) = socket.recv().await {}
    }
}
