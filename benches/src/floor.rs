//! hyper and an accept loop, and nothing else: no limits, no drain, no counters.

use std::convert::Infallible;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

/// Serves on a free port of the loopback interface, which is written to standard output, until killed.
///
/// # Panics
///
/// If there is no port or no runtime to be had.
pub fn serve() {
    accept(listen());
}

/// A listener on a free port of the loopback interface, which is written to standard output.
///
/// `TCP_NODELAY` is set on the listener, which saves a system call a connection, as hatchery does.
///
/// # Panics
///
/// If there is no port to be had.
#[must_use]
pub fn listen() -> OwnedFd {
    let listener = hatchery_net::Listener::bind(
        &hatchery_net::Spec { name: None, address: "127.0.0.1:0".parse().expect("an address") },
        hatchery_net::ListenMode::Shared,
        1,
        4096,
    )
    .expect("a free port");
    let hatchery_net::Address::Tcp(bound) = listener.bound() else { unreachable!("bound to TCP") };
    println!("{}", bound.port());
    std::io::stdout().flush().expect("somebody reads the port");
    listener.queues()[0].as_fd().try_clone_to_owned().expect("a descriptor")
}

/// Serves what connects to a listener, until killed.
///
/// # Panics
///
/// If there is no runtime to be had.
pub fn accept(listener: OwnedFd) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
    runtime.expect("a runtime").block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener.into()).expect("a listener");
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            tokio::task::spawn_local(async move {
                let mut http = http1::Builder::new();
                http.header_read_timeout(None);
                let _client_gone = http.serve_connection(TokioIo::new(stream), service_fn(hello)).await;
            });
        }
    });
}

async fn hello(_request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"Hello, World!")));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Ok(response)
}
