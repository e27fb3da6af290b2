//! A server under a terminal.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use nix::pty::{Winsize, openpty};

/// A terminal: what is written to it is typed.
#[derive(Debug)]
pub struct Terminal {
    keyboard: File,
    device: OwnedFd,
}

impl Terminal {
    /// Opens a terminal of 80 columns and 24 rows.
    ///
    /// # Panics
    /// When the system has none.
    #[must_use]
    pub fn open() -> Self {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(&size, None).expect("a terminal");
        Self { keyboard: pair.master.into(), device: pair.slave }
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
