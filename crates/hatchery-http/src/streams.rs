//! What stands between hyper and the handler on HTTP/2, where many requests share a connection.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hatchery_worker::Counter;
use http::Response;
use http_body::{Body, Frame, SizeHint};

use crate::access::Note;
use crate::guard::{Guard, Outgoing};
use crate::http2::{Refusing, Wire, refuses};
use crate::line::Line;
use crate::server::Shared;
use crate::service::Handle;
use crate::{BoxError, Request};

/// The service that a hyper connection calls.
pub(crate) struct Streams<S: Handle> {
    server: Rc<Shared<S>>,
    seat: S::Seat,
    line: Rc<Line>,
    wire: Rc<Wire>,
}

impl<S: Handle> Streams<S> {
    pub(crate) fn new(server: &Rc<Shared<S>>, seat: &S::Seat, line: &Rc<Line>, wire: &Rc<Wire>) -> Self {
        Self { server: Rc::clone(server), seat: seat.clone(), line: Rc::clone(line), wire: Rc::clone(wire) }
    }
}

impl<S: Handle> hyper::service::Service<Request> for Streams<S> {
    type Response = Response<Marked<S::Body>>;
    type Error = h2::Error;
    type Future = Answer<S>;

    fn call(&self, mut request: Request) -> Self::Future {
        if refuses(&self.line, &self.wire) {
            return Answer::Refused;
        }
        let note = self.server.access.map(|log| Note::of(log, &request, &self.line.client()));
        let length = request.body().size_hint().exact();
        if length.is_some_and(|length| length > self.server.hub.limits.max_body_size) {
            self.server.hub.counters.count(Counter::BodyTooLarge);
            let refusing = Some(self.wire.refuse());
            return Answer::Working {
                guard: Guard::too_large(&self.line, note),
                line: Rc::clone(&self.line),
                refusing,
            };
        }
        // Begun first: the client's count of requests has this one in it.
        let (server, seat) = (Rc::clone(&self.server), self.seat.clone());
        let guard = Guard::begin(&self.line, note, || {
            if let Some(introduce) = server.introduce {
                introduce(&mut request, self.line.client());
            }
            Call::Waiting { server, seat, request: Some(request) }
        });
        Answer::Working { guard, line: Rc::clone(&self.line), refusing: None }
    }
}

pin_project_lite::pin_project! {
    /// The work on one request.
    #[project = AnswerProj]
    pub(crate) enum Answer<S: Handle> {
        Working { #[pin] guard: Guard<Call<S>>, line: Rc<Line>, refusing: Option<Refusing> },
        // By a word that says that nothing was done: the client may ask elsewhere.
        Refused,
    }
}

impl<S: Handle> Future for Answer<S> {
    type Output = Result<Response<Marked<S::Body>>, h2::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (guard, line) = match self.project() {
            AnswerProj::Working { guard, line, .. } => (guard, line),
            AnswerProj::Refused => return Poll::Ready(Err(h2::Reason::REFUSED_STREAM.into())),
        };
        // A stream is a task of its own, which its connection's mark does not cover.
        let polled = line.record().poll();
        let Ok(response) = ready!(guard.poll(cx));
        drop(polled);
        Poll::Ready(Ok(response.map(|body| Marked { body, line: Rc::clone(line) })))
    }
}

pin_project_lite::pin_project! {
    /// The call of the service, made in the first poll: in the stream's own
    /// task, so that a panic in it does not end the connection, which others share.
    #[project = CallProj]
    enum Call<S: Handle> {
        Waiting { server: Rc<Shared<S>>, seat: S::Seat, request: Option<Request> },
        Running { #[pin] future: S::Future },
    }
}

impl<S: Handle> Future for Call<S> {
    type Output = Result<Response<S::Body>, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.as_mut().project() {
                CallProj::Waiting { server, seat, request } => {
                    // Taken once only: a call that panicked is not polled again.
                    let Some(request) = request.take() else { return Poll::Pending };
                    let future = server.service.handle(seat, request);
                    self.set(Self::Running { future });
                }
                CallProj::Running { future } => return future.poll(cx),
            }
        }
    }
}

pin_project_lite::pin_project! {
    /// The body of an answer, which is asked for in the stream's task as well.
    pub(crate) struct Marked<B> {
        #[pin]
        body: Outgoing<B>,
        line: Rc<Line>,
    }
}

impl<B: Body<Error: Into<BoxError>>> Body for Marked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let _polled = this.line.record().poll();
        this.body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
