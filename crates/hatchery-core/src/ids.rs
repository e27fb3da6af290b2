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

impl Slot {
    /// Companions have the slots from here on: more than there are workers.
    pub const FIRST_COMPANION: Self = Self(1 << 15);

    /// The slot of the companion `index`, in the order in which the program asked for them.
    #[must_use]
    pub const fn companion(index: u16) -> Self {
        Self(Self::FIRST_COMPANION.0 + index)
    }

    /// Which companion this slot is for; `None` if it is a worker's.
    #[must_use]
    pub fn as_companion(self) -> Option<usize> {
        self.0.checked_sub(Self::FIRST_COMPANION.0).map(usize::from)
    }

    /// Whether this slot is a companion's.
    #[must_use]
    pub fn is_companion(self) -> bool {
        self >= Self::FIRST_COMPANION
    }
}

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
