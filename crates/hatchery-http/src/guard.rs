//! What stands between hyper and the handler: it counts, catches panics, and says goodbye at a drain.

use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hatchery_worker::error::one_line;
use http::header::{CONNECTION, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

use crate::io::{Line, Peeked};
use crate::server::Shared;
use crate::service::Handle;
use crate::sweep::Phase;
use crate::{BoxError, Request};

/// More can have been read than is known: somebody else's bytes may be behind this request.
const UNKNOWN: i64 = i64::MIN / 2;

/// The service that a hyper connection calls.
pub(crate) struct Guarded<S> {
    server: Rc<Shared<S>>,
    line: Rc<Line>,
}

impl<S> Guarded<S> {
    pub(crate) fn new(server: &Rc<Shared<S>>, line: &Rc<Line>) -> Self {
        Self { server: Rc::clone(server), line: Rc::clone(line) }
    }
}

impl<S: Handle> hyper::service::Service<Request> for Guarded<S> {
    type Response = Response<Outgoing<S::Body>>;
    type Error = Infallible;
    type Future = Guard<S::Future>;

    fn call(&self, mut request: Request) -> Self::Future {
        let line = &self.line;
        begin(line);
        line.ahead.set(ahead(&request, line.read_end.get()));
        if self.server.peer_in_extensions {
            request.extensions_mut().insert(line.facts.peer);
        }
        // Not caught here: the detour through `catch_unwind` would copy the
        // request and the future, and nearly no service runs its handler before
        // the first poll. A panic ends the task of this connection alone.
        let in_flight = Some(InFlight(Rc::clone(line)));
        let last_words = LastWords(line);
        // Built in its place: through a variable of its own the future would be copied.
        let guard = Guard { future: self.server.service.handle(request), in_flight };
        std::mem::forget(last_words);
        guard
    }
}

/// Dropped only while a panic passes: counts it.
struct Witness<'a>(&'a Line);

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        note_panic(self.0);
    }
}

/// Dropped only while a panic leaves the service's call: answers for it.
struct LastWords<'a>(&'a Line);

impl Drop for LastWords<'_> {
    fn drop(&mut self) {
        note_panic(self.0);
        self.0.say_failed();
    }
}

/// How many bytes of this request are still to be read, [`UNKNOWN`] when that cannot be said.
///
/// hyper does not tell where a head ended in what it had read, but its header
/// values are slices of that very buffer: if the last one ends just before the
/// blank line that ends the read, nothing stands behind the head. Should hyper
/// ever copy header values, the addresses do not match and the answer is
/// "unknown", which costs a drain a moment and no client anything.
#[inline]
fn ahead(request: &Request, read_end: usize) -> i64 {
    const BLANK_LINE: usize = b"\r\n\r\n".len();
    // In the order in which they came, but for repeated ones: then nothing matches either.
    let Some(last) = request.headers().values().last() else { return UNKNOWN };
    let head_end = last.as_bytes().as_ptr_range().end.addr().wrapping_add(BLANK_LINE);
    if head_end == read_end && request.body().is_end_stream() {
        return 0;
    }
    ahead_of_body(request, read_end.wrapping_sub(head_end))
}

/// How much of a body is missing, when `read` bytes were read behind the head.
fn ahead_of_body(request: &Request, read: usize) -> i64 {
    match (request.body().size_hint().exact(), i64::try_from(read)) {
        (Some(length), Ok(read)) => i64::try_from(length).unwrap_or(i64::MAX).saturating_sub(read),
        (None, _) | (_, Err(_)) => UNKNOWN,
    }
}

fn begin(line: &Line) {
    line.hub.counters.request_started();
    line.in_flight.set(line.in_flight.get() + 1);
    line.entry.enter(Phase::Handler, line.hub.now());
    line.received.set(false);
}

fn finish(line: &Line) {
    line.in_flight.set(line.in_flight.get() - 1);
    line.received.set(false);
    line.hub.counters.request_finished();
}

/// A request in flight, from the service's call to the drop of the response body.
pub(crate) struct InFlight(Rc<Line>);

impl Drop for InFlight {
    fn drop(&mut self) {
        finish(&self.0);
    }
}

pin_project_lite::pin_project! {
    /// The work on one request: always ends with an answer.
    pub(crate) struct Guard<F> {
        #[pin]
        future: F,
        in_flight: Option<InFlight>,
    }
}

impl<F, B, E> Future for Guard<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<Outgoing<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let future = this.future;
        let answer = match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(Ok(response))) => Some(response),
            Ok(Poll::Ready(Err(error))) => {
                log_failure(&error.into());
                None
            }
            Err(_panic) => {
                if let Some(in_flight) = this.in_flight {
                    note_panic(&in_flight.0);
                }
                None
            }
        };
        let in_flight = this.in_flight.take();
        let draining = in_flight.as_ref().is_some_and(|in_flight| in_flight.0.hub.is_draining());
        let mut response = match answer {
            Some(response) => response.map(|body| Outgoing { body: Some(body), in_flight }),
            None => {
                let mut response = Response::new(Outgoing { body: None, in_flight });
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                response
            }
        };
        if draining {
            say_goodbye(&mut response);
        }
        Poll::Ready(Ok(response))
    }
}

impl<F> Guard<F> {
    /// Begins a request whose service is called within `future`.
    pub(crate) fn new(line: &Rc<Line>, future: F) -> Self {
        begin(line);
        Self { future, in_flight: Some(InFlight(Rc::clone(line))) }
    }
}

/// Adds `connection: close`, unless the client has sent more requests than this one.
///
/// Those will be served, and the last of them says it. A client must not be
/// told `close` and then be served, nor be told `close` while requests that it
/// sent before are thrown away.
#[cold]
fn say_goodbye<B>(response: &mut Response<Outgoing<B>>) {
    let Some(InFlight(line)) = &response.body().in_flight else { return };
    // A body that is not read to its end cannot have another request behind it that anybody could find.
    let last = line.ahead.get() > 0 || (line.ahead.get() == 0 && line.peek() != Peeked::Bytes);
    if last && !line.http2 && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

#[cold]
fn log_failure(error: &BoxError) {
    let error = one_line(&**error);
    tracing::error!("a handler failed: {error}");
}

/// The panic hook has already said what it was and where.
#[cold]
fn note_panic(line: &Line) {
    line.hub.counters.panicked();
    tracing::error!("a handler panicked; the worker goes on");
}

pin_project_lite::pin_project! {
    /// The body of an answer on its way out; its drop ends the request.
    pub(crate) struct Outgoing<B> {
        #[pin]
        body: Option<B>,
        in_flight: Option<InFlight>,
    }
}

impl<B: Body<Error: Into<BoxError>>> Body for Outgoing<B> {
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let this = self.project();
        let Some(body) = this.body.as_pin_mut() else { return Poll::Ready(None) };
        // The head is out: a panic can only break the connection (the stream, on
        // HTTP/2), which it does by itself when it ends the task.
        let witness = this.in_flight.as_ref().map(|in_flight| Witness(&in_flight.0));
        let polled = body.poll_frame(cx);
        std::mem::forget(witness);
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
