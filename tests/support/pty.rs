//! A server under a terminal.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};

/// A terminal: what is written to it is typed.
#[derive(Debug)]
pub struct Terminal {
    keyboard: File,
    device: File,
}

impl Terminal {
    /// Opens a terminal.
    ///
    /// # Panics
    /// When the system has none.
    #[must_use]
    pub fn open() -> Self {
        // Close-on-exec: a server that held its own keyboard would never see it go.
        let keyboard = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).expect("a terminal");
        grantpt(&keyboard).and_then(|()| unlockpt(&keyboard)).expect("a terminal of our own");
        let name = ptsname_r(&keyboard).expect("a name");
        let device = OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits()).open(name);
        Self { keyboard: File::from(OwnedFd::from(keyboard)), device: device.expect("its other side") }
    }

    /// A standard input that leads to it.
    ///
    /// # Panics
    /// When there are no more descriptors.
    #[must_use]
    pub fn input(&self) -> Stdio {
        self.device.try_clone().expect("a descriptor").into()
    }

    /// What makes a program the terminal's foreground group, by becoming it.
    pub const LAUNCHER: [&'static str; 2] = ["setsid", "--ctty"];

    /// Types Ctrl-C.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn interrupt(&mut self) {
        self.keyboard.write_all(b"\x03").expect("a terminal");
    }

    /// Gives the terminal another size, of which the foreground group is told.
    ///
    /// # Panics
    /// When the terminal does not take it.
    pub fn resize(&self, columns: u16, rows: u16) {
        let device = self.device.try_clone().expect("a descriptor");
        let size = ["cols", &columns.to_string(), "rows", &rows.to_string()].map(str::to_owned);
        let status = Command::new("stty").args(size).stdin(device).status().expect("stty");
        assert!(status.success());
    }
}
