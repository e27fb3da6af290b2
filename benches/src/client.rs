//! A client that waits for each answer before it asks again.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
const BODY: &[u8] = b"Hello, World!";

/// One connection.
#[derive(Debug)]
pub struct Client(TcpStream);

impl Client {
    /// Connects; a server that does not listen yet is given a minute.
    ///
    /// # Errors
    ///
    /// Those of `connect(2)`.
    pub fn connect(port: u16) -> io::Result<Self> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(Self(stream));
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && Instant::now() < deadline => {
                    std::thread::yield_now();
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Like [`Client::ask`], with a limit on each wait.
    ///
    /// # Errors
    ///
    /// When the server closes, answers something else, or nothing in time.
    pub fn ask_within(&mut self, limit: Duration) -> io::Result<()> {
        self.0.set_read_timeout(Some(limit))?;
        self.ask()
    }

    /// Asks and waits for the whole answer.
    ///
    /// # Errors
    ///
    /// When the server closes, or answers something else.
    pub fn ask(&mut self) -> io::Result<()> {
        self.0.write_all(REQUEST)?;
        let mut answer = [0; 4096];
        let mut read = 0;
        while !answer[..read].ends_with(BODY) {
            match self.0.read(&mut answer[read..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => read += n,
            }
        }
        Ok(())
    }
}

/// Opens `connections` one after the other and asks `requests` times on each.
///
/// # Errors
///
/// Those of [`Client`].
pub fn run(port: u16, connections: u32, requests: u32) -> io::Result<()> {
    for _ in 0..connections {
        let mut client = Client::connect(port)?;
        for _ in 0..requests {
            client.ask()?;
        }
    }
    Ok(())
}
