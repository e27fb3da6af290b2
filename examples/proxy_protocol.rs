//! Tells clients behind a proxy who they are, by the PROXY protocol.
//!
//! Try `cargo run --release --example proxy_protocol -- --bind 127.0.0.1:3000
//! --proxy-protocol-from 127.0.0.1 --access-log on`, then
//! `curl --haproxy-protocol 127.0.0.1:3000`. In haproxy it is `server one
//! 127.0.0.1:3000 send-proxy-v2`, in nginx' stream module `proxy_protocol on`.

use std::convert::Infallible;

use clap::Parser;
use hatchery::http::{self as http, Client, Request, Response};
use hatchery::{Exit, Peer, Server, cli};

/// Tells who asks.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    server: cli::ServerArgs,
}

fn main() -> Exit {
    let args: Args = cli::parse();
    Server::from_args(args.server).run(async |worker, _preloaded: &'static ()| {
        let service = hyper::service::service_fn(async |request: Request| Ok::<_, Infallible>(who(&request)));
        http::Server::new(service).client_in_extensions(true).serve(worker).await
    })
}

fn who(request: &Request) -> Response {
    let Some(client) = request.extensions().get::<Client>() else { return http::status(500) };
    http::text(match (client.real_peer(), client.peer()) {
        (Some(real), _) => format!("you are {real}, behind a proxy\n"),
        (None, Peer::Tcp(peer)) => format!("you are {peer}\n"),
        (None, Peer::Unix) => "you are on this machine\n".to_owned(),
    })
}
