//! A program under a terminal.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{Termios, tcgetattr};

/// What a terminal of 24 lines and 100 columns shows.
#[derive(Clone)]
pub struct Screen(Arc<Mutex<vt100::Parser>>);

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

    /// A standard output, or standard error, that leads to it.
    ///
    /// # Panics
    /// When there are no more descriptors.
    #[must_use]
    pub fn output(&self) -> Stdio {
        self.input()
    }

    /// What it shows from now on. It has to be asked for once.
    ///
    /// # Panics
    /// When there are no more descriptors.
    #[must_use]
    pub fn screen(&self) -> Screen {
        self.resize(100, 24);
        let [rows, columns] = [24, 100].map(|size| NonZero::new(size).expect("a size"));
        let screen = Screen(Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0))));
        let (mut written, shown) = (self.keyboard.try_clone().expect("a descriptor"), screen.clone());
        // It ends with the test: the terminal's other side stays open for as long.
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = written.read(&mut bytes) {
                shown.0.lock().unwrap_or_else(PoisonError::into_inner).process(&bytes[..count]);
            }
        });
        screen
    }

    /// Types letters.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn types(&mut self, letters: &str) {
        self.keyboard.write_all(letters.as_bytes()).expect("a terminal");
    }

    /// How it is set.
    ///
    /// # Panics
    /// When the terminal is gone.
    #[must_use]
    pub fn modes(&self) -> Termios {
        tcgetattr(&self.device).expect("a terminal")
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

impl Screen {
    /// What stands there.
    #[must_use]
    pub fn text(&self) -> String {
        self.look(vt100::Screen::contents)
    }

    /// Whether a program has taken the whole of it, and what stood there before is kept aside.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.look(vt100::Screen::alternate_screen)
    }

    /// Whether the cursor is not to be seen.
    #[must_use]
    pub fn hides_cursor(&self) -> bool {
        self.look(vt100::Screen::hide_cursor)
    }

    fn look<T>(&self, look: impl FnOnce(&vt100::Screen) -> T) -> T {
        look(self.0.lock().unwrap_or_else(PoisonError::into_inner).screen())
    }
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Screen:\n{}", self.text())
    }
}
