//! HTTP over TLS: says what the handshake has agreed on, and serves the same in the clear on `--bind`.
//!
//! ```text
//! openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
//!     -subj /CN=localhost -addext subjectAltName=DNS:localhost -days 30 -keyout key.pem -out cert.pem
//! cargo run --example tls -- --tls-bind 127.0.0.1:8443 --tls-certificate cert.pem --tls-key key.pem
//! curl --cacert cert.pem https://localhost:8443/
//! ```
//!
//! A new certificate is used after `kill -HUP`, and no client notices.

use axum::routing::get;
use axum::{Extension, Router};
use clap::Parser;
use hatchery::http::Client;
use hatchery::{BoxError, Exit, Server, Worker, cli, http};

#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    server: cli::ServerArgs,
}

fn main() -> Exit {
    let args: Args = cli::parse();
    Server::from_args(args.server).run(async |worker: Worker, _: &'static ()| {
        let app = Router::new().route("/", get(about));
        http::Server::new(app).client_in_extensions(true).serve(worker).await.map_err(BoxError::from)
    })
}

/// What the handshake has agreed on.
async fn about(Extension(client): Extension<Client>) -> String {
    let Some(tls) = client.tls() else { return "in the clear\n".to_owned() };
    let name = tls.server_name().unwrap_or("nobody in particular");
    let protocol = tls.protocol().unwrap_or("no protocol");
    let certificates = tls.client_certificates().len();
    format!("{} with {protocol} for {name}, {certificates} client certificates\n", tls.version())
}
