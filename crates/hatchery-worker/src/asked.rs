//! How the server is: asked of the master, which answers with a file.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use hatchery_core::wire::worker::WorkerSays;
use tokio::sync::oneshot;

use crate::shared::Shared;

/// More than a server with 512 workers has to tell.
const LONGEST: u64 = 4 * 1024 * 1024;

/// Those who wait for the next answer.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    waiting: RefCell<Vec<oneshot::Sender<Option<OwnedFd>>>>,
}

impl Asked {
    /// An answer is for the one who has waited longest.
    pub(crate) fn arrived(&self, enclosed: Option<OwnedFd>) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.is_empty() {
            let _nobody_waits_any_more = waiting.remove(0).send(enclosed);
        }
    }
}

impl Shared {
    /// What the master says about the server, as it was written.
    pub(crate) async fn how_is_it(&self) -> io::Result<Vec<u8>> {
        let (sender, answer) = oneshot::channel();
        // A master that is gone is known at once.
        self.channel.send(&WorkerSays::HowIsIt.encode(), &[])?;
        self.status.waiting.borrow_mut().push(sender);
        let missing = || io::Error::from(io::ErrorKind::BrokenPipe);
        let file = File::from(answer.await.ok().flatten().ok_or_else(missing)?);
        let len = file.metadata()?.len().min(LONGEST);
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}
