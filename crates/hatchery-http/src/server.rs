//! The HTTP server of one worker.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use hatchery_worker::{Accepted, Counter, ServeError, Worker};
use http::Response;
use http_body::Body;
use hyper::server::conn::{http1, http2};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::Instant;

use crate::connection::Connection;
use crate::http2::LocalTasks;
use crate::parked::{Arrival, Parked};
use crate::service::{Handle, IntoService};
use crate::sweep::Hub;
use crate::{AccessLog, BoxError, Client, Limits, Request, proxy};

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
    pub(crate) service: S,
    limits: Limits,
    peer_in_extensions: bool,
    client_in_extensions: bool,
}

impl<S: Handle> Server<S> {
    /// A server that gives every request to `service`.
    ///
    /// For a service with a state of its own for each connection see
    /// [`per_connection`](Server::per_connection).
    pub fn new<Kind>(service: impl IntoService<Kind, Service = S>) -> Self {
        Self::of(service.into_service())
    }

    pub(crate) fn of(service: S) -> Self {
        Self { service, limits: Limits::default(), peer_in_extensions: false, client_in_extensions: false }
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

    /// Puts the [`Client`] into the extensions of each request: the peer, and what the connection has been through in
    /// other workers; off by default, since it costs an allocation a request.
    pub fn client_in_extensions(mut self, on: bool) -> Self {
        self.client_in_extensions = on;
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
        let worker = match self.service.carries() {
            Some((name, version)) => worker.carrying(name, version),
            None => worker,
        };
        let server = Rc::new(Shared {
            http1: crate::http1::builder(limits.max_head_size),
            // The same head once more, a blank longer here and there.
            upgrades: crate::http1::builder(limits.max_head_size.saturating_mul(2)),
            http2: crate::http2::builder(&limits),
            hub: Hub::new(limits, worker.counters(), worker.ledger()),
            service: self.service,
            introduce: introduction(self.peer_in_extensions, self.client_in_extensions),
            access: AccessLog::installed(),
            worker: worker.clone(),
            #[cfg(feature = "tls")]
            tls: worker.secret().and_then(|secret| secret.downcast_ref::<crate::tls::Material>().cloned()),
        });
        // Whoever has no TLS cannot say that it speaks it.
        #[cfg(feature = "tls")]
        let worker = worker.speaking_tls();
        let _shedding = Shedding(spawn_local(shed(worker.clone(), Rc::clone(&server.hub))).abort_handle());
        let mut draining = Some(Box::pin(worker.draining()));
        let mut accepting = pin!(worker.accept(|accepted| server.arrived(accepted)));
        poll_fn(|cx| {
            if draining.as_mut().is_some_and(|draining| draining.as_mut().poll(cx).is_ready()) {
                draining = None;
                let deadline = server.worker.deadline();
                server.hub.drain(deadline.map_or(Duration::MAX, |deadline| deadline.duration_since(Instant::now())));
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
    pub(crate) upgrades: http1::Builder,
    pub(crate) http2: http2::Builder<LocalTasks>,
    pub(crate) introduce: Option<Introduce>,
    pub(crate) access: Option<&'static AccessLog>,
    pub(crate) worker: Worker,
    #[cfg(feature = "tls")]
    tls: Option<crate::tls::Material>,
}

/// Tells a request about its client.
pub(crate) type Introduce = fn(&mut Request, Client);

/// One look at one value a request, however much there is to be told.
fn introduction(peer: bool, client: bool) -> Option<Introduce> {
    let tell_peer: Introduce = |request, client| {
        request.extensions_mut().insert(client.peer());
    };
    let tell_client: Introduce = |request, client| {
        request.extensions_mut().insert(client);
    };
    let tell_both: Introduce = |request, client| {
        request.extensions_mut().insert(client.peer());
        request.extensions_mut().insert(client);
    };
    match (peer, client) {
        (false, false) => None,
        (true, false) => Some(tell_peer),
        (false, true) => Some(tell_client),
        (true, true) => Some(tell_both),
    }
}

impl<S: Handle> Shared<S> {
    fn arrived(self: &Rc<Self>, accepted: Accepted) {
        if proxy::is_proxied(self.hub.limits.proxies, &accepted) {
            spawn_local(introduced(Rc::clone(self), accepted));
        } else {
            self.admit(accepted);
        }
    }

    fn admit(self: &Rc<Self>, accepted: Accepted) {
        #[cfg(feature = "tls")]
        let secures = self.worker.is_secure(accepted.listener) && accepted.journey.moves == 0;
        let Arrival { parked, waited, saved } = accepted.into();
        // One that has moved was accepted when TLS was not spoken there.
        #[cfg(feature = "tls")]
        if let Some(tls) = self.tls.as_ref().filter(|_| secures) {
            spawn_local(crate::tls::secure(Rc::clone(self), std::sync::Arc::clone(&tls.config), parked));
            return;
        }
        self.begin(parked, waited, saved);
    }

    /// Begins with HTTP on a connection.
    pub(crate) fn begin(self: &Rc<Self>, parked: Parked, waited: Duration, saved: Option<Vec<u8>>) {
        match self.service.seat(|| parked.facts.client(), saved) {
            Some(seat) => {
                spawn_local(Connection::new(self, seat, parked, waited));
            }
            None => {
                tracing::error!("there is no service for a connection; it is closed");
                spawn_local(parked.turn_away());
            }
        }
    }
}

/// A connection that a proxy has made begins when that has said for whom.
async fn introduced<S: Handle>(server: Rc<Shared<S>>, accepted: Accepted) {
    let limit = server.hub.limits.head;
    match proxy::introduced(accepted, limit, server.worker.draining()).await {
        Some(accepted) => {
            if proxy::counted(&accepted).is_none_or(|client| accepted.permit.counts_for(client)) {
                server.admit(accepted);
            }
        }
        None => server.hub.counters.count(Counter::ProxyHeader),
    }
}

/// Tells idle connections to go where there are fewer, whenever that is asked for.
async fn shed(worker: Worker, hub: Rc<Hub>) {
    loop {
        hub.shed(worker.asked_to_shed().await);
    }
}

/// Ends with the call of `serve`.
struct Shedding(AbortHandle);

impl Drop for Shedding {
    fn drop(&mut self) {
        self.0.abort();
    }
}
