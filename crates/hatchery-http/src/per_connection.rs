//! Services that have a state of their own for each connection.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crate::service::{Handle, IntoService, Saved};
use crate::{Client, Request, Server};

/// A service for each connection: what [`Server::per_connection`] serves.
pub struct PerConnection<H> {
    make: Box<dyn Fn(&Client) -> H>,
    keeper: Option<Keeper<H>>,
}

/// How a connection's service gets to another process.
struct Keeper<H> {
    name: String,
    version: u32,
    save: Box<Save<H>>,
    restore: Box<Restore<H>>,
}

type Save<H> = dyn Fn(&H) -> Option<Vec<u8>>;
type Restore<H> = dyn Fn(&Client, &[u8]) -> Option<H>;

impl<H: Handle<Seat = ()>> Server<PerConnection<H>> {
    /// A server that makes a service for each connection, which gets all requests of that connection.
    ///
    /// A service is dropped with its connection. Connections of such a server
    /// are closed politely when their worker drains, since another process
    /// could not know what their services do: see [`restorable`](Self::restorable).
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::convert::Infallible;
    /// use std::rc::Rc;
    ///
    /// use hatchery_http::{Client, Request, Response, Server, text};
    ///
    /// let server = Server::per_connection(|client: &Client| {
    ///     let (peer, count) = (client.peer(), Rc::new(Cell::new(0)));
    ///     hyper::service::service_fn(move |_request: Request| {
    ///         count.set(count.get() + 1);
    ///         let answer = text(format!("request {} from {peer:?}\n", count.get()));
    ///         async { Ok::<Response, Infallible>(answer) }
    ///     })
    /// });
    /// # let _ = server;
    /// ```
    pub fn per_connection<S, Kind>(factory: impl Fn(&Client) -> S + 'static) -> Self
    where
        S: IntoService<Kind, Service = H>,
    {
        let make = Box::new(move |client: &Client| factory(client).into_service());
        Self::of(PerConnection { make, keeper: None })
    }

    /// Lets connections move to other processes, with their services.
    ///
    /// `save` says what a service knows, as up to 128 KiB, and `restore` makes a
    /// service of that in another process, which can be of the next program or of
    /// the one before. `name` says what it is, `version` what the saved bytes look
    /// like: connections move only between processes that serve a listener with
    /// the same of both, so count `version` up when the bytes change.
    ///
    /// `save` is called while no request is in flight, perhaps more than once; the
    /// service is dropped after the last time. If it returns `None`, the connection
    /// stays and is closed politely. If `restore` does, the connection cannot go
    /// on: a request that has come already is answered with 500, and it is closed.
    ///
    /// A name that is empty or has a `/` is an error of [`serve`](Server::serve).
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::convert::Infallible;
    /// use std::future::{Ready, ready};
    ///
    /// use hatchery_http::{Client, Request, Response, Server, text};
    /// use hyper::service::Service;
    ///
    /// /// Counts the requests of one connection.
    /// struct Count(Cell<u64>);
    ///
    /// impl Service<Request> for Count {
    ///     type Response = Response;
    ///     type Error = Infallible;
    ///     type Future = Ready<Result<Response, Infallible>>;
    ///
    ///     fn call(&self, _request: Request) -> Self::Future {
    ///         self.0.set(self.0.get() + 1);
    ///         ready(Ok(text(format!("{}\n", self.0.get()))))
    ///     }
    /// }
    ///
    /// let server = Server::per_connection(|_client: &Client| Count(Cell::new(0))).restorable(
    ///     "count",
    ///     1,
    ///     |count: &Count| Some(count.0.get().to_be_bytes().to_vec()),
    ///     |_client, saved| Some(Count(Cell::new(u64::from_be_bytes(saved.try_into().ok()?)))),
    /// );
    /// # let _ = server;
    /// ```
    pub fn restorable<S, Kind>(
        mut self,
        name: &str,
        version: u32,
        save: impl Fn(&S) -> Option<Vec<u8>> + 'static,
        restore: impl Fn(&Client, &[u8]) -> Option<S> + 'static,
    ) -> Self
    where
        S: IntoService<Kind, Service = H>,
        H: AsRef<S>,
    {
        self.service.keeper = Some(Keeper {
            name: name.to_owned(),
            version,
            save: Box::new(move |service: &H| save(service.as_ref())),
            restore: Box::new(move |client: &Client, saved: &[u8]| restore(client, saved).map(S::into_service)),
        });
        self
    }
}

impl<H: Handle<Seat = ()>> Handle for PerConnection<H> {
    type Body = H::Body;
    type Error = H::Error;
    type Future = H::Future;
    type Seat = Rc<H>;

    fn carries(&self) -> Option<(&str, u32)> {
        self.keeper.as_ref().map(|keeper| (keeper.name.as_str(), keeper.version))
    }

    fn seat(&self, client: impl FnOnce() -> Client, saved: Option<Vec<u8>>) -> Option<Rc<H>> {
        let client = client();
        caught(|| match (saved, &self.keeper) {
            (Some(saved), Some(keeper)) => (keeper.restore)(&client, &saved),
            (Some(_), None) | (None, _) => Some((self.make)(&client)),
        })
        .map(Rc::new)
    }

    fn save(&self, seat: &Rc<H>) -> Saved {
        match self.keeper.as_ref().and_then(|keeper| caught(|| (keeper.save)(seat))) {
            Some(state) => Saved::State(state),
            None => Saved::NotNow,
        }
    }

    fn handle(&self, seat: &Rc<H>, request: Request) -> H::Future {
        seat.handle(&(), request)
    }
}

/// A panic of the application costs one connection: what it leaves behind half-done is never looked at again.
fn caught<T>(call: impl FnOnce() -> Option<T>) -> Option<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_panic| {
        tracing::error!("what makes, saves or restores a connection's service panicked; the worker goes on");
        None
    })
}

impl<H> fmt::Debug for PerConnection<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let carries = self.keeper.as_ref().map(|keeper| (&keeper.name, keeper.version));
        f.debug_struct("PerConnection").field("carries", &carries).finish_non_exhaustive()
    }
}
