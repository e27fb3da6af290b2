//! What clients ask, and what they have to be answered.

use std::fmt;
use std::time::Duration;

use super::connection::quoted;

/// A request, and the answer that it has to get.
#[derive(Clone, PartialEq, Eq)]
pub struct Ask {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: Vec<u8>,
    /// Whether it is the last one on its connection, and says so.
    pub(crate) closes: bool,
    status: u16,
    expected: Expected,
}

/// The body that an answer has to have.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Expected {
    Anything,
    Length(usize),
    Bytes(Vec<u8>),
}

impl Ask {
    /// A GET request, to be answered with status 200 and any body.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        let path = path.into();
        Self { method: "GET", path, body: Vec::new(), closes: false, status: 200, expected: Expected::Anything }
    }

    /// A POST request, to be answered with status 200 and any body.
    #[must_use]
    pub fn post(path: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self { method: "POST", body: body.into(), ..Self::get(path) }
    }

    /// The status that it has to be answered with.
    #[must_use]
    pub fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The body that it has to be answered with.
    #[must_use]
    pub fn gets(self, body: impl Into<Vec<u8>>) -> Self {
        Self { expected: Expected::Bytes(body.into()), ..self }
    }

    /// The number of bytes that it has to be answered with.
    #[must_use]
    pub fn gets_length(self, length: usize) -> Self {
        Self { expected: Expected::Length(length), ..self }
    }

    /// Says `Connection: close`.
    pub(crate) fn closing(self) -> Self {
        Self { closes: true, ..self }
    }

    /// The lab's `/`.
    #[must_use]
    pub fn hello() -> Self {
        Self::get("/").gets("Hello, World!")
    }

    /// The lab's `/bytes?n=N`, whose answers differ in length.
    #[must_use]
    pub fn bytes(count: usize) -> Self {
        Self::get(format!("/bytes?n={count}")).gets(vec![b'x'; count])
    }

    /// The lab's `/sleep?ms=N`.
    #[must_use]
    pub fn sleep(span: Duration) -> Self {
        Self::get(format!("/sleep?ms={}", span.as_millis())).gets("slept\n")
    }

    /// The lab's `/stream?chunks=N&ms=M`.
    #[must_use]
    pub fn stream(chunks: usize, pause: Duration) -> Self {
        let body: String = (0..chunks).map(|number| format!("{number:015}\n")).collect();
        Self::get(format!("/stream?chunks={chunks}&ms={}", pause.as_millis())).gets(body)
    }

    /// The lab's `/echo`.
    #[must_use]
    pub fn echo(body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self::post("/echo", body.clone()).gets(body)
    }

    /// What is wrong with an answer, if anything is.
    pub(crate) fn objects_to(&self, status: u16, body: &[u8]) -> Option<String> {
        if status != self.status {
            return Some(format!("status {status} with {}", quoted(body)));
        }
        let is_right = match &self.expected {
            Expected::Anything => true,
            Expected::Length(length) => body.len() == *length,
            Expected::Bytes(bytes) => body == bytes,
        };
        (!is_right).then(|| format!("{} bytes: {}", body.len(), quoted(body)))
    }

    /// The head of the request; `headers` are whole lines.
    pub(crate) fn head(&self, headers: &str) -> String {
        let close = if self.closes { "Connection: close\r\n" } else { "" };
        format!("{} {} HTTP/1.1\r\nHost: storm\r\n{close}{headers}\r\n", self.method, self.path)
    }

    /// The whole request.
    pub(crate) fn request(&self) -> Vec<u8> {
        if self.method == "GET" {
            return self.head("").into_bytes();
        }
        let mut whole = self.head(&format!("Content-Length: {}\r\n", self.body.len())).into_bytes();
        whole.extend_from_slice(&self.body);
        whole
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_looked_at() {
        assert_eq!(Ask::bytes(2).objects_to(200, b"xx"), None);
        assert!(Ask::bytes(2).objects_to(200, b"xxx").is_some());
        assert!(Ask::bytes(2).objects_to(500, b"xx").is_some());
        assert_eq!(Ask::get("/").status(404).objects_to(404, b"whatever"), None);
        assert!(Ask::get("/").gets_length(1).objects_to(200, b"").is_some());
    }

    #[test]
    fn a_request_says_how_long_it_is() {
        let request = String::from_utf8(Ask::echo("hello").request()).unwrap();
        assert!(request.ends_with("Content-Length: 5\r\n\r\nhello"), "{request}");
    }
}
