//! Keep-alive connections on which nothing happens.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use crate::compare::group::PATIENCE;

/// Connections that were asked once each.
#[derive(Debug)]
pub struct Idle {
    port: u16,
    path: &'static str,
    connections: Vec<TcpStream>,
}

/// What became of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fate {
    /// Answered on the same connection, by another process than before.
    pub moved: usize,
    /// Answered on the same connection, by a process that had been there before.
    pub stayed: usize,
    /// Closed, or broken.
    pub closed: usize,
    /// Until each of those that were not closed had an answer.
    pub took: Duration,
}

impl Idle {
    /// Opens so many. `path` is asked for; an answer says `"pid":N` somewhere in its body, or nothing of that kind.
    ///
    /// # Errors
    ///
    /// When one cannot be opened, or is not answered.
    pub fn open(port: u16, path: &'static str, count: usize) -> io::Result<Self> {
        let mut idle = Self { port, path, connections: Vec::new() };
        idle.fill_up(count)?;
        Ok(idle)
    }

    /// Opens as many as are missing.
    ///
    /// # Errors
    ///
    /// When one cannot be opened, or is not answered.
    pub fn fill_up(&mut self, count: usize) -> io::Result<()> {
        while self.connections.len() < count {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            self.ask(&mut stream)?;
            answer(&mut stream)?;
            self.connections.push(stream);
        }
        Ok(())
    }

    /// Asks on all, reads all answers, and forgets those that are closed.
    #[must_use]
    pub fn look(&mut self, old: &[i32]) -> Fate {
        let began = Instant::now();
        let mut fate = Fate::default();
        let mut connections = std::mem::take(&mut self.connections);
        // Asked first: nobody waits for a client that waits for somebody else.
        connections.retain_mut(|stream| self.ask(stream).is_ok() || closed(&mut fate));
        connections.retain_mut(|stream| match answer(stream) {
            Ok(Some(pid)) if old.contains(&pid) => {
                fate.stayed += 1;
                true
            }
            Ok(_) => {
                fate.moved += 1;
                true
            }
            Err(_) => closed(&mut fate),
        });
        self.connections = connections;
        fate.took = began.elapsed();
        fate
    }

    fn ask(&self, stream: &mut TcpStream) -> io::Result<()> {
        stream.write_all(format!("GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", self.path).as_bytes())
    }
}

fn closed(fate: &mut Fate) -> bool {
    fate.closed += 1;
    false
}

/// Reads an answer, and the pid that it names.
fn answer(stream: &mut TcpStream) -> io::Result<Option<i32>> {
    let mut buffer = [0; 2048];
    let mut read = 0;
    loop {
        match stream.read(&mut buffer[read..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => read += count,
        }
        let text = String::from_utf8_lossy(&buffer[..read]);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.to_ascii_lowercase();
        let length = length.split_once("content-length: ").and_then(|(_, rest)| rest.lines().next()?.parse().ok());
        let length: usize = length.ok_or_else(|| io::Error::other("an answer without a length"))?;
        if body.len() >= length {
            let pid = body.split_once("\"pid\":").and_then(|(_, rest)| rest.split([',', '}']).next()?.parse().ok());
            return Ok(pid);
        }
    }
}
