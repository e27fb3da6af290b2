//! HTTP/1 or HTTP/2? The first bytes of a connection tell.

/// What a client with prior knowledge of HTTP/2 sends first.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the bytes seen so far say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Anything that is not the preface of HTTP/2, so HTTP/1 (or an error that HTTP/1 can report).
    Http1,
    /// The whole preface of HTTP/2.
    Http2,
    /// The beginning of the preface: more bytes are needed.
    Undecided,
}

/// Decides by the first bytes of a connection.
pub(crate) fn sniff(bytes: &[u8]) -> Protocol {
    let known = bytes.len().min(PREFACE.len());
    if bytes[..known] != PREFACE[..known] {
        Protocol::Http1
    } else if known == PREFACE.len() {
        Protocol::Http2
    } else {
        Protocol::Undecided
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_prefix_of_the_preface_is_undecided() {
        for n in 0..PREFACE.len() {
            assert_eq!(sniff(&PREFACE[..n]), Protocol::Undecided, "{n} bytes");
        }
        assert_eq!(sniff(PREFACE), Protocol::Http2);
        assert_eq!(sniff(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04"), Protocol::Http2);
    }

    #[test]
    fn the_first_other_byte_decides_for_http1() {
        assert_eq!(sniff(b"G"), Protocol::Http1);
        assert_eq!(sniff(b"PO"), Protocol::Http1);
        assert_eq!(sniff(b"PRI * HTTP/1.1\r\n\r\n"), Protocol::Http1);
        assert_eq!(sniff(b"\x16\x03\x01"), Protocol::Http1);
    }
}
