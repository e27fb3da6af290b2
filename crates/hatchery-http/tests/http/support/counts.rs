//! A service with a state of its own for each connection.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, ready};
use std::pin::Pin;

use hatchery_http::{self as http, Client, Handle, PerConnection, Request, Response, Server};
use hyper::service::Service;

/// Counts the requests of a connection.
pub(crate) struct Count {
    requests: Cell<u64>,
    /// Cannot be saved any more.
    stuck: Cell<bool>,
    /// Saves what nobody can restore.
    broken: Cell<bool>,
}

impl Service<Request> for Count {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>>>>;

    fn call(&self, request: Request) -> Self::Future {
        self.requests.set(self.requests.get() + 1);
        match request.uri().path() {
            "/stick" => self.stuck.set(true),
            "/break" => self.broken.set(true),
            "/panic" => return Box::pin(async { panic!("told to") }),
            _ => {}
        }
        Box::pin(ready(Ok(http::text(self.requests.get().to_string()))))
    }
}

fn count(requests: u64) -> Count {
    Count { requests: Cell::new(requests), stuck: Cell::default(), broken: Cell::default() }
}

pub(crate) fn server() -> Server<PerConnection<impl Handle<Seat = ()> + AsRef<Count>>> {
    Server::per_connection(|client: &Client| {
        assert_eq!((client.requests(), client.moves()), (0, 0));
        count(0)
    })
}

pub(crate) fn moving(version: u32) -> Server<PerConnection<impl Handle<Seat = ()>>> {
    Server::per_connection(|_client: &Client| count(0)).restorable(
        "counts",
        version,
        |count: &Count| {
            let saved = if count.broken.get() { Vec::new() } else { count.requests.get().to_be_bytes().to_vec() };
            (!count.stuck.get()).then_some(saved)
        },
        |client: &Client, saved: &[u8]| {
            let requests = u64::from_be_bytes(saved.try_into().ok()?);
            assert_eq!(client.requests(), requests);
            Some(count(requests))
        },
    )
}
