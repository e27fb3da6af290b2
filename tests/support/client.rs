//! An HTTP/1.1 client that never retries and tells how a connection ended.

mod answer;

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

pub use answer::{Answer, Failure};
pub(crate) use answer::{find, parse_head};

/// How long a client waits for an answer, if it is not told otherwise.
pub const ANSWER: Duration = Duration::from_secs(20);

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    /// What was read and belongs to no answer yet.
    read: Vec<u8>,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Client {
    /// Connects to `HOST:PORT`, `unix:PATH`, or `tls:HOST:PORT`, as a client that trusts the
    /// [authority of this test](crate::certificates::authority).
    ///
    /// # Errors
    /// [`Failure::NotConnected`]
    pub fn connect(address: &str) -> Result<Self, Failure> {
        if let Some(address) = address.strip_prefix("tls:") {
            return Self::connect_tls(address, &crate::certificates::trusting());
        }
        let stream = match address.strip_prefix("unix:") {
            Some(path) => UnixStream::connect(path).map(Stream::Unix),
            None => TcpStream::connect(address).and_then(|stream| {
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }),
        };
        let client = Self { stream: stream.map_err(Failure::NotConnected)?, read: Vec::new() };
        client.wait_at_most(ANSWER);
        Ok(client)
    }

    /// Connects to `HOST:PORT` and makes a handshake for `localhost`.
    ///
    /// # Errors
    /// [`Failure::NotConnected`], also when there is no handshake.
    ///
    /// # Panics
    /// When the settings are none for a client.
    pub fn connect_tls(address: &str, config: &Arc<ClientConfig>) -> Result<Self, Failure> {
        Self::connect_tls_for("localhost", address, config)
    }

    /// The same, for a server of another name.
    ///
    /// # Errors
    /// [`Failure::NotConnected`], also when there is no handshake.
    ///
    /// # Panics
    /// When the settings are none for a client.
    pub fn connect_tls_for(name: &str, address: &str, config: &Arc<ClientConfig>) -> Result<Self, Failure> {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let mut tls = ClientConnection::new(Arc::clone(config), name).expect("a client");
        let mut connect = || {
            let mut stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(ANSWER))?;
            while tls.is_handshaking() {
                tls.complete_io(&mut stream)?;
            }
            Ok(stream)
        };
        let stream = connect().map_err(Failure::NotConnected)?;
        let stream = Stream::Tls(Box::new(StreamOwned::new(tls, stream)));
        let client = Self { stream, read: Vec::new() };
        client.wait_at_most(ANSWER);
        Ok(client)
    }

    /// What TLS has agreed on.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn tls(&self) -> &ClientConnection {
        let Stream::Tls(stream) = &self.stream else { panic!("this is no TLS connection") };
        &stream.conn
    }

    /// Its own port.
    ///
    /// # Panics
    /// When this is no TCP connection.
    #[must_use]
    pub fn port(&self) -> u16 {
        let stream = match &self.stream {
            Stream::Tcp(stream) => stream,
            Stream::Tls(stream) => &stream.sock,
            Stream::Unix(_) => panic!("only TCP has ports"),
        };
        stream.local_addr().expect("a connection has an address").port()
    }

    /// Sets how long reading and writing may take.
    ///
    /// # Panics
    /// When `span` is zero.
    pub fn wait_at_most(&self, span: Duration) {
        let set = match &self.stream {
            Stream::Tcp(stream) => stream.set_read_timeout(Some(span)).and(stream.set_write_timeout(Some(span))),
            Stream::Unix(stream) => stream.set_read_timeout(Some(span)).and(stream.set_write_timeout(Some(span))),
            Stream::Tls(stream) => {
                stream.sock.set_read_timeout(Some(span)).and(stream.sock.set_write_timeout(Some(span)))
            }
        };
        set.expect("a socket takes a timeout");
    }

    /// Sends these bytes, whatever they are.
    ///
    /// # Errors
    /// [`Failure::Broken`], [`Failure::Silent`] when nobody reads.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), Failure> {
        let written = match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes.as_ref()),
            Stream::Unix(stream) => stream.write_all(bytes.as_ref()),
            Stream::Tls(stream) => stream.write_all(bytes.as_ref()).and_then(|()| stream.flush()),
        };
        written.map_err(Failure::from_io)
    }

    /// Sends the head of a GET request.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn ask(&mut self, path: &str) -> Result<(), Failure> {
        self.send(request(path, ""))
    }

    /// Sends a GET request and reads its answer.
    ///
    /// # Errors
    /// As [`send`](Self::send) and [`answer`](Self::answer).
    pub fn get(&mut self, path: &str) -> Result<Answer, Failure> {
        self.ask(path)?;
        self.answer()
    }

    /// Sends a GET request and waits for the first byte of its answer: it is
    /// being served then. [`answer`](Self::answer) reads the whole.
    ///
    /// # Errors
    /// As [`send`](Self::send) and [`answer`](Self::answer).
    pub fn begin(&mut self, path: &str) -> Result<(), Failure> {
        self.ask(path)?;
        self.have(1)
    }

    /// Sends a POST request with the beginning of its body, and waits for the
    /// first byte of its answer; `headers` are whole lines.
    ///
    /// # Errors
    /// As [`send`](Self::send) and [`answer`](Self::answer).
    pub fn begin_post(&mut self, path: &str, headers: &str, body: &str) -> Result<(), Failure> {
        self.send(format!("POST {path} HTTP/1.1\r\nHost: lab\r\n{headers}\r\n{body}"))?;
        self.have(1)
    }

    /// Reads one answer to its end.
    ///
    /// # Errors
    /// All but [`Failure::NotConnected`].
    pub fn answer(&mut self) -> Result<Answer, Failure> {
        let end = loop {
            if let Some(end) = find(&self.read, b"\r\n\r\n") {
                break end;
            }
            if self.more()? == 0 {
                return Err(self.ended());
            }
        };
        let head = String::from_utf8_lossy(&self.read[..end]).into_owned();
        let (status, headers) = parse_head(&head).ok_or_else(|| Failure::Garbled(head.clone()))?;
        let mut answer = Answer { status, headers, body: Vec::new() };
        // Until the body is whole `read` keeps everything, for the report of an answer that was cut off.
        let (body, used) = self.body(&answer, end + 4)?;
        self.read.drain(..used);
        answer.body = body;
        Ok(answer)
    }

    /// Whether the other side has closed; does not wait.
    ///
    /// # Errors
    /// [`Failure::Broken`] when the connection was reset.
    ///
    /// # Panics
    /// When the socket does not take `O_NONBLOCK`.
    pub fn is_closed(&mut self) -> Result<bool, Failure> {
        self.set_nonblocking(true);
        let got = self.more();
        self.set_nonblocking(false);
        match got {
            Ok(got) => Ok(got == 0),
            Err(Failure::Silent) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Whether anything of an answer was read by now; does not look for more.
    #[must_use]
    pub fn has_something(&self) -> bool {
        !self.read.is_empty()
    }

    /// Reads until the other side closes, and returns all that came.
    ///
    /// # Errors
    /// [`Failure::Broken`], [`Failure::Silent`].
    pub fn read_to_end(&mut self) -> Result<Vec<u8>, Failure> {
        while self.more()? > 0 {}
        Ok(std::mem::take(&mut self.read))
    }

    /// Reads one line, without its end; for raw protocols.
    ///
    /// # Errors
    /// All but [`Failure::NotConnected`].
    pub fn line(&mut self) -> Result<String, Failure> {
        loop {
            if let Some(end) = find(&self.read, b"\n") {
                let line = self.read.drain(..=end).collect::<Vec<_>>();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.more()? == 0 {
                return Err(self.ended());
            }
        }
    }

    /// Tells the other side that nothing more comes, and goes on reading.
    pub fn finish_sending(&mut self) {
        let _ = match &mut self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
            Stream::Tls(stream) => {
                stream.conn.send_close_notify();
                stream.flush().and_then(|()| stream.sock.shutdown(Shutdown::Write))
            }
        };
    }

    /// Goes away without a word: the other side gets a reset.
    ///
    /// # Panics
    /// When this is no TCP connection.
    pub fn reset(self) {
        let Stream::Tcp(stream) = self.stream else { panic!("only TCP has resets") };
        let at_once = linger { l_onoff: 1, l_linger: 0 };
        setsockopt(&stream, sockopt::Linger, &at_once).expect("a socket takes SO_LINGER");
    }

    /// The body that starts at `start`, and where the next answer starts.
    fn body(&mut self, answer: &Answer, start: usize) -> Result<(Vec<u8>, usize), Failure> {
        if let Some(length) = answer.header("content-length") {
            let length: usize = length.parse().map_err(|_| Failure::Garbled(length.to_owned()))?;
            self.have(start + length)?;
            return Ok((self.read[start..start + length].to_vec(), start + length));
        }
        if answer.header("transfer-encoding").is_some() {
            return self.chunks(start);
        }
        while self.more()? > 0 {}
        Ok((self.read[start..].to_vec(), self.read.len()))
    }

    fn chunks(&mut self, mut at: usize) -> Result<(Vec<u8>, usize), Failure> {
        let mut body = Vec::new();
        loop {
            let line_end = loop {
                if let Some(end) = find(&self.read[at..], b"\r\n") {
                    break at + end;
                }
                self.have(self.read.len() + 1)?;
            };
            let size = String::from_utf8_lossy(&self.read[at..line_end]).into_owned();
            let size = usize::from_str_radix(size.trim(), 16).map_err(|_| Failure::Garbled(size))?;
            at = line_end + 2;
            self.have(at + size + 2)?;
            body.extend_from_slice(&self.read[at..at + size]);
            at += size + 2;
            if size == 0 {
                return Ok((body, at));
            }
        }
    }

    /// Reads until `length` bytes are there.
    fn have(&mut self, length: usize) -> Result<(), Failure> {
        while self.read.len() < length {
            if self.more()? == 0 {
                return Err(self.ended());
            }
        }
        Ok(())
    }

    fn more(&mut self) -> Result<usize, Failure> {
        let mut buffer = [0; 16 * 1024];
        let got = loop {
            let got = match &mut self.stream {
                Stream::Tcp(stream) => stream.read(&mut buffer),
                Stream::Unix(stream) => stream.read(&mut buffer),
                Stream::Tls(stream) => stream.read(&mut buffer),
            };
            // A child of this process has ended: nothing that the connection knows of.
            if !matches!(&got, Err(error) if error.kind() == io::ErrorKind::Interrupted) {
                break got.map_err(Failure::from_io)?;
            }
        };
        self.read.extend_from_slice(&buffer[..got]);
        Ok(got)
    }

    fn ended(&self) -> Failure {
        if self.read.is_empty() {
            return Failure::ClosedBeforeAnswer;
        }
        Failure::CutOff { got: String::from_utf8_lossy(&self.read).into_owned() }
    }

    fn set_nonblocking(&self, nonblocking: bool) {
        let set = match &self.stream {
            Stream::Tcp(stream) => stream.set_nonblocking(nonblocking),
            Stream::Unix(stream) => stream.set_nonblocking(nonblocking),
            Stream::Tls(stream) => stream.sock.set_nonblocking(nonblocking),
        };
        set.expect("a socket takes O_NONBLOCK");
    }
}

/// One GET request on a connection of its own.
///
/// # Errors
/// As [`Client::connect`] and [`Client::get`].
pub fn get(address: &str, path: &str) -> Result<Answer, Failure> {
    let mut client = Client::connect(address)?;
    client.send(request(path, "Connection: close\r\n"))?;
    client.answer()
}

/// The head of a GET request; `headers` are whole lines.
#[must_use]
pub fn request(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: lab\r\n{headers}\r\n")
}
