//! HTTP over hyper for hatchery's workers, with the limits a server needs.
//!
//! A connection starts *parked*: a socket and a few words. Its first byte makes
//! it *active*, which is when hyper's state and buffers are made; being idle
//! makes it parked again. One sweep over all connections of a worker enforces
//! the limits, so that a request costs no timer. At a drain no request is lost
//! that a client has already sent.
//!
//! Two things are not there. Protocol upgrades: a connection that may be taken
//! back from hyper at any time cannot be given away by it. And on HTTP/2 the
//! limit for request bodies: hyper does not tell whether a stream waits for its
//! client, so what bounds such a client is the number of its streams, and the
//! pings that it has to answer.
//!
//! * [`Server`], [`serve_fn`]: what an application calls
//! * [`text`], [`html`], [`bytes()`], [`status`], [`redirect`], [`stream`]: answers without a framework
//! * `connection`: the states; `parked`, `http1`, `http2`: what they do; `io`: the socket as hyper sees it
//! * `guard`, `streams`: around each request; `sweep`, `ticker`, `limits`: how long it may take
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
mod respond;
mod server;
mod service;
mod sniff;
mod streams;
mod sweep;
mod ticker;
mod tower;

pub use hyper::body::Incoming;

pub use body::{Body, BodySender, ClientGone};
pub use client::Client;
pub use limits::Limits;
pub use per_connection::PerConnection;
pub use respond::{bytes, html, redirect, status, stream, text};
pub use server::{Server, serve_fn};
pub use service::{Handle, Hyper, IntoService, Saved, Tower};

/// What a handler is given: a request whose body is read from the connection.
pub type Request = ::http::Request<Incoming>;

/// What the helpers of this crate make: a response whose body costs nothing
/// when it is empty and no allocation when it is at hand.
pub type Response = ::http::Response<Body>;

/// Any error, ready to be logged.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
