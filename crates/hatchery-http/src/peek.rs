//! A look into the kernel's queue of a socket.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use socket2::SockRef;

/// What the kernel has for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peeked {
    /// Nothing yet.
    Nothing,
    /// Bytes.
    Bytes,
    /// The end of the stream: the client sends no more, and may still read.
    End,
    /// An error: there is nobody left.
    Broken,
}

/// Looks into the kernel's queue.
///
/// Past the event loop on purpose: what arrived since it last looked counts.
pub(crate) fn peek(stream: &impl AsFd) -> Peeked {
    let mut byte = [MaybeUninit::uninit(); 1];
    match SockRef::from(stream).peek(&mut byte) {
        Ok(0) => Peeked::End,
        Ok(_) => Peeked::Bytes,
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Peeked::Nothing,
        Err(_) => Peeked::Broken,
    }
}
