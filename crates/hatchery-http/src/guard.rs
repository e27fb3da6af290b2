//! What stands between hyper and the handler: it counts, catches panics, and says goodbye at a drain.
//!
//! A request that asks for an upgrade is not handled here the first time: see `upgrade`.

use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Buf;
use hatchery_worker::Stopwatch;
use hatchery_worker::error::one_line;
use http::header::{CONNECTION, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

use crate::access::Note;
use crate::ahead::ahead;
use crate::line::{Line, Missing};
use crate::peek::Peeked;
use crate::phase::Phase;
use crate::server::Shared;
use crate::service::Handle;
use crate::upgrade::{self, Way};
use crate::{BoxError, Request};

/// The service that a hyper connection calls.
pub(crate) struct Guarded<S: Handle> {
    server: Rc<Shared<S>>,
    seat: S::Seat,
    line: Rc<Line>,
}

impl<S: Handle> Guarded<S> {
    pub(crate) fn new(server: &Rc<Shared<S>>, seat: &S::Seat, line: &Rc<Line>) -> Self {
        Self { server: Rc::clone(server), seat: seat.clone(), line: Rc::clone(line) }
    }
}

impl<S: Handle> hyper::service::Service<Request> for Guarded<S> {
    type Response = Response<Outgoing<S::Body>>;
    type Error = Infallible;
    type Future = Guard<S::Future>;

    fn call(&self, mut request: Request) -> Self::Future {
        let line = &self.line;
        // hyper puts something there for a request that asks for an upgrade, and for no other.
        if !request.extensions().is_empty() && !upgrade::prepare(&self.server.worker, line, &mut request) {
            return Guard::Elsewhere;
        }
        begin(line);
        let note = self.server.access.map(|log| Note::of(log, &request, &line.client()));
        match ahead(&request, line.read_end.get()) {
            None => {
                line.ahead.set(0);
                line.missing.set(Missing::Nothing);
            }
            Some(ahead) if line.begin_body(&request, ahead) => {}
            Some(_) => return Guard::TooLarge { in_flight: Some(InFlight::new(line, note)) },
        }
        if let Some(introduce) = self.server.introduce {
            introduce(&mut request, line.client());
        }
        // Not caught here: the detour through `catch_unwind` would copy the
        // request and the future, and nearly no service runs its handler before
        // the first poll. A panic ends the task of this connection alone.
        let in_flight = Some(InFlight::new(line, note));
        let last_words = LastWords(line);
        // Built in its place: through a variable of its own the future would be copied.
        let guard = Guard::Here { future: self.server.service.handle(&self.seat, request), in_flight };
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

fn begin(line: &Line) {
    line.hub.counters.request_started();
    line.requests.set(line.requests.get().wrapping_add(1));
    line.in_flight.set(line.in_flight.get() + 1);
    line.record().request_begun();
    line.enter(Phase::Handler, line.hub.now());
    line.received.set(false);
}

fn finish(line: &Line, stopwatch: Stopwatch) {
    line.in_flight.set(line.in_flight.get() - 1);
    line.received.set(false);
    line.hub.counters.took(stopwatch);
    line.hub.counters.request_finished();
}

/// A request in flight, from the service's call to the drop of the response body.
pub(crate) struct InFlight {
    line: Rc<Line>,
    stopwatch: Stopwatch,
    note: Option<Box<Note>>,
}

impl InFlight {
    fn new(line: &Rc<Line>, note: Option<Box<Note>>) -> Self {
        Self { line: Rc::clone(line), stopwatch: line.hub.counters.stopwatch(), note }
    }
}

impl Drop for InFlight {
    #[inline]
    fn drop(&mut self) {
        finish(&self.line, self.stopwatch);
    }
}

pin_project_lite::pin_project! {
    /// The work on one request: always ends with an answer, where there is one.
    #[project = GuardProj]
    pub(crate) enum Guard<F> {
        Here { #[pin] future: F, in_flight: Option<InFlight> },
        // The body is longer than it may be.
        TooLarge { in_flight: Option<InFlight> },
        // The connection is about to be taken from this hyper, with the request.
        Elsewhere,
    }
}

impl<F, B, E> Future for Guard<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: 'static,
    E: Into<BoxError>,
{
    type Output = Result<Response<Outgoing<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (future, slot) = match self.project() {
            GuardProj::Here { future, in_flight } => (future, in_flight),
            GuardProj::TooLarge { in_flight } => return answer(in_flight, too_large),
            GuardProj::Elsewhere => return Poll::Pending,
        };
        let Some(InFlight { line, .. }) = slot else { return Poll::Pending };
        let parting = line.is_parting();
        let usual = !parting && line.missing.get() == Missing::Nothing;
        if !usual && let Some(held) = held(line) {
            return answer(slot, |in_flight| if parting { part(held, in_flight) } else { whole(held, in_flight) });
        }
        match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            // An answer is large: what nearly all are goes from here to there without a stop.
            Ok(Poll::Ready(Ok(response))) if usual => answer(slot, |in_flight| outgoing(response, in_flight)),
            Ok(Poll::Ready(Ok(response))) => conclude(Some(response), parting, slot, cx),
            Ok(Poll::Ready(Err(error))) => {
                log_failure(&error.into());
                conclude(None, parting, slot, cx)
            }
            Err(_panic) => {
                note_panic(line);
                conclude(None, parting, slot, cx)
            }
        }
    }
}

impl<F> Guard<F> {
    /// A request whose body is longer than it may be.
    pub(crate) fn too_large(line: &Rc<Line>, note: Option<Box<Note>>) -> Self {
        begin(line);
        Self::TooLarge { in_flight: Some(InFlight::new(line, note)) }
    }

    /// Begins a request whose service is called within the future that is made.
    pub(crate) fn begin(line: &Rc<Line>, note: Option<Box<Note>>, future: impl FnOnce() -> F) -> Self {
        begin(line);
        let in_flight = Some(InFlight::new(line, note));
        Self::Here { future: future(), in_flight }
    }
}

/// The end of a request's work.
type Answered<B> = Poll<Result<Response<Outgoing<B>>, Infallible>>;

#[inline]
fn answer<B>(slot: &mut Option<InFlight>, with: impl FnOnce(InFlight) -> Response<Outgoing<B>>) -> Answered<B> {
    // Taken once only: there is one answer.
    match slot.take() {
        Some(in_flight) => Poll::Ready(Ok(with(in_flight))),
        None => Poll::Pending,
    }
}

/// Ends what has no answer, or one that may be the last.
#[cold]
fn conclude<B: 'static>(
    response: Option<Response<B>>,
    parting: bool,
    slot: &mut Option<InFlight>,
    cx: &Context<'_>,
) -> Answered<B> {
    if let Some(InFlight { line, .. }) = slot
        && (line.misses_body() || parting && is_to_be_held(line))
    {
        hold(line, response, cx);
        return Poll::Pending;
    }
    answer(slot, |in_flight| if parting { part(response, in_flight) } else { whole(response, in_flight) })
}

/// The answer of the handler as it goes out: its status is counted, and in the access log if there is one.
#[inline(always)]
fn outgoing<B>(response: Response<B>, in_flight: InFlight) -> Response<Outgoing<B>> {
    let mut response = response.map(|body| Outgoing { body: Some(body), in_flight });
    let status = response.status();
    let in_flight = &mut response.body_mut().in_flight;
    in_flight.line.hub.counters.answered(status.as_u16());
    if let Some(note) = &mut in_flight.note {
        note.status = Some(status);
    }
    response
}

/// What goes out where the handler may have made no answer.
fn whole<B>(response: Option<Response<B>>, in_flight: InFlight) -> Response<Outgoing<B>> {
    match response {
        Some(response) => outgoing(response, in_flight),
        None => empty(StatusCode::INTERNAL_SERVER_ERROR, in_flight),
    }
}

fn empty<B>(status: StatusCode, in_flight: InFlight) -> Response<Outgoing<B>> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    outgoing(response, in_flight).map(|Outgoing { in_flight, .. }| Outgoing { body: None, in_flight })
}

