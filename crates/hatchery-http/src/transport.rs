//! What a connection's bytes go through: its socket, or TLS on it.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use hatchery_worker::Stream;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::parked::Wake;
use crate::peek::{Peeked, peek};
#[cfg(feature = "tls")]
use crate::tls::Session;

/// A connection, as HTTP reads from it and writes to it.
#[derive(Debug)]
pub(crate) enum Transport {
    /// The socket itself.
    Plain(Stream),
    /// TLS on a socket. Boxed: most of what waits is plain, and so stays small.
    #[cfg(feature = "tls")]
    Tls(Box<Session>),
}

/// Calls the same method on whichever it is.
macro_rules! either {
    ($transport:expr, $io:ident => $call:expr) => {
        match $transport {
            Transport::Plain($io) => $call,
            #[cfg(feature = "tls")]
            Transport::Tls($io) => $call,
        }
    };
}

impl Transport {
    /// The socket below.
    pub(crate) fn socket(&self) -> &Stream {
        match self {
            Self::Plain(stream) => stream,
            #[cfg(feature = "tls")]
            Self::Tls(session) => session.socket(),
        }
    }

    /// The socket, if nothing is between it and HTTP: only such a connection can go to another process.
    pub(crate) fn plain(&self) -> Option<&Stream> {
        match self {
            Self::Plain(stream) => Some(stream),
            #[cfg(feature = "tls")]
            Self::Tls(_) => None,
        }
    }

    /// What both sides have agreed to speak; `None` if the first bytes have to tell.
    pub(crate) fn agreed(&self) -> Option<Wake> {
        match self {
            Self::Plain(_) => None,
            #[cfg(feature = "tls")]
            Self::Tls(session) if session.is_http2() => Some(Wake::Http2),
            #[cfg(feature = "tls")]
            Self::Tls(_) => Some(Wake::Http1),
        }
    }

    /// Whether there is anything to read that nobody has read yet.
    pub(crate) fn peek(&mut self) -> Peeked {
        #[cfg(feature = "tls")]
        if let Self::Tls(session) = self
            && session.has_decrypted()
        {
            return Peeked::Bytes;
        }
        peek(self.socket())
    }

    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, io => Pin::new(io).poll_read(cx, buf))
    }

    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, io => Pin::new(io).poll_write(cx, bytes))
    }

    pub(crate) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, io => Pin::new(io).poll_write_vectored(cx, parts))
    }

    /// Gives the kernel what was written and is not there yet: a socket has nothing of the kind.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        #[cfg(feature = "tls")]
        if let Self::Tls(session) = self {
            return Pin::new(session).poll_flush(cx);
        }
        let _nothing_to_wait_for = cx;
        Poll::Ready(Ok(()))
    }

    /// Whether the kernel has taken anything since this was asked last, beyond what `poll_write` has said.
    #[cfg(feature = "tls")]
    pub(crate) fn has_sent(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(session) => session.has_sent(),
        }
    }

    /// Says something as far as that can be done without waiting.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        let mut nobody = Context::from_waker(Waker::noop());
        match self {
            Self::Plain(stream) => {
                let _nobody_left_to_tell = SockRef::from(&*stream).send(bytes);
            }
            #[cfg(feature = "tls")]
            Self::Tls(session) => {
                let _nobody_left_to_tell = Pin::new(&mut **session).poll_write(&mut nobody, bytes);
            }
        }
        let _what_does_not_fit_is_lost = self.poll_flush(&mut nobody);
    }

    /// Begins to shut our side: what was written still arrives, then the client sees the end.
    ///
    /// # Errors
    ///
    /// When the client has gone already.
    pub(crate) fn shut(&self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => SockRef::from(stream).shutdown(Shutdown::Write),
            // Its last word may have to wait for room: see `poll_shut`.
            #[cfg(feature = "tls")]
            Self::Tls(_) => Ok(()),
        }
    }

    /// Shuts our side, for whoever has got the connection.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => Pin::new(io).poll_shutdown(cx))
    }

    /// After `shut`: ready when our side is.
    pub(crate) fn poll_shut(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        #[cfg(feature = "tls")]
        if let Self::Tls(session) = self {
            return Pin::new(session).poll_shutdown(cx);
        }
        let _nothing_to_wait_for = cx;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Idle connections are many: TLS costs those nothing that have none.
    #[test]
    fn a_plain_one_is_as_large_as_its_socket() {
        assert_eq!(size_of::<Transport>(), size_of::<Stream>());
    }
}
