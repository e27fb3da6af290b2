//! The names of things: processes, slots, generations, accept queues.

use std::fmt;

/// The process id of a worker, a successor or a predecessor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(pub i32);

/// A place in the set of workers, counted from 0.
///
/// A slot outlives its workers: when one dies, or is replaced in a roll-out,
/// the next one takes the same slot. While a replacement starts, two processes
/// share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u16);

/// How many programs have served before this one, plus one.
///
/// The first master is generation 1; every upgrade adds one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u32);

impl Generation {
    /// The generation of a master that was not started by another one.
    pub const FIRST: Self = Self(1);

    /// The generation that an upgrade starts.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// An accept queue: the kernel's list of connections that wait for `accept`.
///
/// A shared listener has one, a `SO_REUSEPORT` listener about one a slot. Queues
/// that are added to a listener change the name of no other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId {
    /// The listener, in the order in which the program asked for them.
    pub listener: u16,
    /// Which of the listener's queues.
    pub index: u16,
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.listener, self.index)
    }
}

macro_rules! display_as_number {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

display_as_number!(Pid, Slot, Generation);
