//! Where connections go if the master dies: to the generation beside it, as long as there is one.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::task::{JoinHandle, spawn_local};
use tracing::debug;

use super::outlet::Heir;
use super::watched::Watch;

/// The other generation's relay, until nobody of that is left.
#[derive(Debug, Default)]
pub(crate) struct Refuge {
    heir: RefCell<Option<Heir>>,
    watch: RefCell<Option<JoinHandle<()>>>,
}

impl Refuge {
    /// From now on it is this one, or nobody.
    pub(crate) fn offer(self: &Rc<Self>, heir: Option<Heir>) {
        drop(self.take());
        let Some(heir) = heir else { return };
        match Watch::of(&heir.entry) {
            Ok(entry) => {
                let watch = spawn_local(Rc::clone(self).forget_when_gone(entry));
                self.watch.replace(Some(watch));
            }
            // It is kept for longer than there is a use for it then.
            Err(error) => debug!("the predecessor's relay cannot be watched: {error}"),
        }
        self.heir.replace(Some(heir));
    }

    /// The master is gone: now it is needed.
    pub(crate) fn take(&self) -> Option<Heir> {
        if let Some(watch) = self.watch.take() {
            watch.abort();
        }
        self.heir.take()
    }

    /// Nothing ever comes out of an entry but the end, when nobody can receive any more.
    async fn forget_when_gone(self: Rc<Self>, entry: Watch) {
        entry.closed().await;
        self.heir.take();
    }
}
