//! All listeners of a program, and their queues by number.

use std::ops::Range;

use hatchery_core::QueueId;

use crate::listener::Source;
use crate::{Listener, Queue};

/// All listeners of a program, in the order in which it asked for them.
///
/// Their queues are counted through: those of the first listener come first.
#[derive(Debug, Default)]
pub struct Listeners(Vec<Listener>);

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
        let (index, queue) = self.find(id)?;
        Some((&self.0[index], queue))
    }

    /// The place of the listener that a queue belongs to.
    #[must_use]
    pub fn index_of(&self, id: QueueId) -> Option<usize> {
        self.find(id).map(|(index, _)| index)
    }

    /// How many queues each listener has.
    #[must_use]
    pub fn queue_counts(&self) -> Vec<u16> {
        self.0.iter().map(count).collect()
    }

    /// The numbers of a listener's queues; none for a listener that does not exist.
    #[must_use = "it only tells"]
    pub fn queue_ids(&self, listener: usize) -> impl ExactSizeIterator<Item = QueueId> + use<> {
        let counts = self.queue_counts();
        let first = counts.iter().take(listener).sum::<u16>();
        let range: Range<u16> = first..first + counts.get(listener).copied().unwrap_or(0);
        range.map(QueueId)
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
        self.0.iter().filter(|listener| listener.source == Source::Bound).for_each(Listener::remove_file);
    }

    fn find(&self, id: QueueId) -> Option<(usize, &Queue)> {
        let mut all = self
            .0
            .iter()
            .enumerate()
            .flat_map(|(index, listener)| listener.queues().iter().map(move |queue| (index, queue)));
        all.nth(usize::from(id.0))
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
