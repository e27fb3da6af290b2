//! hyper's and tower's services, told apart by a type parameter.

use std::future::Future;

use http::Response;
use http_body::Body;

use crate::tower::Oneshot;
use crate::{BoxError, Request};

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

    /// Begins the work on one request.
    fn handle(&self, request: Request) -> Self::Future;
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

    fn handle(&self, request: Request) -> Self::Future {
        self.0.call(request)
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

    fn handle(&self, request: Request) -> Self::Future {
        Oneshot::new(self.0.clone(), request)
    }
}

mod sealed {
    pub trait Sealed {}

    impl<S> Sealed for super::HyperService<S> {}
    impl<S> Sealed for super::TowerService<S> {}
}
