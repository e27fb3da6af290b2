//! The servers that are this program itself, told by its arguments.

use std::process::Command;
use std::thread;

use axum::Router;
use axum::routing::get;
use hatchery_sys::fork::{Fork, fork};
use hatchery_sys::signals::block_all;

use crate::floor;

/// The argument that makes this program a peer.
const PEER: &str = "--peer";

/// The command that starts the floor with forked workers, or axum with threads.
///
/// # Errors
///
/// When this program's own path is not to be had.
pub fn command(peer: &str, workers: u16) -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([PEER, peer, &workers.to_string()]);
    Ok(command)
}

/// Becomes a peer if this process was started as one; to be called first in `main`.
///
/// # Panics
///
/// If it was started as a peer that there is not, or there is nothing to serve on.
pub fn serve_if_asked() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [first, peer, workers] = args.as_slice()
        && first == PEER
    {
        let workers = workers.parse().expect("a number of workers");
        match peer.as_str() {
            "floor" => forked_floor(workers),
            "axum" => threaded_axum(workers),
            other => panic!("there is no peer {other}"),
        }
    }
}

/// Workers that share one listener, and a parent that only waits.
fn forked_floor(workers: u16) {
    let listener = floor::listen();
    for _ in 0..workers {
        let blocked = block_all().expect("blocked signals");
        let forked = fork(&blocked).expect("a process");
        blocked.restore();
        match forked {
            Fork::Parent { child: _ } => {}
            Fork::Child => return floor::accept(listener),
        }
    }
    loop {
        thread::park();
    }
}

/// As axum's own documentation starts a server.
fn threaded_axum(threads: u16) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads.into()).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let router = Router::new().route("/", get(|| async { "Hello, World!" }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        println!("{}", listener.local_addr().expect("an address").port());
        axum::serve(listener, router).await.expect("axum serves for ever");
    });
}
