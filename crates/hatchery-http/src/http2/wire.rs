//! The socket as hyper's HTTP/2 sees it: what goes by is taken down, and a stream that has had its time is ended.
//!
//! Nobody outside of h2 can reset a stream whose body is waited for, or whose answer is. So h2 is given a frame that
//! the client has not sent, and that makes its request malformed: it resets that stream alone, in whatever state it
//! is, and forgets what waits to be sent there. On its way out the reset gets the code that says what it is for.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use h2::Reason;
use hatchery_worker::ledger::Doing;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::accounts::{Accounts, Terms};
use super::frames::{Frames, malformed};
use crate::clock::elapsed;
use crate::line::Line;
use crate::sweep::Hub;

/// How much is read at once while a frame of ours waits for the end of the one that is being read.
const PIECE: usize = 4096;

/// The streams of a connection, as its task, its io and its requests know them.
pub(crate) struct Wire {
    accounts: RefCell<Accounts>,
    incoming: RefCell<Frames>,
    outgoing: RefCell<Frames>,
    /// A frame of ours that h2 is reading, and how much of it was read.
    forged: Cell<Option<([u8; 9], usize)>>,
    /// Some stream is to be reset.
    condemns: Cell<bool>,
    /// Some reset of ours may be on its way.
    resets: Cell<bool>,
    /// Some body has become too long.
    too_long: Cell<bool>,
    /// Requests that are being refused for the length that they have said.
    refusing: Cell<u32>,
    looked: Cell<u32>,
    /// When the client was told to go.
    pub(crate) told: Cell<Option<u32>>,
}

/// Whether a connection can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// It can.
    Lives,
    /// A stream has had its time, and cannot be ended without the connection.
    Hopeless,
}

impl Wire {
    pub(crate) fn new(hub: &Hub) -> Rc<Self> {
        Rc::new(Self {
            accounts: RefCell::new(Accounts::new(hub.limits.max_body_size)),
            incoming: RefCell::new(Frames::new(true)),
            outgoing: RefCell::new(Frames::new(false)),
            forged: Cell::new(None),
            condemns: Cell::new(false),
            resets: Cell::new(false),
            too_long: Cell::new(false),
            refusing: Cell::new(0),
            looked: Cell::new(hub.now()),
            told: Cell::new(None),
        })
    }

    /// Whether there are streams that have not ended.
    pub(crate) fn has_streams(&self) -> bool {
        self.accounts.borrow().are_open()
    }

    /// A request is refused for what it says its length is, until the value is dropped.
    pub(crate) fn refuse(self: &Rc<Self>) -> Refusing {
        self.refusing.set(self.refusing.get() + 1);
        Refusing(Rc::clone(self))
    }

    /// Looks for streams that have had their time.
    pub(crate) fn look(&self, line: &Line) -> (Outlook, Doing) {
        let hub = &line.hub;
        let passed = elapsed(hub.now(), self.looked.replace(hub.now()));
        let terms = Terms {
            body: hub.patient(hub.limits.body),
            send: hub.patient(hub.limits.send),
            min_body_rate: hub.limits.min_body_rate,
        };
        let mut accounts = self.accounts.borrow_mut();
        let doing = accounts.look(passed, &terms, line.dirty.get(), |counter| {
            self.condemns.set(true);
            hub.counters.count(counter);
        });
        let in_body_of = self.incoming.borrow().in_body_of();
        let outlook = if (self.condemns.get() || self.resets.get()) && accounts.is_hopeless(&terms, in_body_of) {
            Outlook::Hopeless
        } else {
            Outlook::Lives
        };
        (outlook, doing)
    }

    /// Whether h2 should read on at once, since there is something for it that no client has sent.
    pub(crate) fn has_orders(&self, line: &Line) -> bool {
        if self.too_long.replace(false) {
            let refused = self.refusing.get() > 0 || line.dirty.get();
            self.accounts.borrow_mut().condemn_too_long(refused, |counter| {
                self.condemns.set(true);
                line.hub.counters.count(counter);
            });
            self.too_long.set(self.accounts.borrow().are_too_long());
        }
        self.condemns.get() && self.may_forge(line)
    }

    /// Whether h2 can be told something: it has written all that it has decided, and is not within a frame.
    fn may_forge(&self, line: &Line) -> bool {
        !line.dirty.get() && self.incoming.borrow().is_between()
    }

