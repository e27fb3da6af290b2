//! One call of a tower service: ready first, then the call.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tower_service::Service;

use crate::Request;

pin_project_lite::pin_project! {
    /// The work of a tower service on one request.
    pub struct Oneshot<S: Service<Request>> {
        #[pin]
        state: State<S>,
    }
}

pin_project_lite::pin_project! {
    #[project = StateProj]
    enum State<S: Service<Request>> {
        NotReady { service: S, request: Option<Request> },
        Called { #[pin] future: S::Future },
    }
}

impl<S: Service<Request>> Oneshot<S> {
    pub(crate) fn new(service: S, request: Request) -> Self {
        Self { state: State::NotReady { service, request: Some(request) } }
    }
}

impl<S: Service<Request>> Future for Oneshot<S> {
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::NotReady { service, request } => {
                    ready!(service.poll_ready(cx))?;
                    // Taken once only: the state changes before anything can return.
                    let Some(request) = request.take() else { return Poll::Pending };
                    let future = service.call(request);
                    this.state.set(State::Called { future });
                }
                StateProj::Called { future } => return future.poll(cx),
            }
        }
    }
}

impl<S: Service<Request>> std::fmt::Debug for Oneshot<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Oneshot")
    }
}
