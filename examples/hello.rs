//! HTTP in ten lines.

use std::convert::Infallible;

use hatchery::{Server, http};

fn main() -> hatchery::Exit {
    Server::new()
        .bind("127.0.0.1:8080")
        .run(http::serve_fn(async |_req| Ok::<_, Infallible>(http::text("Hello, World!"))))
}
