//! The HTTP server of one worker.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;

use hatchery_worker::{ServeError, Worker};
use http::Response;
use http_body::Body;
use hyper::server::conn::{http1, http2};

use crate::connection::Connection;
use crate::http2::LocalTasks;
use crate::parked::Parked;
use crate::service::{Handle, IntoService};
use crate::sweep::Hub;
use crate::{BoxError, Limits, Request};

/// Serves HTTP/1.1, and HTTP/2 with prior knowledge on the same port.
///
/// All limits are on by default: they come from the worker's settings, and
/// [`Server::limits`] overrides them.
///
/// ```
/// use std::convert::Infallible;
/// use std::time::Duration;
///
/// use hatchery_http::{BoxError, Limits, Request, Response, Server, text};
/// use hatchery_worker::Worker;
///
/// async fn app(worker: Worker, _preloaded: &'static ()) -> Result<(), BoxError> {
///     let slot = worker.slot();
///     let service = hyper::service::service_fn(move |_request: Request| async move {
///         Ok::<Response, Infallible>(text(format!("worker {slot}\n")))
///     });
///     let limits = Limits::default().idle(Duration::from_secs(10));
///     Ok(Server::new(service).limits(limits).serve(worker).await?)
/// }
/// # let _ = app;
/// ```
#[derive(Debug)]
#[must_use = "a server does nothing until `serve` is awaited"]
pub struct Server<S> {
    service: S,
    limits: Limits,
    peer_in_extensions: bool,
}

impl<S: Handle> Server<S> {
    /// A server that gives every request to `service`.
    pub fn new<Kind>(service: impl IntoService<Kind, Service = S>) -> Self {
        Self { service: service.into_service(), limits: Limits::default(), peer_in_extensions: false }
    }

    /// Overrides the worker's limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Puts the client's [`Peer`](hatchery_worker::Peer) into the extensions of each request; off by default, since it
    /// costs an allocation a request.
    pub fn peer_in_extensions(mut self, on: bool) -> Self {
        self.peer_in_extensions = on;
        self
    }

    /// Serves the worker's listeners until it has drained: until no connection is left.
    ///
    /// A request that panics is answered with 500, if its answer has not begun;
    /// the worker goes on.
    ///
    /// # Errors
    ///
    /// When the worker cannot accept, see [`ServeError`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the worker stops accepting here; open connections go on.
    pub async fn serve(self, worker: Worker) -> Result<(), ServeError> {
        let limits = self.limits.resolve(&worker.limits());
        let server = Rc::new(Shared {
            http1: crate::http1::builder(limits.max_head_size),
            http2: crate::http2::builder(&limits),
            hub: Hub::new(limits, worker.counters()),
            service: self.service,
            peer_in_extensions: self.peer_in_extensions,
        });
        let mut draining = Some(Box::pin(worker.draining()));
        let mut accepting = pin!(worker.accept(|accepted| {
            let connection = Connection::new(&server, Parked::new(accepted));
            tokio::task::spawn_local(connection);
        }));
        poll_fn(|cx| {
            if draining.as_mut().is_some_and(|draining| draining.as_mut().poll(cx).is_ready()) {
                draining = None;
                server.hub.drain();
            }
            accepting.as_mut().poll(cx)
        })
        .await
    }
}

/// Turns a function into an application: what `hatchery::Server::run` takes.
///
/// The handler may capture state and need not be `Send`; its future is not
/// boxed. An error is logged and answered with 500. The handler lives as long as
/// the program.
///
/// ```
/// use std::convert::Infallible;
///
/// use hatchery_http::{BoxError, Request, serve_fn, text};
/// use hatchery_worker::Worker;
///
/// let greeting = String::from("Hello, World!");
/// let app = serve_fn(async move |_request: Request| Ok::<_, Infallible>(text(greeting.clone())));
/// # fn takes(_: impl AsyncFn(Worker, &'static ()) -> Result<(), BoxError>) {}
/// # takes(app);
/// ```
pub fn serve_fn<P, H, B, E>(handler: H) -> impl AsyncFn(Worker, &'static P) -> Result<(), BoxError>
where
    P: 'static,
    H: AsyncFn(Request) -> Result<Response<B>, E> + 'static,
    B: Body<Error: Into<BoxError>> + 'static,
    E: Into<BoxError> + 'static,
{
    // Leaked once, before the fork: a borrow that lasts lets each request's
    // future borrow the handler's state without a box around it.
    let handler: &'static H = Box::leak(Box::new(handler));
    async move |worker: Worker, _preloaded: &'static P| {
        let service = hyper::service::service_fn(move |request: Request| handler(request));
        Server::new(service).serve(worker).await.map_err(BoxError::from)
    }
}

/// What all connections of one server share, with its service.
pub(crate) struct Shared<S> {
    pub(crate) service: S,
    pub(crate) hub: Rc<Hub>,
    pub(crate) http1: http1::Builder,
    pub(crate) http2: http2::Builder<LocalTasks>,
    pub(crate) peer_in_extensions: bool,
}
