//! Looks over the shoulder of an HTTP/2 client: what it had written when it was
//! told that the connection ends.
//!
//! A client answers the PING that follows a GOAWAY before it writes streams
//! that it has still to open, so these come too late, through no fault of the
//! server: they count as not sent.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::Socket;

/// What comes before the client's first frame.
const PREFACE: usize = 24;
const HEADERS: u8 = 1;
const GOAWAY: u8 = 7;

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The last stream that was written.
    last: Cell<u32>,
    /// What it was when the first GOAWAY came.
    at_goaway: Cell<Option<u32>>,
}

/// A socket whose frames are looked at.
pub(crate) struct Watched {
    socket: Box<dyn Socket>,
    written: Frames,
    read: Frames,
    seen: Rc<Seen>,
}

/// Where one direction is in its sequence of frames.
#[derive(Default)]
struct Frames {
    /// Bytes until the next frame.
    skip: usize,
    header: Vec<u8>,
}

impl Seen {
    /// Whether this stream was written before the client was told that the connection ends.
    pub(crate) fn was_sent_in_time(&self, stream: u32) -> bool {
        stream <= self.at_goaway.get().unwrap_or(u32::MAX)
    }
}

impl Watched {
    pub(crate) fn new(socket: Box<dyn Socket>) -> (Self, Rc<Seen>) {
        let seen = Rc::<Seen>::default();
        let written = Frames { skip: PREFACE, header: Vec::new() };
        (Self { socket, written, read: Frames::default(), seen: Rc::clone(&seen) }, seen)
    }
}

impl Frames {
    /// Goes on by these bytes, and tells the kind and the stream of each frame that begins in them.
    fn advance(&mut self, mut bytes: &[u8], mut frame: impl FnMut(u8, u32)) {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return;
            }
            let taken = (9 - self.header.len()).min(bytes.len());
            self.header.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if let [a, b, c, kind, _flags, w, x, y, z] = *self.header {
                self.skip = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or(usize::MAX);
                self.header.clear();
                frame(kind, u32::from_be_bytes([w, x, y, z]));
            }
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.socket).poll_read(cx, buffer))?;
        this.read.advance(&buffer.filled()[before..], |kind, _| {
            if kind == GOAWAY && this.seen.at_goaway.get().is_none() {
                this.seen.at_goaway.set(Some(this.seen.last.get()));
            }
        });
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(Pin::new(&mut this.socket).poll_write(cx, bytes))?;
        this.written.advance(&bytes[..count], |kind, stream| {
            if kind == HEADERS {
                this.seen.last.set(stream);
            }
        });
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let bytes = [&[0, 0, 2, HEADERS, 0, 0, 0, 0, 5, 9, 9], &[0, 0, 0, GOAWAY, 0, 0, 0, 0, 0][..]].concat();
        for size in 1..=bytes.len() {
            let mut frames = Frames::default();
            let mut found = Vec::new();
            for piece in bytes.chunks(size) {
                frames.advance(piece, |kind, stream| found.push((kind, stream)));
            }
            assert_eq!(found, [(HEADERS, 5), (GOAWAY, 0)]);
        }
    }

    #[test]
    fn streams_after_a_goaway_were_not_sent() {
        let seen = Seen::default();
        assert!(seen.was_sent_in_time(7));
        seen.at_goaway.set(Some(5));
        assert!(seen.was_sent_in_time(5) && !seen.was_sent_in_time(7));
    }
}
