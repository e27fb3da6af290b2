//! The frames of one direction of an HTTP/2 connection, as they go by (RFC 9113, section 4).

/// What a client says before its first frame.
const PREFACE: u32 = 24;

const HEAD: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;

const INITIAL_WINDOW_SIZE: u16 = 4;

/// Something that matters to limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// A frame of a body has begun; all of it counts for windows, padding too.
    Data { stream: u32, length: u32 },
    /// So many bytes of a body, without padding.
    Body { stream: u32, bytes: u32 },
    /// A head, or trailers, with all its frames.
    Head { stream: u32 },
    /// Nothing more comes on this side of the stream.
    End { stream: u32 },
    /// The stream is over.
    Reset { stream: u32 },
    /// Room for so many bytes more; stream 0 is the connection.
    Room { stream: u32, bytes: u32 },
    /// The room that each stream begins with.
    InitialRoom(u32),
    /// Streams behind this one are not looked at.
    GoAway { last: u32 },
}

/// Reads the heads of frames, and nothing of what is in them but numbers.
#[derive(Clone, Debug)]
pub(super) struct Frames {
    preface: u32,
    head: [u8; HEAD],
    /// How much of the head is there.
    have: usize,
    frame: Frame,
    /// How much of the frame's payload is still to come.
    left: u32,
    /// The first bytes of a payload in which there are numbers, or of one of its entries.
    numbers: [u8; 6],
    numbers_have: usize,
    /// How much of the body is still to come in this frame.
    body: u32,
    /// A head of several frames, and whether its stream ends with it.
    block: Option<(u32, bool)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Frame {
    length: u32,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Frames {
    /// What a client sends, or what it is sent.
    pub(super) fn new(of_client: bool) -> Self {
        Self {
            preface: if of_client { PREFACE } else { 0 },
            head: [0; HEAD],
            have: 0,
            frame: Frame::default(),
            left: 0,
            numbers: [0; 6],
            numbers_have: 0,
            body: 0,
            block: None,
        }
    }

    /// Reads what comes next.
    pub(super) fn read(&mut self, mut bytes: &[u8], mut see: impl FnMut(Seen)) {
        let preface = bytes.len().min(self.preface as usize);
        self.preface -= small(preface);
        bytes = &bytes[preface..];
        while !bytes.is_empty() {
            if self.left == 0 {
                let part = bytes.len().min(HEAD - self.have);
                self.head[self.have..self.have + part].copy_from_slice(&bytes[..part]);
                self.have += part;
                bytes = &bytes[part..];
                if self.have < HEAD {
                    return;
                }
                self.begin(&mut see);
            } else {
                let part = bytes.len().min(self.left as usize);
                self.payload(&bytes[..part], &mut see);
                self.left -= small(part);
                bytes = &bytes[part..];
            }
            if self.left == 0 {
                self.end(&mut see);
            }
        }
    }

    /// Whether a frame may stand here that belongs to no other.
    pub(super) fn is_between(&self) -> bool {
        self.preface == 0 && self.have == 0 && self.block.is_none()
    }

    /// How much has to come at least before that is so again.
    pub(super) fn to_the_next(&self) -> usize {
        match (self.preface, self.left) {
            (0, 0) => HEAD - self.have,
            (0, left) => left as usize,
            (preface, _) => preface as usize,
        }
    }

    /// The stream of whose body a frame is in the middle.
    pub(super) fn in_body_of(&self) -> Option<u32> {
        (self.left > 0 && self.frame.kind == DATA).then_some(self.frame.stream)
    }

    /// The stream of which a reset goes by, and how many bytes of its code have not.
    pub(super) fn in_reset_of(&self) -> Option<(u32, usize)> {
        (self.left > 0 && self.frame.kind == RST_STREAM).then_some((self.frame.stream, self.left as usize))
    }

    fn begin(&mut self, see: &mut impl FnMut(Seen)) {
        let [a, b, c, kind, flags, stream @ ..] = self.head;
        let frame = Frame {
            length: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
        };
        (self.frame, self.left, self.numbers_have) = (frame, frame.length, 0);
        if kind == DATA {
            self.body = if frame.has(PADDED) { 0 } else { frame.length };
            see(Seen::Data { stream: frame.stream, length: frame.length });
        }
    }

    fn payload(&mut self, bytes: &[u8], see: &mut impl FnMut(Seen)) {
        match self.frame.kind {
            DATA => {
                let mut bytes = bytes;
                if self.frame.has(PADDED)
                    && self.left == self.frame.length
                    && let [padding, rest @ ..] = bytes
                {
                    self.body = self.frame.length.saturating_sub(1 + u32::from(*padding));
                    bytes = rest;
                }
                let part = small(bytes.len()).min(self.body);
                self.body -= part;
                if part > 0 {
                    see(Seen::Body { stream: self.frame.stream, bytes: part });
                }
            }
            WINDOW_UPDATE | GOAWAY => self.numbers(bytes, 4, see),
            SETTINGS => self.numbers(bytes, 6, see),
            _ => {}
        }
    }

    /// Collects so many bytes at a time, and says what they mean.
    fn numbers(&mut self, bytes: &[u8], size: usize, see: &mut impl FnMut(Seen)) {
        for byte in bytes {
            // Of a goodbye only the first number, and not what it says in words.
            if self.numbers_have == size {
                return;
            }
            self.numbers[self.numbers_have] = *byte;
            self.numbers_have += 1;
            if self.numbers_have < size {
                continue;
            }
            let [a, b, c, d, e, f] = self.numbers;
            let number = u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff;
            match self.frame.kind {
                WINDOW_UPDATE => see(Seen::Room { stream: self.frame.stream, bytes: number }),
                GOAWAY => see(Seen::GoAway { last: number }),
                _ => {
                    if u16::from_be_bytes([a, b]) == INITIAL_WINDOW_SIZE {
                        see(Seen::InitialRoom(u32::from_be_bytes([c, d, e, f])));
                    }
                    self.numbers_have = 0;
                }
            }
        }
    }

    fn end(&mut self, see: &mut impl FnMut(Seen)) {
        let Frame { kind, stream, .. } = self.frame;
        let ends = self.frame.has(END_STREAM);
        self.have = 0;
        match kind {
            DATA if ends => see(Seen::End { stream }),
            HEADERS => self.block = Some((stream, ends)),
            RST_STREAM => see(Seen::Reset { stream }),
            _ => {}
        }
        if matches!(kind, HEADERS | CONTINUATION)
            && self.frame.has(END_HEADERS)
            && let Some((stream, ends)) = self.block.take()
        {
            see(Seen::Head { stream });
            if ends {
                see(Seen::End { stream });
            }
        }
    }
}

impl Frame {
    fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Frames are at most 16 MiB long.
fn small(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// A head without anything in it behind the head of a request: that request is malformed, and whoever reads this
/// resets the stream, whatever state it is in (RFC 9113, section 8.1).
pub(super) fn malformed(stream: u32) -> [u8; HEAD] {
    let [a, b, c, d] = stream.to_be_bytes();
    [0, 0, 0, HEADERS, END_HEADERS, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    fn seen(bytes: &[u8], piece: usize) -> Vec<Seen> {
        let mut frames = Frames::new(true);
        let mut all: Vec<Seen> = Vec::new();
        for piece in bytes.chunks(piece) {
            frames.read(piece, |seen| match (all.last_mut(), seen) {
                (Some(Seen::Body { stream, bytes }), Seen::Body { stream: same, bytes: more }) if *stream == same => {
                    *bytes += more;
                }
                (_, seen) => all.push(seen),
            });
        }
        assert!(frames.is_between());
        all
    }

    #[test]
    fn frames_are_the_same_however_they_are_cut() {
        let settings = [0, 3, 0, 0, 0, 9, 0, 4, 0, 1, 0, 0];
        let stream = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(SETTINGS, 0, 0, &settings),
            frame(HEADERS, END_STREAM, 1, b"first half"),
            frame(CONTINUATION, END_HEADERS, 1, b"second half"),
            frame(HEADERS, END_HEADERS, 3, b""),
            frame(DATA, 0, 3, b"twelve bytes"),
            frame(DATA, END_STREAM | PADDED, 3, b"\x03four\0\0\0"),
            frame(6, 0, 0, b"a ping  "),
            frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1, 0]),
            frame(RST_STREAM, 0, 5, &[0, 0, 0, 8]),
            frame(GOAWAY, 0, 0, &[0, 0, 0, 7, 0, 0, 0, 0, b'b', b'y', b'e', b' ', b'n', b'o', b'w']),
        ]
        .concat();
        let expected = [
            Seen::InitialRoom(65_536),
            Seen::Head { stream: 1 },
            Seen::End { stream: 1 },
            Seen::Head { stream: 3 },
            Seen::Data { stream: 3, length: 12 },
            Seen::Body { stream: 3, bytes: 12 },
            Seen::Data { stream: 3, length: 8 },
            Seen::Body { stream: 3, bytes: 4 },
            Seen::End { stream: 3 },
            Seen::Room { stream: 0, bytes: 256 },
            Seen::Reset { stream: 5 },
            Seen::GoAway { last: 7 },
        ];
        for piece in [1, 2, 5, 9, 100, stream.len()] {
            assert_eq!(seen(&stream, piece), expected, "{piece}");
        }
    }

    #[test]
    fn between_frames_is_not_within_a_head() {
        let mut frames = Frames::new(false);
        assert!(frames.is_between());
        frames.read(&frame(HEADERS, 0, 1, b"x"), |_| {});
        assert!(!frames.is_between());
        assert_eq!(frames.to_the_next(), HEAD);
        frames.read(&frame(CONTINUATION, END_HEADERS, 1, b"xyz")[..10], |_| {});
        assert_eq!(frames.to_the_next(), 2);
        frames.read(b"yz", |_| {});
        assert!(frames.is_between());
        frames.read(&frame(DATA, 0, 1, b"xyz")[..11], |_| {});
        assert_eq!((frames.in_body_of(), frames.to_the_next()), (Some(1), 1));
    }
}
