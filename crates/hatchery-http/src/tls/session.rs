//! TLS on a socket.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use hatchery_worker::Stream;
use rustls::{HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::TlsInfo;

/// A connection whose handshake is done.
pub(crate) struct Session(TlsStream<Socket>);

impl Session {
    pub(crate) fn new(stream: TlsStream<Socket>) -> Self {
        Self(stream)
    }

    /// The socket below.
    pub(crate) fn socket(&self) -> &Stream {
        &self.0.get_ref().0.stream
    }

    /// Whether something was read and decrypted that nobody has asked for yet.
    pub(crate) fn has_decrypted(&mut self) -> bool {
        self.0.get_mut().1.reader().fill_buf().is_ok_and(|bytes| !bytes.is_empty())
    }

    /// Whether the kernel has taken anything since this was asked last.
    pub(crate) fn has_sent(&self) -> bool {
        self.0.get_ref().0.sent.take()
    }

    /// Whether HTTP/2 was agreed on.
    pub(crate) fn is_http2(&self) -> bool {
        self.0.get_ref().1.alpn_protocol() == Some(b"h2")
    }

    /// What the handshake has agreed on.
    pub(crate) fn info(&self) -> TlsInfo {
        let connection = self.0.get_ref().1;
        let certificates = connection.peer_certificates().unwrap_or_default();
        TlsInfo {
            server_name: connection.server_name().map(str::to_owned),
            protocol: connection.alpn_protocol().map(|name| if name == b"h2" { "h2" } else { "http/1.1" }),
            version: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "TLSv1.3",
            },
            cipher_suite: connection
                .negotiated_cipher_suite()
                .map_or_else(String::new, |suite| format!("{:?}", suite.suite())),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            client_certificates: certificates.iter().map(|certificate| certificate.to_vec()).collect(),
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Session").field(self.socket()).finish()
    }
}

impl AsyncRead for Session {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Session {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// The socket below TLS, with what was read of it before.
pub(crate) struct Socket {
    pub(crate) stream: Stream,
    unread: Box<[u8]>,
    read: usize,
    /// TLS buffers what it writes: only here is seen whether a slow client makes progress.
    sent: Cell<bool>,
}

impl Socket {
    pub(crate) fn new(stream: Stream, unread: Box<[u8]>) -> Self {
        Self { stream, unread, read: 0, sent: Cell::new(false) }
    }

    fn note<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if matches!(written, Poll::Ready(Ok(_))) {
            self.sent.set(true);
        }
        written
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let unread = &this.unread[this.read..];
        if unread.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let fits = unread.len().min(buf.remaining());
        buf.put_slice(&unread[..fits]);
        this.read += fits;
        if this.read == this.unread.len() {
            (this.unread, this.read) = (Box::default(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
