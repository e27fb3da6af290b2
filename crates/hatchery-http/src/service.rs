//! hyper's and tower's services, told apart by a type parameter.

use std::future::Future;

use http::Response;
use http_body::Body;

use crate::tower::Oneshot;
use crate::{BoxError, Client, Request};

/// The kind of [`IntoService`] that hyper's services are.
#[derive(Clone, Copy, Debug)]
pub enum Hyper {}

/// The kind of [`IntoService`] that tower's services are, for example `axum::Router`.
#[derive(Clone, Copy, Debug)]
pub enum Tower {}

/// What [`Server::new`](crate::Server::new) takes: a service of hyper or of tower.
///
/// `Kind` is [`Hyper`] or [`Tower`] and found by the compiler. Services and
/// their futures need not be `Send`.
///
/// ```
/// use std::convert::Infallible;
///
/// use hatchery_http::{Request, Response, Server, text};
///
/// let hyper = hyper::service::service_fn(async |_request: Request| Ok::<Response, Infallible>(text("hi")));
/// let server = Server::new(hyper);
/// # let _ = server;
/// ```
pub trait IntoService<Kind> {
    /// What the service becomes.
    type Service: Handle;

    /// Makes the service.
    fn into_service(self) -> Self::Service;
}

/// A service, whatever its kind. It is made by [`IntoService`] and cannot be implemented elsewhere.
pub trait Handle: sealed::Sealed + 'static {
    /// The body of its responses.
    type Body: Body<Error: Into<BoxError>> + 'static;
    /// Why it could not answer.
    type Error: Into<BoxError>;
    /// The work on one request.
    type Future: Future<Output = Result<Response<Self::Body>, Self::Error>> + 'static;
    /// What belongs to one connection.
    type Seat: Clone + 'static;

    /// The name of the service and the version of its state, by which its connections move; `None` if they do not.
    fn carries(&self) -> Option<(&str, u32)>;

    /// Makes what belongs to a connection, from what was saved of it elsewhere
    /// if it has moved; `None` if nothing can be made of that.
    fn seat(&self, client: impl FnOnce() -> Client, saved: Option<Vec<u8>>) -> Option<Self::Seat>;

    /// What another process needs to make it again.
    fn save(&self, seat: &Self::Seat) -> Saved;

    /// Begins the work on one request.
    fn handle(&self, seat: &Self::Seat, request: Request) -> Self::Future;
}

/// What is left to save of a connection that is to move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saved {
    /// Nothing: any process can go on with it.
    Nothing,
    /// The application's own state.
    State(Vec<u8>),
    /// The application cannot say it now: the connection stays.
    NotNow,
}

/// HTTP without a state of its own, as workers and masters know it.
pub(crate) const HTTP: (&str, u32) = ("http", 0);

/// What a service is that knows of no connections.
macro_rules! stateless {
    () => {
        type Seat = ();

        fn carries(&self) -> Option<(&str, u32)> {
            Some(HTTP)
        }

        #[inline]
        fn seat(&self, _client: impl FnOnce() -> Client, _saved: Option<Vec<u8>>) -> Option<()> {
            Some(())
        }

        fn save(&self, (): &()) -> Saved {
            Saved::Nothing
        }
    };
}

/// A hyper service as a [`Handle`].
#[derive(Debug)]
pub struct HyperService<S>(S);

impl<S, B> IntoService<Hyper> for S
where
    S: hyper::service::Service<Request, Response = Response<B>, Error: Into<BoxError>, Future: 'static> + 'static,
    B: Body<Error: Into<BoxError>> + 'static,
{
    type Service = HyperService<S>;

    fn into_service(self) -> Self::Service {
        HyperService(self)
    }
}

impl<S, B> Handle for HyperService<S>
where
    S: hyper::service::Service<Request, Response = Response<B>, Error: Into<BoxError>, Future: 'static> + 'static,
    B: Body<Error: Into<BoxError>> + 'static,
{
    type Body = B;
    type Error = S::Error;
    type Future = S::Future;
    stateless!();

    fn handle(&self, (): &(), request: Request) -> Self::Future {
        self.0.call(request)
    }
}

impl<S> AsRef<S> for HyperService<S> {
    fn as_ref(&self) -> &S {
        &self.0
    }
}

/// A tower service as a [`Handle`].
#[derive(Debug)]
pub struct TowerService<S>(S);

impl<S, B> IntoService<Tower> for S
where
    S: tower_service::Service<Request, Response = Response<B>, Error: Into<BoxError>, Future: 'static>,
    S: Clone + 'static,
    B: Body<Error: Into<BoxError>> + 'static,
{
    type Service = TowerService<S>;

    fn into_service(self) -> Self::Service {
        TowerService(self)
    }
}

impl<S, B> Handle for TowerService<S>
where
    S: tower_service::Service<Request, Response = Response<B>, Error: Into<BoxError>, Future: 'static>,
    S: Clone + 'static,
    B: Body<Error: Into<BoxError>> + 'static,
{
    type Body = B;
    type Error = S::Error;
    type Future = Oneshot<S>;
    stateless!();

    fn handle(&self, (): &(), request: Request) -> Self::Future {
        Oneshot::new(self.0.clone(), request)
    }
}

impl<S> AsRef<S> for TowerService<S> {
    fn as_ref(&self) -> &S {
        &self.0
    }
}

pub(crate) mod sealed {
    pub trait Sealed {}

    impl<S> Sealed for super::HyperService<S> {}
    impl<S> Sealed for super::TowerService<S> {}
    impl<H> Sealed for crate::PerConnection<H> {}
}
