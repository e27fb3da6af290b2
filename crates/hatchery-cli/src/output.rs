//! What is printed on standard output.

use std::io::{self, Write};

use crate::failure::Failure;

/// Prints `text` as it stands. A reader that has gone away has what it wanted.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Output { what: "cannot print", source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