    /// Puts in what the client has not sent. Returns whether there was anything.
    fn forge(&self, line: &Line, buf: &mut ReadBuf<'_>) -> bool {
        let (frame, read) = match self.forged.take() {
            Some(forged) => forged,
            None if !self.may_forge(line) => return false,
            None => {
                let mut accounts = self.accounts.borrow_mut();
                let Some(stream) = accounts.condemned() else {
                    self.condemns.set(false);
                    return false;
                };
                accounts.is_told(stream);
                self.resets.set(true);
                (malformed(stream), 0)
            }
        };
        let part = buf.remaining().min(frame.len() - read);
        buf.put_slice(&frame[read..read + part]);
        if read + part < frame.len() {
            self.forged.set(Some((frame, read + part)));
        }
        part > 0
    }

    fn received(&self, bytes: &[u8]) {
        let mut accounts = self.accounts.borrow_mut();
        self.incoming.borrow_mut().read(bytes, |seen| {
            if accounts.receive(seen) {
                self.too_long.set(true);
            }
        });
    }

    fn sent(&self, bytes: &[u8]) {
        let mut accounts = self.accounts.borrow_mut();
        self.outgoing.borrow_mut().read(bytes, |seen| accounts.send(seen));
    }

    /// How much of this can be written as it is; if that is nothing, what is to be written in its place.
    fn corrected(&self, bytes: &[u8]) -> Result<usize, ([u8; 4], usize)> {
        let accounts = self.accounts.borrow();
        if !accounts.are_ending() {
            self.resets.set(false);
            return Ok(bytes.len());
        }
        let mut frames = self.outgoing.borrow().clone();
        let ours = |frames: &Frames| frames.in_reset_of().filter(|(stream, _left)| accounts.ends(*stream));
        let mut at = 0;
        loop {
            if let Some((_stream, left)) = ours(&frames) {
                let code = u32::from(Reason::ENHANCE_YOUR_CALM).to_be_bytes();
                return if at > 0 { Ok(at) } else { Err((code, code.len().saturating_sub(left))) };
            }
            if at == bytes.len() {
                return Ok(at);
            }
            let next = frames.to_the_next().min(bytes.len() - at);
            frames.read(&bytes[at..at + next], |_| {});
            at += next;
        }
    }
}

/// Counts as one request that is being refused.
pub(crate) struct Refusing(Rc<Wire>);

impl Drop for Refusing {
    fn drop(&mut self) {
        self.0.refusing.set(self.0.refusing.get() - 1);
    }
}

/// What hyper reads from and writes to.
///
/// It shuts its io down when it has finished, and that is when the task takes the socket back.
pub(crate) struct WireIo {
    pub(crate) line: Rc<Line>,
    pub(crate) wire: Rc<Wire>,
}

impl WireIo {
    /// Reads up to the end of what is being read, so that a frame of ours can be put there.
    fn read_to_the_next(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let most = self.wire.incoming.borrow().to_the_next().min(buf.remaining()).min(PIECE);
        let mut space = [MaybeUninit::uninit(); PIECE];
        let mut piece = ReadBuf::uninit(&mut space[..most]);
        ready!(self.line.poll_read(cx, &mut piece))?;
        self.wire.received(piece.filled());
        buf.put_slice(piece.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for WireIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.wire.condemns.get() || self.wire.forged.get().is_some() {
            if self.wire.forge(&self.line, buf) {
                return Poll::Ready(Ok(()));
            }
            if self.wire.condemns.get() && !self.wire.incoming.borrow().is_between() {
                return self.read_to_the_next(cx, buf);
            }
        }
        let before = buf.filled().len();
        ready!(self.line.poll_read(cx, buf))?;
        self.wire.received(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WireIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let most = if self.wire.resets.get() { self.wire.corrected(bytes) } else { Ok(bytes.len()) };
        let written = match most {
            Ok(most) => {
                let written = ready!(self.line.poll_write(cx, &bytes[..most]))?;
                self.wire.sent(&bytes[..written]);
                written
            }
            Err((code, from)) => {
                let code = &code[from..];
                let code = &code[..code.len().min(bytes.len())];
                let written = ready!(self.line.poll_write(cx, code))?;
                self.wire.sent(&code[..written]);
                written
            }
        };
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.wire.resets.get() {
            let first = parts.iter().find(|part| !part.is_empty());
            return self.poll_write(cx, first.map_or(&[], |part| part));
        }
        let written = ready!(self.line.poll_write_vectored(cx, parts))?;
        let mut left = written;
        for part in parts {
            let part = &part[..part.len().min(left)];
            self.wire.sent(part);
            left -= part.len();
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
