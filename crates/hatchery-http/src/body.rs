//! The body of an answer: nothing, bytes at hand, or a stream.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;

use crate::BoxError;

/// The body of a [`Response`](crate::Response).
///
/// Empty and full bodies need no allocation. A stream is boxed, and need not be
/// `Send`: a connection never leaves its worker's thread.
///
/// ```
/// use hatchery_http::Body;
///
/// let empty = Body::empty();
/// let full = Body::from("twelve bytes");
/// # let _ = (empty, full);
/// ```
#[derive(Default)]
pub struct Body(Kind);

#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Full(Bytes),
    Stream(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BoxError>>>),
}

impl Body {
    /// A body of no bytes.
    #[must_use]
    pub const fn empty() -> Self {
        Self(Kind::Empty)
    }

    /// A body of these bytes, sent with their length.
    #[must_use]
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Self::empty() } else { Self(Kind::Full(bytes)) }
    }

    /// Any other body, for example the request's own.
    pub fn wrap<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + 'static,
    {
        Self(Kind::Stream(Box::pin(Boxed { body })))
    }

    /// A body made of a stream's items, sent as they come.
    pub fn stream<S, D, E>(stream: S) -> Self
    where
        S: Stream<Item = Result<D, E>> + 'static,
        D: Into<Bytes>,
        E: Into<BoxError>,
    {
        Self(Kind::Stream(Box::pin(Streamed { stream })))
    }

    /// A body that a task of this worker writes, at most `chunks` ahead of the client.
    ///
    /// ```
    /// # async fn example() -> hatchery_http::Response {
    /// use hatchery_http::Body;
    ///
    /// let (sender, body) = Body::channel(4);
    /// tokio::task::spawn_local(async move {
    ///     for n in 0..3 {
    ///         if sender.send(format!("chunk {n}\n")).await.is_err() {
    ///             return; // The client has gone.
    ///         }
    ///     }
    /// });
    /// hatchery_http::Response::new(body)
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If `chunks` is 0.
    #[must_use]
    pub fn channel(chunks: usize) -> (BodySender, Self) {
        let (sender, receiver) = mpsc::channel(chunks);
        (BodySender(sender), Self(Kind::Stream(Box::pin(Received(receiver)))))
    }
}

/// The writing end of [`Body::channel`]; dropping it ends the body.
#[derive(Debug)]
pub struct BodySender(mpsc::Sender<Result<Bytes, BoxError>>);

impl BodySender {
    /// Waits for room, then adds a chunk.
    ///
    /// # Errors
    ///
    /// [`ClientGone`] if nobody will read it: the connection has ended.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, the chunk was not added.
    pub async fn send(&self, chunk: impl Into<Bytes>) -> Result<(), ClientGone> {
        self.0.send(Ok(chunk.into())).await.map_err(|_gone| ClientGone)
    }

    /// Ends the body with an error: the client sees a connection that breaks, not a body that ends.
    ///
    /// # Errors
    ///
    /// [`ClientGone`] if the connection has ended already.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, the body ends as if it were complete.
    pub async fn abort(self, error: impl Into<BoxError>) -> Result<(), ClientGone> {
        self.0.send(Err(error.into())).await.map_err(|_gone| ClientGone)
    }
}

/// The body was not read to its end: the client has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientGone;

impl fmt::Display for ClientGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client has gone")
    }
}

impl Error for ClientGone {}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Kind::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Kind::Stream(stream) => stream.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Full(_) => false,
            Kind::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Stream(stream) => stream.size_hint(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Empty => f.write_str("Body::Empty"),
            Kind::Full(bytes) => write!(f, "Body::Full({} bytes)", bytes.len()),
            Kind::Stream(_) => f.write_str("Body::Stream"),
        }
    }
}

macro_rules! from_bytes {
    ($($type:ty),*) => {$(
        impl From<$type> for Body {
            fn from(bytes: $type) -> Self {
                Self::full(bytes)
            }
        }
    )*};
}

from_bytes!(Bytes, String, Vec<u8>, &'static str, &'static [u8]);

impl From<()> for Body {
    fn from((): ()) -> Self {
        Self::empty()
    }
}

pin_project_lite::pin_project! {
    /// A body whose errors are boxed.
    struct Boxed<B> {
        #[pin]
        body: B,
    }
}

impl<B> http_body::Body for Boxed<B>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.project().body.poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

pin_project_lite::pin_project! {
    /// A stream of chunks as a body.
    struct Streamed<S> {
        #[pin]
        stream: S,
    }
}

impl<S, D, E> http_body::Body for Streamed<S>
where
    S: Stream<Item = Result<D, E>>,
    D: Into<Bytes>,
    E: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let item = ready!(self.project().stream.poll_next(cx));
        Poll::Ready(item.map(|item| item.map(|chunk| Frame::data(chunk.into())).map_err(Into::into)))
    }
}

/// What a [`BodySender`] sends, as a body.
struct Received(mpsc::Receiver<Result<Bytes, BoxError>>);

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let chunk = ready!(self.0.poll_recv(cx));
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;

    use super::*;

    #[test]
    fn an_empty_body_has_ended_and_a_full_one_knows_its_length() {
        assert!(Body::empty().is_end_stream());
        assert!(Body::from("").is_end_stream());
        let full = Body::from("four");
        assert!(!full.is_end_stream());
        assert_eq!(full.size_hint().exact(), Some(4));
    }

    #[test]
    fn a_full_body_is_one_frame() {
        let mut body = Body::from("four");
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        let frame = Pin::new(&mut body).poll_frame(cx);
        assert!(matches!(frame, Poll::Ready(Some(Ok(frame))) if frame.data_ref().unwrap() == "four"));
        assert!(body.is_end_stream());
        assert!(matches!(Pin::new(&mut body).poll_frame(cx), Poll::Ready(None)));
    }
}
