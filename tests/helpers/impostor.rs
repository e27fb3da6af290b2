//! A server whose workers say whatever they are asked to, over whatever they hold.
//!
//! `/say/FD/MESSAGE` sends the message over that descriptor, if it is a unix socket.

use std::convert::Infallible;

use clap::Parser;
use hatchery::http::{self, Response};
use hatchery::{Exit, Server, cli};
use nix::sys::socket::{AddressFamily, MsgFlags, SockaddrLike, SockaddrStorage, getsockname, send};

/// A server whose workers are not to be believed.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    server: cli::ServerArgs,
}

fn main() -> Exit {
    let args: Args = cli::parse();
    Server::from_args(args.server)
        .bind("127.0.0.1:8080")
        .run(http::serve_fn(async |request| Ok::<_, Infallible>(answer(request.uri().path()))))
}

fn answer(path: &str) -> Response {
    let Some((fd, message)) = path.strip_prefix("/say/").and_then(|rest| rest.split_once('/')) else {
        return http::text("hello");
    };
    http::text(if say(fd.parse().unwrap_or(-1), message) { "said" } else { "not said" })
}

fn say(fd: i32, message: &str) -> bool {
    let name = getsockname::<SockaddrStorage>(fd);
    name.is_ok_and(|name| name.family() == Some(AddressFamily::Unix))
        && send(fd, message.as_bytes(), MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL).is_ok()
}
