//! A client that is not ours: `openssl s_client`.

use std::io::Write;
use std::process::{Command, Stdio};

/// One request for `/` at `address`, with these arguments as well; returns all that it says.
///
/// # Panics
/// When it is not installed, or has no answer.
#[must_use]
pub fn ask(address: &str, arguments: &[&str]) -> String {
    let mut client = Command::new("openssl")
        .args(["s_client", "-ign_eof", "-servername", "localhost", "-connect", address])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed");
    let mut input = client.stdin.take().expect("a pipe");
    input.write_all(b"GET / HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n").expect("written");
    let output = client.wait_with_output().expect("its end");
    drop(input);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("Hello, World!"), "{said} {}", String::from_utf8_lossy(&output.stderr));
    said
}
