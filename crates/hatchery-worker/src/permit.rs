//! Which connections are open, and who waits for that to change.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use crate::shared::Shared;

/// One call of [`Worker::accept`](crate::Worker::accept), as its connections and the worker see it.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) shared: Rc<Shared>,
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
}

impl Gate {
    pub(crate) fn new(shared: &Rc<Shared>) -> Rc<Self> {
        Rc::new(Self {
            shared: Rc::clone(shared),
            open: Cell::new(0),
            emptied: Cell::new(false),
            queues: Cell::new(0),
            waker: RefCell::new(None),
        })
    }

    pub(crate) fn open(&self) -> usize {
        self.open.get()
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
    pub(crate) fn new(gate: &Rc<Gate>) -> Self {
        gate.open.set(gate.open.get() + 1);
        gate.shared.opened();
        Self { gate: Rc::clone(gate) }
    }

    pub(crate) fn shared(&self) -> &Rc<Shared> {
        &self.gate.shared
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let gate = &self.gate;
        gate.open.set(gate.open.get() - 1);
        gate.shared.closed();
        // Every other close wakes nobody: a wake-up of the accepting task would
        // cost a look at the event loop a connection.
        if gate.open.get() == 0 && gate.shared.stage().is_draining() {
            gate.wake();
        }
    }
}
