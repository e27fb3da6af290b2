//! A descriptor that is held for the one that a message brings.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Keeps a number free: a message whose descriptor finds none loses it, and with it a client.
#[derive(Debug, Default)]
pub(crate) struct Spare(Option<OwnedFd>);

impl Spare {
    /// Sees to it that there is one, as a copy of `any`.
    ///
    /// # Errors
    /// When this process has no descriptor left: then nothing may be received.
    pub(crate) fn hold(&mut self, any: BorrowedFd<'_>) -> io::Result<()> {
        if self.0.is_none() {
            self.0 = Some(any.try_clone_to_owned()?);
        }
        Ok(())
    }

    /// Makes room for one descriptor, for as long as it takes to receive it.
    pub(crate) fn give(&mut self) {
        self.0 = None;
    }
}
