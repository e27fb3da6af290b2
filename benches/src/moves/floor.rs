//! What the kernel asks for: a message with a descriptor sent, the sender's copy closed, and received.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::Instant;

use hatchery_sys::channel::{Channel, Received};
use hatchery_sys::poll;

/// About as long as what hatchery says of a connection.
const MESSAGE: [u8; 160] = [b'x'; 160];

/// Microseconds a connection, of so many that go from one thread to another.
///
/// # Errors
///
/// When this process may not have so many descriptors, twice each.
pub fn measure(connections: u32) -> io::Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let pair = || Ok((TcpStream::connect(address)?, listener.accept()?.0));
    let (clients, servers): (Vec<_>, Vec<_>) =
        (0..connections).map(|_| pair()).collect::<io::Result<Vec<_>>>()?.into_iter().unzip();
    let (sender, receiver) = Channel::pair()?;
    let began = Instant::now();
    thread::scope(|scope| {
        let received = scope.spawn(move || receive(&receiver));
        for server in servers {
            send(&sender, &server)?;
        }
        drop(sender);
        let (received, at) = received.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        if received.len() != clients.len() {
            return Err(io::Error::other("descriptors were lost"));
        }
        Ok((at - began).as_secs_f64() * 1e6 / f64::from(connections))
    })
}

fn send(sender: &Channel, stream: &TcpStream) -> io::Result<()> {
    loop {
        match sender.send(&MESSAGE, &[stream.as_fd()]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::yield_now(),
            sent => return sent,
        }
    }
}

/// All descriptors, and when the last had come: to close them is no part of it.
fn receive(receiver: &Channel) -> io::Result<(Vec<OwnedFd>, Instant)> {
    let mut buffer = [0; 1024];
    let mut received = Vec::new();
    loop {
        match receiver.recv(&mut buffer) {
            Ok(Received::Message { fds, .. }) => received.extend(fds),
            Ok(Received::Truncated | Received::Stripped { .. }) => {
                return Err(io::Error::other("too many descriptors"));
            }
            Ok(Received::Closed) => return Ok((received, Instant::now())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll::readable(&[receiver.as_fd()], None)?;
            }
            Err(error) => return Err(error),
        }
    }
}
