//! A file without a name, by which processes give each other bytes of any length.

use std::fs::{self, File};
use std::io;

use nix::unistd;

/// A new file, empty, closed by an exec, in memory where the system has such files.
///
/// All processes that hold it share one offset: read and write at positions, by
/// [`FileExt`](std::os::unix::fs::FileExt).
///
/// # Errors
/// When there is no descriptor left, or no memory, or where there are no files in
/// memory and the folder for temporary files cannot be written to.
pub fn sheet() -> io::Result<File> {
    in_memory().or_else(|_| unlinked())
}

#[cfg(target_os = "linux")]
fn in_memory() -> io::Result<File> {
    use nix::sys::memfd::{MFdFlags, memfd_create};

    Ok(memfd_create(c"hatchery-sheet", MFdFlags::MFD_CLOEXEC)?.into())
}

#[cfg(not(target_os = "linux"))]
fn in_memory() -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

fn unlinked() -> io::Result<File> {
    let (fd, path) = unistd::mkstemp(&std::env::temp_dir().join("hatchery-sheet-XXXXXX"))?;
    fs::remove_file(path)?;
    nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    Ok(fd.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn both_kinds_hold_bytes_and_do_not_survive_an_exec() {
        for sheet in [sheet(), unlinked()] {
            let sheet = sheet.unwrap();
            sheet.write_all_at(b"bytes", 0).unwrap();
            let mut read = [0; 5];
            sheet.read_exact_at(&mut read, 0).unwrap();
            assert_eq!(&read, b"bytes");
            let flags = nix::fcntl::fcntl(&sheet, nix::fcntl::FcntlArg::F_GETFD).unwrap();
            assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        }
    }
}
