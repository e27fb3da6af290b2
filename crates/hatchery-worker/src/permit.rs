//! Which connections are open, and who waits for that to change.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use hatchery_core::wire::relay::Transfer;
use hatchery_net::Address;

use crate::ledger::Record;
use crate::relay::outlet::Parcel;
use crate::relay::turnstile::Ticket;
use crate::shared::Shared;
use crate::{Accepted, Counter, Journey, Luggage, Peer, Stay, Stream};

/// One call of [`Worker::accept`](crate::Worker::accept), as its connections and the worker see it.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) shared: Rc<Shared>,
    /// The listeners that are this call's.
    pub(crate) listeners: Rc<[usize]>,
    /// Connections from other processes, which the call has not seen yet.
    arrivals: RefCell<VecDeque<Accepted>>,
    /// Connections that came through it and are open.
    open: Cell<usize>,
    /// Since the last order to empty them, every queue was seen empty.
    pub(crate) emptied: Cell<bool>,
    /// How many queues it has that are not shut.
    pub(crate) queues: Cell<usize>,
    waker: RefCell<Option<Waker>>,
}

/// Counts a connection for as long as it is held.
///
/// Open connections stand on the board, hold back accepting at
/// [`max_connections`](crate::Limits::max_connections), and are what a draining
/// worker waits for.
///
/// ```no_run
/// use hatchery_worker::{Permit, Stream};
/// use tokio::io::AsyncWriteExt;
///
/// fn answer_later(mut stream: Stream, permit: Permit) {
///     tokio::task::spawn_local(async move {
///         // Without the permit a draining worker could end in the middle of this.
///         let _client_gone = stream.write_all(b"hello\n").await;
///         drop(stream);
///         drop(permit);
///     });
/// }
/// # let _ = answer_later;
/// ```
#[derive(Debug)]
pub struct Permit {
    gate: Rc<Gate>,
    record: &'static Record,
    /// Its place among those that wait to be moved.
    ticket: Ticket,
}

impl Gate {
    pub(crate) fn new(shared: &Rc<Shared>, listeners: Rc<[usize]>) -> Rc<Self> {
        Rc::new(Self {
            shared: Rc::clone(shared),
            listeners,
            arrivals: RefCell::default(),
            open: Cell::new(0),
            emptied: Cell::new(false),
            queues: Cell::new(0),
            waker: RefCell::new(None),
        })
    }

    pub(crate) fn open(&self) -> usize {
        self.open.get()
    }

    pub(crate) fn serves(&self, listener: usize) -> bool {
        self.listeners.contains(&listener)
    }

    /// A connection of another process, for the call to take up.
    pub(crate) fn arrived(&self, accepted: Accepted) {
        self.arrivals.borrow_mut().push_back(accepted);
        self.wake();
    }

    pub(crate) fn next_arrival(&self) -> Option<Accepted> {
        self.arrivals.borrow_mut().pop_front()
    }

    /// Nobody takes these up any more. They hold the gate that holds them.
    pub(crate) fn drop_arrivals(&self) {
        drop(self.arrivals.take());
    }

