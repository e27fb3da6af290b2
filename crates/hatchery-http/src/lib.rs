//! HTTP over hyper for hatchery's workers, with the limits a server needs.
//!
//! Programs use all of this through `hatchery`: write `use hatchery::http` where
//! an example has `use hatchery_http`.
//!
//! A connection starts *parked*: a socket and a few words. Its first byte makes
//! it *active*, which is when hyper's state and buffers are made; being idle
//! makes it parked again. One sweep over all connections of a worker enforces
//! the limits, so that a request costs no timer. At a drain no request is lost
//! that a client has already sent.
//!
//! Over HTTP/2 limits hold for each stream: one that has had its time, or whose
//! body is too long, is reset with `ENHANCE_YOUR_CALM`, and the others go on.
//!
//! # Connections that move
//!
//! A worker that drains does not close its connections if another process takes
//! them, which can be a worker of the same program, of the next one, or of the one
//! before: they are passed on, and their clients see nothing of it. A worker with
//! clearly more connections than others passes some of those on that are idle.
//!
//! | a connection that | |
//! |---|---|
//! | is idle, or has sent nothing yet, or a part of a request's head | moves at once, with what was read |
//! | has a request in flight | is answered, and moves when the answer is written and the request is read to its end |
//! | has sent requests behind that one | is answered here as far as they were read; the rest is answered there |
//! | has asked for `connection: close`, or whose handler has | is closed behind that answer |
//! | speaks HTTP/1.0 | moves if it asked for keep-alive, and is closed behind its answer if not, or if that has no length |
//! | has a request whose body the handler does not read | is told `connection: close`, unless the rest has come already |
//! | had a handler that panicked | stays |
//! | has more in hand than a message takes, about 190 KiB: a large part of a large head | stays |
//! | has a service with a state that [nobody can restore](Server::restorable), or not now | stays |
//! | speaks HTTP/2 | is told to go, twice, as HTTP/2 has it; streams under way are finished |
//!
//! One that stays is closed politely, as all are when nobody takes them: its next
//! answer says `connection: close`, and it is closed if it asks for nothing more.
//! A handler that keeps a request's body beyond its answer keeps the connection:
//! it moves behind that body, or is closed behind one whose length nobody knows.
//!
//! Limits go on counting: a client that takes its time over a head gets no new
//! time by a move. Only the time between two requests starts again. What an
//! application can see of a move is in [`Client`]; a service that keeps something
//! for each connection is made by [`Server::per_connection`], and goes along if it
//! is [`restorable`](Server::restorable).
//!
//! # Upgrades
//!
//! A handler may take its connection over: WebSocket by way of `axum` or of
//! `hyper::upgrade::on` and any library that speaks it, CONNECT, or a protocol of
//! its own. Any request of an HTTP/1.1 connection that has no body may ask for that.
//! One to whom it is not granted is answered, and its connection closed behind the
//! answer. HTTP/2 knows no upgrades but extended CONNECT, which is not offered: browsers open an
//! HTTP/1.1 connection for a WebSocket then.
//!
//! A connection that was taken over counts as open until whoever has it drops it.
//! It does not move and has no limits: a protocol with silent clients has pings of
//! its own. Its request has a [`DrainSignal`] in its extensions, which tells when the
//! worker drains: then it is time to say goodbye, as with code 1012 of WebSocket
//! (service restart). Shortly before the drain's end, an eighth to a quarter of the
//! drain timeout or 2 s, the socket is shut.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use hatchery_http::{DrainSignal, Request, Response, header, status};
//! use hyper_util::rt::TokioIo;
//! use tokio::io::AsyncWriteExt;
//!
//! async fn clock(mut request: Request) -> Result<Response, Infallible> {
//!     let Some(drain) = request.extensions().get::<DrainSignal>().cloned() else {
//!         return Ok(status(426));
//!     };
//!     tokio::task::spawn_local(async move {
//!         let Ok(upgraded) = hyper::upgrade::on(&mut request).await else { return };
//!         let mut client = TokioIo::new(upgraded);
//!         let _client_gone = tokio::select! {
//!             () = drain.wait() => client.write_all(b"bye\n").await,
//!             ticked = async { loop { client.write_all(b"tick\n").await? } } => ticked,
//!         };
//!     });
//!     let mut response = status(101);
//!     response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("upgrade"));
//!     response.headers_mut().insert(header::UPGRADE, header::HeaderValue::from_static("ticks"));
//!     Ok(response)
//! }
//! # let _ = clock;
//! ```
//!
//! # Where things are
//!
//! * [`Server`], [`serve_fn`]: what an application calls
//! * [`text`], [`html`], [`bytes()`], [`status`], [`redirect`], [`stream`]: answers without a framework
//! * [`Client`], [`PerConnection`]: what is known of a connection, and what is kept for it
//! * `connection`: the states; `departure`, `ending`: how it moves, and how it ends
//! * `parked`, `http1`, `http2`: what the states do; `line`, `io`: the socket as hyper sees it
//! * `http2/frames`, `http2/accounts`, `http2/wire`: what goes by on a connection of HTTP/2, who waits for whom, and
//!   how a stream ends
//! * `proxy`: what comes before a connection that a proxy has made
//! * `upgrade`: a connection that a handler may get
//! * [`AccessLog`]: a line for each request
//! * `guard`, `ahead`, `streams`: around each request
//! * `sweep`, `entry`, `phase`, `clock`, `ticker`, `limits`: how long it may take
//!
//! ```no_run
//! use std::convert::Infallible;
//!
//! use hatchery_http::{self as http, Request};
//!
//! let app = http::serve_fn(async |_request: Request| Ok::<_, Infallible>(http::text("Hello, World!")));
//! # fn takes<A: AsyncFn(hatchery_worker::Worker, &'static ()) -> Result<(), http::BoxError>>(_: A) {}
//! # takes(app);
//! ```
#![forbid(unsafe_code)]

mod access;
mod ahead;
mod body;
mod client;
mod clock;
mod connection;
mod departure;
mod ending;
mod entry;
mod guard;
mod http1;
mod http2;
mod io;
mod limits;
mod line;
mod moment;
mod parked;
mod peek;
mod per_connection;
mod phase;
mod proxy;
mod respond;
mod server;
mod service;
mod sniff;
mod streams;
mod sweep;
mod ticker;
#[cfg(feature = "tls")]
pub mod tls;
mod tls_info;
mod tower;
mod transport;
mod upgrade;

/// What requests and answers are made of, from the crate `http`.
pub use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
pub use hatchery_worker::DrainSignal;
pub use hyper::body::Incoming;

pub use access::{AccessFormat, AccessLog};
pub use body::{Body, BodySender, ClientGone};
pub use client::Client;
pub use limits::Limits;
pub use per_connection::PerConnection;
pub use respond::{bytes, html, redirect, status, stream, text};
pub use server::{Server, serve_fn};
pub use service::{Handle, Hyper, IntoService, Saved, Tower};
pub use tls_info::TlsInfo;

/// What a handler is given: a request whose body is read from the connection.
pub type Request = ::http::Request<Incoming>;

/// What the helpers of this crate make: a response whose body costs nothing
/// when it is empty and no allocation when it is at hand.
pub type Response = ::http::Response<Body>;

/// Any error, ready to be logged.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
