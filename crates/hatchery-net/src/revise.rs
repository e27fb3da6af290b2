//! Listeners that come and go while others are served.

use std::collections::BTreeSet;

use hatchery_core::{ListenMode, Revision};

use crate::claim::refuse_twins;
use crate::listener::Standing;
use crate::{ListenError, Listener, Listeners, Spec};

impl Listeners {
    /// Makes them what `specs` ask for, and says what that changes; `None` for nothing.
    ///
    /// What is asked for and not there is bound, as in [`Listener::bind`], and stands
    /// at the end. What is there and not asked for is retired: it stays open until
    /// [`close`](Self::close) is called for it, and is taken up again if it is asked
    /// for before that. All get the backlog.
    ///
    /// # Errors
    /// When an address cannot be had; nothing has changed then.
    pub fn revise(
        &mut self,
        specs: &[Spec],
        mode: ListenMode,
        queues: u16,
        backlog: u32,
    ) -> Result<Option<Revision>, ListenError> {
        refuse_twins(specs)?;
        let mut asked = vec![false; self.0.len()];
        let mut missing = Vec::new();
        for spec in specs {
            match self.0.iter().zip(&asked).position(|(listener, taken)| !taken && listener.is_what(spec)) {
                Some(index) => asked[index] = true,
                None => missing.push(spec),
            }
        }
        let mut added = Vec::new();
        for spec in missing {
            match Listener::bind(spec, mode, queues, backlog) {
                Ok(listener) => added.push(listener),
                Err(error) => {
                    Self::new(added).abandon();
                    return Err(error);
                }
            }
        }
        for listener in self.0.iter_mut().filter(|listener| !listener.is_closed()) {
            listener.set_backlog(backlog)?;
        }
        let mut changed = !added.is_empty();
        for (listener, asked) in self.0.iter_mut().zip(asked).filter(|(listener, _)| !listener.is_closed()) {
            let standing = if asked { Standing::Asked } else { Standing::Retired };
            changed |= standing != listener.standing;
            listener.standing = standing;
        }
        self.0.extend(added);
        Ok(changed.then(|| Revision { counts: self.queue_counts(), retired: self.retired() }))
    }

    /// Ends a listener for every process that holds a copy, and removes the file of a unix socket.
    /// Its place stays, with no queue.
    pub fn close(&mut self, index: u16) {
        if let Some(listener) = self.0.get_mut(usize::from(index)) {
            listener.end();
            listener.queues.clear();
            listener.standing = Standing::Closed;
        }
    }

    /// The numbers of those that are not closed, in their order.
    #[must_use]
    pub fn open(&self) -> Vec<u16> {
        (0..).zip(&self.0).filter(|(_, listener)| !listener.is_closed()).map(|(index, _)| index).collect()
    }

    fn retired(&self) -> BTreeSet<u16> {
        let retired = |listener: &Listener| listener.standing == Standing::Retired;
        (0..).zip(&self.0).filter(|(_, listener)| retired(listener)).map(|(index, _)| index).collect()
    }
}

impl Listener {
    /// Whether it is the answer to this wish.
    fn is_what(&self, spec: &Spec) -> bool {
        let is_there = self.asked == spec.address || self.bound == spec.address;
        !self.is_closed() && self.name == spec.name && is_there
    }
}
