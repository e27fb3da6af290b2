//! All listeners of a program, and their queues by number.

use std::cmp::Ordering;
use std::os::fd::OwnedFd;

use hatchery_core::QueueId;

use crate::{Fault, ListenError, Listener, Queue};

/// All listeners of a program, in the order in which it asked for them.
///
/// A queue's name is its listener's place in that order and its own among the
/// listener's: a queue that is added changes the name of no other one.
#[derive(Debug, Default)]
pub struct Listeners(pub(crate) Vec<Listener>);

impl Listeners {
    /// These listeners, in this order.
    #[must_use]
    pub fn new(listeners: Vec<Listener>) -> Self {
        Self(listeners)
    }

    /// The listeners.
    pub fn iter(&self) -> std::slice::Iter<'_, Listener> {
        self.0.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The listener at a place in the order.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&Listener> {
        self.0.get(index)
    }

    /// A queue and the listener that it belongs to.
    #[must_use]
    pub fn queue(&self, id: QueueId) -> Option<(&Listener, &Queue)> {
        let listener = self.get(usize::from(id.listener))?;
        Some((listener, listener.queues().get(usize::from(id.index))?))
    }

    /// How many queues each listener has.
    #[must_use]
    pub fn queue_counts(&self) -> Vec<u16> {
        self.0.iter().map(count).collect()
    }

    /// The names of a listener's queues; none for a listener that does not exist.
    #[must_use = "it only tells"]
    pub fn queue_ids(&self, listener: u16) -> impl ExactSizeIterator<Item = QueueId> + use<> {
        let count = self.get(usize::from(listener)).map_or(0, count);
        (0..count).map(move |index| QueueId { listener, index })
    }

    /// Binds more queues, until each listener with `SO_REUSEPORT` has so many.
    ///
    /// Those with [`ListenMode::Shared`](crate::ListenMode::Shared) and unix sockets stay as they are, and
    /// none loses a queue. A new queue gets clients at once: somebody has to accept from it.
    ///
    /// # Errors
    /// When the system refuses; no queue was added then.
    pub fn add_queues(&mut self, each: u16) -> Result<(), ListenError> {
        // All of them are bound before the first one listens: one that does cannot be
        // closed again without losing clients.
        let bound = self.0.iter().map(|listener| listener.bind_more(each)).collect::<Result<Vec<_>, _>>()?;
        let before = self.queue_counts();
        let mut opened = Ok(());
        for (listener, bound) in self.0.iter_mut().zip(bound) {
            opened = opened.and(listener.open_more(bound));
        }
        if self.queue_counts() == before { opened } else { Ok(()) }
    }

    /// Takes a queue that another process has added. One that is known already is closed again.
    ///
    /// # Errors
    /// When it does not listen on its listener's address, or the queue before it is not known.
    pub fn adopt_queue(&mut self, id: QueueId, fd: OwnedFd) -> Result<(), Fault> {
        let unusable = |why: String| Fault::Unusable { why };
        let listener = self.0.get_mut(usize::from(id.listener));
        let listener = listener.ok_or_else(|| unusable(format!("there is no listener {}", id.listener)))?;
        match usize::from(id.index).cmp(&listener.queues().len()) {
            Ordering::Less => Ok(()),
            Ordering::Equal => listener.adopt(fd),
            Ordering::Greater => Err(unusable(format!("queue {id} comes before those with lower numbers"))),
        }
    }

    /// [`Listener::shut`] for all of them.
    pub fn shut_all(&self) {
        self.0.iter().for_each(Listener::shut);
    }

    /// [`Listener::remove_file`] for all of them.
    pub fn remove_files(&self) {
        self.0.iter().for_each(Listener::remove_file);
    }

    /// Removes the files of the unix sockets that this program has bound, and has
    /// not come to serve. Those of a predecessor stay: they are its own.
    pub fn abandon(&self) {
        self.0.iter().for_each(Listener::abandon);
    }
}

impl<'a> IntoIterator for &'a Listeners {
    type Item = &'a Listener;
    type IntoIter = std::slice::Iter<'a, Listener>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Queues are numbered by `u16`, so nobody can have asked for more.
fn count(listener: &Listener) -> u16 {
    u16::try_from(listener.queues().len()).unwrap_or(u16::MAX)
}
