//! The server that hatchery's tests drive, built on nothing but its public API.
//!
//! It answers over HTTP/1.1 and HTTP/2 on every `--bind`, and counts over a
//! protocol of its own on `--raw`.

mod boot;
mod counter;
mod routes;

use clap::Parser;
use hatchery::http::Request;
use hatchery::{Address, BoxError, Exit, Server, Worker, cli, http};

use boot::Lab;

/// A server to try things on.
#[derive(Debug, Parser)]
struct Args {
    /// Address that counts: each line `add N` is answered with `sum S pid P`
    #[arg(long, value_name = "ADDR")]
    raw: Option<Address>,
    #[command(flatten)]
    server: cli::ServerArgs,
}

fn main() -> Exit {
    let args: Args = cli::parse();
    let server = Server::from_args(args.server).bind("127.0.0.1:8080");
    let server = match &args.raw {
        Some(address) => server.bind_named(counter::LISTENER, address.to_string()),
        None => server,
    };
    let counts = args.raw.is_some();
    server.preload(move || Lab::from_env(counts)).run(run)
}

/// What every worker does.
async fn run(worker: Worker, lab: &'static Lab) -> Result<(), BoxError> {
    lab.boot().await?;
    let routes = {
        let worker = worker.clone();
        http::serve_fn(async move |request: Request| routes::answer(request, &worker, lab).await)
    };
    if !lab.counts {
        return routes(worker, lab).await;
    }
    let counting = counter::serve(worker.only(counter::LISTENER), lab);
    let answering = routes(worker.without(counter::LISTENER), lab);
    tokio::try_join!(counting, answering)?;
    Ok(())
}
