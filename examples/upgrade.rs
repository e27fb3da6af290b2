//! Replaces itself while clients keep coming, and prints what to type.

use std::convert::Infallible;
use std::process;

use hatchery::http::Request;
use hatchery::{Exit, Server, Worker, http};

const ADDRESS: &str = "127.0.0.1:8080";

fn main() -> Exit {
    Server::new()
        .bind(ADDRESS)
        .workers(2)
        // Once a generation, in its master: so every new program says this again.
        .preload(|| {
            say_what_to_type();
            Ok::<_, Infallible>(())
        })
        .run(async |worker: Worker, preloaded: &'static ()| {
            let who = format!("generation {}, master {}", worker.generation(), worker.master());
            let answer = async move |_request: Request| Ok::<_, Infallible>(http::text(format!("{who}\n")));
            http::serve_fn(answer)(worker, preloaded).await
        })
}

fn say_what_to_type() {
    let master = process::id();
    eprintln!(
        "\
this is process {master}, a new generation; in another terminal:

    while curl -sS http://{ADDRESS}/; do sleep 0.1; done

and in a third one, as often as you like:

    kill -USR2 {master}     # a new generation takes over, and says its own number here
    kill -HUP {master}      # the workers are replaced one by one
    kill -TERM {master}     # the end
"
    );
}