/// What a client gets whose request's body is longer than it may be.
#[cold]
fn too_large<B>(in_flight: InFlight) -> Response<Outgoing<B>> {
    let closes = !in_flight.line.http2;
    let mut response = empty(StatusCode::PAYLOAD_TOO_LARGE, in_flight);
    if closes {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Whether it is not known yet if the connection can move after this answer, or go on at all.
///
/// Some of the request's body may be missing, and only hyper knows whether the
/// handler has dropped it. It looks before it asks for the answer again: if
/// nobody will read the rest, it closes the connection, and says so in the answer.
#[cold]
fn is_to_be_held(line: &Line) -> bool {
    line.ahead.get() != 0 && line.may_move()
}

#[cold]
fn hold<B: 'static>(line: &Line, answer: Option<Response<B>>, cx: &Context<'_>) {
    line.held.set(Some(Box::new(answer)));
    cx.waker().wake_by_ref();
}

/// What [`hold`] was given.
#[cold]
fn held<B: 'static>(line: &Line) -> Option<Option<Response<B>>> {
    line.held.take()?.downcast().ok().map(|answer| *answer)
}

/// The answer to a client whose connection may end here: then it says goodbye.
#[cold]
fn part<B>(response: Option<Response<B>>, in_flight: InFlight) -> Response<Outgoing<B>> {
    if in_flight.line.is_cut_off() {
        // Whatever the handler has made of half a body.
        return too_large(in_flight);
    }
    let mut response = whole(response, in_flight);
    if !response.body().in_flight.line.may_move() {
        say_goodbye(&mut response);
    }
    response
}

/// Adds `connection: close`, unless the client has sent more requests than this one.
///
/// Those will be served, and the last of them says it. A client must not be
/// told `close` and then be served, nor be told `close` while requests that it
/// sent before are thrown away.
fn say_goodbye<B>(response: &mut Response<Outgoing<B>>) {
    let line = &response.body().in_flight.line;
    // A body that is not read to its end cannot have another request behind it that anybody could find.
    let last = match line.way {
        Way::Ordinary => line.ahead.get() > 0 || (line.ahead.get() == 0 && line.peek() != Peeked::Bytes),
        Way::Upgradable { connect: true } => !response.status().is_success(),
        Way::Upgradable { connect: false } => response.status() != StatusCode::SWITCHING_PROTOCOLS,
    };
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
///
/// What the handler has left behind is not for another process.
#[cold]
fn note_panic(line: &Line) {
    line.hub.counters.panicked();
    line.entry.stay();
    tracing::error!("a handler panicked; the worker goes on");
}

pin_project_lite::pin_project! {
    /// The body of an answer on its way out; its drop ends the request.
    pub(crate) struct Outgoing<B> {
        #[pin]
        body: Option<B>,
        in_flight: InFlight,
    }
}

impl<B: Body<Error: Into<BoxError>>> Body for Outgoing<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let Some(body) = this.body.as_pin_mut() else { return Poll::Ready(None) };
        // The head is out: a panic can only break the connection (the stream, on
        // HTTP/2), which it does by itself when it ends the task.
        let witness = Witness(&this.in_flight.line);
        let polled = body.poll_frame(cx);
        std::mem::forget(witness);
        if let Some(note) = &mut this.in_flight.note
            && let Poll::Ready(Some(Ok(frame))) = &polled
        {
            note.bytes += frame.data_ref().map_or(0, Buf::remaining) as u64;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
