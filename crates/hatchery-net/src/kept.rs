//! Descriptors of the program's own that survive upgrades.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// The longest name, in bytes.
const LONGEST_NAME: usize = 64;

/// Descriptors by the program's names for them. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Kept(Vec<(String, Arc<OwnedFd>)>);

impl Kept {
    /// These.
    #[must_use]
    pub fn new(kept: Vec<(String, OwnedFd)>) -> Self {
        Self(kept.into_iter().map(|(name, fd)| (name, Arc::new(fd))).collect())
    }

    /// The rest of them.
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        Self(self.0.iter().filter(|(known, _)| known != name).cloned().collect())
    }

    /// A descriptor of the caller's own for what is kept under `name`. It is closed by an exec.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if nothing is; or when this process has no descriptor left.
    pub fn get(&self, name: &str) -> io::Result<OwnedFd> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, self.missing(name)))?.1.try_clone()
    }

    fn missing(&self, name: &str) -> String {
        let known: Vec<String> = self.0.iter().map(|(known, _)| format!("`{known}`")).collect();
        let known = if known.is_empty() {
            "nothing is at all".to_owned()
        } else {
            format!("expected one of {}", known.join(", "))
        };
        format!("nothing is kept as `{name}`: {known}")
    }

    /// All of them, with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, BorrowedFd<'_>)> {
        self.0.iter().map(|(name, fd)| (name.as_str(), fd.as_fd()))
    }

    /// Says what is wrong with a name, if anything. The same names serve for jobs and sidecars.
    ///
    /// # Errors
    /// A sentence with what would be right.
    pub fn check_name(name: &str) -> Result<(), String> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(is_plain) {
            return Ok(());
        }
        Err(format!("a name has 1 to {LONGEST_NAME} letters, digits, `-`, `_` or `.`, all of them ASCII"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn what_is_kept_is_found_by_its_name() {
        let file = File::open("/dev/null").unwrap();
        let kept = Kept::new(vec![("null".to_owned(), file.into())]);
        assert!(kept.clone().get("null").is_ok());
        let error = kept.get("full").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(error.to_string(), "nothing is kept as `full`: expected one of `null`");
        assert_eq!(Kept::default().get("x").unwrap_err().to_string(), "nothing is kept as `x`: nothing is at all");
        assert_eq!(kept.iter().count(), 1);
        assert_eq!((kept.without("null").iter().count(), kept.without("full").iter().count()), (0, 1));
    }

    #[test]
    fn names_are_plain() {
        for good in ["a", "metrics-2", "A_b.c", &"x".repeat(64)] {
            assert_eq!(Kept::check_name(good), Ok(()));
        }
        for bad in ["", "a b", "a#1", "\u{e4}", "a;b", "a/b", &"x".repeat(65)] {
            assert!(Kept::check_name(bad).is_err(), "{bad}");
        }
    }
}
