//! Listeners of which a service manager stores copies for the next start.

use std::fmt::Write;

use crate::listener::Source;
use crate::{Address, Holder, Listener, Listeners, Queue};

/// What the names of stored listeners begin with.
const PREFIX: &str = "hatchery-";

/// How the colon is written that every address has: it separates names in `LISTEN_FDNAMES`.
const COLON: &str = "%3A";

/// The longest name that systemd takes, in bytes. Only an odd path has a longer one.
const LONGEST: usize = 255;

/// The name of what listens there.
pub(crate) fn name_of(address: &Address) -> String {
    let mut name = PREFIX.to_owned();
    for byte in address.to_string().bytes() {
        match byte {
            b':' | b'%' | 0..=b' ' | 127.. => write!(name, "%{byte:02X}").unwrap_or_default(),
            plain => name.push(char::from(plain)),
        }
    }
    name.truncate(LONGEST);
    name
}

/// Whether a name is one that this library gives.
pub(crate) fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX) && name.contains(COLON)
}

impl Listener {
    /// By which name it is stored.
    ///
    /// ```
    /// use hatchery_net::{ListenMode, Listener, Spec};
    ///
    /// let spec = Spec { name: None, address: "127.0.0.1:0".parse()? };
    /// let listener = Listener::bind(&spec, ListenMode::Shared, 1, 16)?;
    /// assert!(listener.store_name().starts_with("hatchery-127.0.0.1%3A"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn store_name(&self) -> String {
        name_of(&self.bound)
    }

    /// Whether copies of it are stored, as far as this process knows.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        match self.holder {
            Holder::Store { copies } => copies > 0,
            Holder::Program | Holder::Manager { .. } => false,
        }
    }

    /// How many of its queues are stored, or are to be.
    #[must_use]
    pub fn store_size(&self) -> usize {
        match self.holder {
            Holder::Store { .. } if self.is_asked() => self.queues.len(),
            Holder::Store { .. } | Holder::Program | Holder::Manager { .. } => 0,
        }
    }

    /// Its queues that are to be stored, and are not.
    #[must_use]
    pub fn to_store(&self) -> &[Queue] {
        match self.holder {
            Holder::Store { copies } if self.is_asked() => self.queues.get(copies..).unwrap_or_default(),
            Holder::Store { .. } | Holder::Program | Holder::Manager { .. } => &[],
        }
    }
}

impl Listeners {
    /// Those that the program has bound are to be stored from here on.
    pub fn keep_stored(&mut self) {
        for listener in self.0.iter_mut().filter(|listener| listener.holder == Holder::Program) {
            listener.holder = Holder::Store { copies: 0 };
        }
    }

    /// All queues of a listener are stored.
    pub fn stored(&mut self, index: usize) {
        if let Some(listener) = self.0.get_mut(index)
            && let Holder::Store { copies } = &mut listener.holder
        {
            *copies = listener.queues.len();
        }
    }

    /// Another process may have taken out any of them: all are to be stored again, which does no harm.
    pub fn doubt_store(&mut self) {
        for listener in &mut self.0 {
            if let Holder::Store { copies } = &mut listener.holder {
                *copies = 0;
            }
        }
    }

    /// Those that this process has bound end with it after all. Answers what is to be taken out.
    #[must_use]
    pub fn withdraw(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        for listener in self.0.iter_mut().filter(|listener| listener.source == Source::Bound) {
            names.extend(listener.is_stored().then(|| listener.store_name()));
            if let Holder::Store { .. } = listener.holder {
                listener.holder = Holder::Program;
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_systemd_takes() {
        let name = |text: &str| name_of(&text.parse().unwrap());
        assert_eq!(name("127.0.0.1:80"), "hatchery-127.0.0.1%3A80");
        assert_eq!(name("[::1]:80"), "hatchery-[%3A%3A1]%3A80");
        assert_eq!(name("unix:/run/a b.sock"), "hatchery-unix%3A/run/a%20b.sock");
        assert!(is_ours(&name("[::1]:80")) && !is_ours("hatchery-web") && !is_ours("web%3A"));
        assert_eq!(name(&format!("unix:/{}", "\u{e4}".repeat(50))).len(), LONGEST);
    }
}
