//! Bytes that nobody can guess.

use std::io;

/// Fills `bytes` with what the kernel draws: `getrandom(2)`.
///
/// # Errors
/// When the kernel has nothing of the kind.
#[cfg(target_os = "linux")]
pub fn fill(bytes: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        // SAFETY: the kernel writes at most `rest.len()` bytes to `rest`.
        let drawn = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(drawn) {
            Ok(drawn) => filled += drawn,
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
    Ok(())
}

/// Fills `bytes` with what the kernel draws.
///
/// # Errors
/// When the device is not there.
#[cfg(not(target_os = "linux"))]
pub fn fill(bytes: &mut [u8]) -> io::Result<()> {
    use std::io::Read;

    std::fs::File::open("/dev/urandom")?.read_exact(bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_two_draws_are_the_same() {
        let (mut one, mut other) = ([0; 32], [0; 32]);
        super::fill(&mut one).unwrap();
        super::fill(&mut other).unwrap();
        assert_ne!(one, other);
    }
}