    /// Who is woken when the worker's stage, its queues, or its room changes.
    pub(crate) fn remember(&self, waker: &Waker) {
        let mut remembered = self.waker.borrow_mut();
        match &mut *remembered {
            Some(known) => known.clone_from(waker),
            None => *remembered = Some(waker.clone()),
        }
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

impl Permit {
    /// The place of a listener among those that the application serves.
    pub(crate) fn place_of(&self, listener: usize) -> usize {
        self.gate.shared.listeners[..listener].iter().filter(|earlier| earlier.is_asked).count()
    }

    /// For a connection from an accept queue.
    pub(crate) fn accepted(gate: &Rc<Gate>, listener: usize, stream: &Stream, journey: &Journey) -> Self {
        gate.shared.counters.accept();
        Self::new(gate, listener, stream, journey)
    }

    /// For a connection from another process.
    pub(crate) fn moved(gate: &Rc<Gate>, listener: usize, stream: &Stream, journey: &Journey) -> Self {
        gate.shared.counters.arrive();
        Self::new(gate, listener, stream, journey)
    }

    fn new(gate: &Rc<Gate>, listener: usize, stream: &Stream, journey: &Journey) -> Self {
        gate.open.set(gate.open.get() + 1);
        gate.shared.opened();
        let record = gate.shared.records.begin(listener, stream, journey.began.into_std(), journey.requests);
        Self { gate: Rc::clone(gate), record, ticket: Ticket::default() }
    }

    /// What is written down of the connection, for the case that the worker is
    /// aborted in the middle of it.
    ///
    /// It is another connection's as soon as the permit is dropped. A protocol
    /// that says nothing there works as well; see [`Record`] for what there is to say.
    ///
    /// ```no_run
    /// use hatchery_worker::Permit;
    /// use hatchery_worker::ledger::{Doing, Protocol};
    ///
    /// fn begin(permit: &Permit) {
    ///     permit.record().speaks(Protocol::Raw);
    ///     permit.record().enter(Doing::Head);
    /// }
    /// # let _ = begin;
    /// ```
    #[doc(hidden)] // For protocol crates: applications have nothing to say there.
    #[inline]
    #[must_use]
    pub fn record(&self) -> &'static Record {
        self.record
    }

    /// Counts the connection for a client, in place of whoever it has counted for; `false` if that has too many, and
    /// this one is to be closed.
    ///
    /// It counts for its peer already, but where that is one of the [`proxies`](crate::Limits::proxies).
    ///
    /// ```no_run
    /// use std::net::SocketAddr;
    ///
    /// use hatchery_worker::Permit;
    ///
    /// fn introduced(permit: &Permit, client: SocketAddr) -> bool {
    ///     permit.counts_for(client.ip())
    /// }
    /// # let _ = introduced;
    /// ```
    #[must_use = "a connection that is one too many is to be closed"]
    pub fn counts_for(&self, client: IpAddr) -> bool {
        let counts = self.gate.shared.peers.count(self.record, client);
        if !counts {
            self.gate.shared.counters.count(Counter::PeerRefused);
        }
        counts
    }

    /// Whether there is somebody who takes connections of this listener's service.
    ///
    /// A worker that drains moves them then instead of closing them; one that
    /// serves moves those that are [to be shed](crate::Worker::shed_one). It may
    /// change with every order of the master.
    ///
    /// ```no_run
    /// use hatchery_worker::{Permit, Worker};
    ///
    /// fn may_say_goodbye(worker: &Worker, permit: &Permit, listener: usize) -> bool {
    ///     worker.is_draining() && !permit.has_heir(listener)
    /// }
    /// # let _ = may_say_goodbye;
    /// ```
    #[must_use]
    pub fn has_heir(&self, listener: usize) -> bool {
        self.gate.shared.has_heir(listener)
    }

    /// Sends the connection to whoever takes it.
    ///
    /// When it is ready with `Ok`, another process has the connection, or is about
    /// to: drop the stream at once, then the permit, and neither read nor write
    /// before. Everything that was written must have been flushed.
    ///
    /// It is pending while the relay is full, or was shut and another one is to be
    /// named: the task is woken when it is its turn, and when it is time to give
    /// up. A worker that does not drain never waits: that there is no room is
    /// [`Stay::GaveUp`] then, and the connection goes on here.
    ///
    /// # Errors
    /// When the connection has to stay.
    ///
    /// # Example
    /// ```no_run
    /// use std::future::poll_fn;
    ///
    /// use hatchery_worker::{Accepted, Luggage, Stay};
    ///
    /// /// Passes on a connection that is idle: nothing was read that is not used.
    /// async fn pass_on(accepted: &Accepted) -> Result<(), Stay> {
    ///     let Accepted { stream, peer, listener, permit, journey, .. } = accepted;
    ///     let luggage = Luggage { journey, unread: &[], state: None };
    ///     poll_fn(|cx| permit.poll_move(cx, *listener, stream, *peer, &luggage)).await
    /// }
    /// # let _ = pass_on;
    /// ```
    pub fn poll_move(
        &self,
        cx: &mut Context<'_>,
        listener: usize,
        stream: &Stream,
        peer: Peer,
        luggage: &Luggage<'_>,
    ) -> Poll<Result<(), Stay>> {
        let shared = &self.gate.shared;
        let services = shared.services.borrow();
        let Some(service) = services.get(listener).and_then(Option::as_ref) else {
            return Poll::Ready(Err(Stay::NoHeir));
        };
        let Luggage { journey, unread, state } = *luggage;
        let pack = || Transfer {
            service: service.clone(),
            peer: peer.address(),
            local: match &shared.listeners[listener].address {
                // Asked for only where it can be one of several.
                Address::Tcp(address) if !address.ip().is_unspecified() => Some(*address),
                Address::Tcp(_) | Address::Unix(_) => stream.local_addr(),
            },
            real_peer: journey.real_peer,
            age: journey.began.elapsed(),
            waited: journey.waited,
            requests: journey.requests,
            moves: journey.moves,
            unread: unread.to_vec(),
            saved: state.map(<[u8]>::to_vec),
        };
        let weight = unread.len() + state.map_or(0, <[u8]>::len);
        shared.outlet.poll_send(cx, &self.ticket, &Parcel { service, socket: stream.as_fd(), weight, pack: &pack })
    }

    pub(crate) fn shared(&self) -> &Rc<Shared> {
        &self.gate.shared
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let gate = &self.gate;
        gate.shared.outlet.forget(&self.ticket);
        gate.shared.peers.forget(self.record);
        gate.shared.records.end(self.record);
        gate.open.set(gate.open.get() - 1);
        gate.shared.closed();
        // Every other close wakes nobody: a wake-up of the accepting task would
        // cost a look at the event loop a connection.
        if gate.open.get() == 0 && gate.shared.stage().is_draining() {
            gate.wake();
        }
    }
}
