//! Who waits for whom on each stream of a connection, as its frames tell.
//!
//! hyper does not say. But a client that has room for more of a body and does not send it is waited for, and so is
//! one that has given no room to an answer that has begun. Room is what both sides tell each other (RFC 9113, section 5.2).

use std::collections::BTreeMap;
use std::time::Duration;

use hatchery_worker::Counter;
use hatchery_worker::ledger::Doing;

use super::frames::Seen;

/// How much of a request's body may be on its way, of one stream and of all of them together: the same as hyper's own.
pub(super) const WINDOW: u32 = 1 << 20;

/// What every window is before anybody has said anything else.
const FIRST_WINDOW: i64 = 65_535;

/// How long a stream may take for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) body: Duration,
    pub(super) send: Duration,
    pub(super) min_body_rate: u32,
}

/// All streams of one connection.
#[derive(Debug)]
pub(super) struct Accounts {
    streams: BTreeMap<u32, Stream>,
    /// The last stream that the client has begun.
    newest: u32,
    /// The last stream that is looked at.
    last: u32,
    body_room: i64,
    answer_room: i64,
    /// The room with which the answer of each stream begins.
    first_answer_room: i64,
    max_body: u64,
}

#[derive(Debug)]
struct Stream {
    body: Side,
    received: u64,
    answer: Side,
    fate: Fate,
}

/// One side of a stream.
#[derive(Debug)]
struct Side {
    progress: Progress,
    /// Of an answer: beside what it began with, so that it is mostly below zero.
    room: i64,
    /// Bytes since the last look.
    moved: u64,
    /// The client was waited for when somebody looked last.
    waited: bool,
    /// How long it has been waited for, or how far it is behind.
    lag: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Due,
    Open,
    Done,
}

/// What becomes of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Lives,
    /// Its body is longer than it may be.
    TooLong,
    /// It is to be reset, since so long.
    Condemned(Duration),
    /// h2 knows since so long, and its reset is on its way.
    Ending(Duration),
}

impl Accounts {
    pub(super) fn new(max_body: u64) -> Self {
        Self {
            streams: BTreeMap::new(),
            newest: 0,
            last: u32::MAX,
            body_room: FIRST_WINDOW,
            answer_room: FIRST_WINDOW,
            first_answer_room: FIRST_WINDOW,
            max_body,
        }
    }

    /// Whether there is a stream that has not ended.
    pub(super) fn are_open(&self) -> bool {
        !self.streams.is_empty()
    }

    /// Takes down what the client has sent. Returns whether a body has become too long.
    pub(super) fn receive(&mut self, seen: Seen) -> bool {
        match seen {
            Seen::Head { stream } => self.begin(stream),
            Seen::Data { stream, length } => {
                self.body_room -= i64::from(length);
                if let Some(stream) = self.streams.get_mut(&stream) {
                    stream.body.room -= i64::from(length);
                }
            }
            Seen::Body { stream, bytes } => {
                if let Some(stream) = self.streams.get_mut(&stream) {
                    stream.body.moved += u64::from(bytes);
                    stream.received += u64::from(bytes);
                    if stream.fate == Fate::Lives && stream.received > self.max_body {
                        stream.fate = Fate::TooLong;
                        return true;
                    }
                }
            }
            Seen::End { stream } => self.end(stream, |stream| &mut stream.body),
            Seen::Reset { stream } => {
                self.streams.remove(&stream);
            }
            Seen::Room { stream: 0, bytes } => self.answer_room += i64::from(bytes),
            Seen::Room { stream, bytes } => {
                if let Some(stream) = self.streams.get_mut(&stream) {
                    stream.answer.room += i64::from(bytes);
                }
            }
            // It holds for streams that have begun as well; a frame may say it some thousand times.
            Seen::InitialRoom(bytes) => self.first_answer_room = i64::from(bytes),
            Seen::GoAway { .. } => {}
        }
        false
    }

    /// Takes down what the client was sent.
    pub(super) fn send(&mut self, seen: Seen) {
        match seen {
            Seen::Head { stream } => {
                if let Some(stream) = self.streams.get_mut(&stream) {
                    stream.answer.progress = Progress::Open;
                }
            }
            Seen::Data { stream, length } => {
                self.answer_room -= i64::from(length);
                if let Some(stream) = self.streams.get_mut(&stream) {
                    stream.answer.room -= i64::from(length);
                }
            }
            Seen::Body { stream, bytes } => {
                if let Some(stream) = self.streams.get_mut(&stream) {
                    stream.answer.moved += u64::from(bytes);
                }
            }
            Seen::End { stream } => self.end(stream, |stream| &mut stream.answer),
            Seen::Reset { stream } => {
                self.streams.remove(&stream);
            }
            Seen::Room { stream: 0, bytes } => self.body_room += i64::from(bytes),
            Seen::Room { stream, bytes } => {
                if let Some(stream) = self.streams.get_mut(&stream) {
                    stream.body.room += i64::from(bytes);
                }
            }
            // Our own settings are those that we know.
            Seen::InitialRoom(_) => {}
            Seen::GoAway { last } => {
                self.last = last;
                self.streams.retain(|stream, _| *stream <= last);
            }
        }
    }

    fn begin(&mut self, id: u32) {
        // Or these are trailers, or nobody looks at it.
        if id <= self.newest || id > self.last {
            return;
        }
        self.newest = id;
        let stream = Stream {
            body: Side::new(Progress::Open, i64::from(WINDOW)),
            received: 0,
            answer: Side::new(Progress::Due, 0),
            fate: Fate::Lives,
        };
        self.streams.insert(id, stream);
    }

    fn end(&mut self, id: u32, side: impl FnOnce(&mut Stream) -> &mut Side) {
        if let Some(stream) = self.streams.get_mut(&id) {
            side(stream).progress = Progress::Done;
            if stream.body.progress == Progress::Done && stream.answer.progress == Progress::Done {
                self.streams.remove(&id);
            }
        }
    }

    /// Condemns streams whose body was too long. `refused`: some may be of those that are being refused for what they
    /// have said their length is; those get no more room than they began with.
    pub(super) fn condemn_too_long(&mut self, refused: bool, mut limit: impl FnMut(Counter)) {
        let most = self.max_body.saturating_add(u64::from(WINDOW));
        for stream in self.streams.values_mut() {
            if stream.fate == Fate::TooLong && (!refused || stream.received > most) {
                stream.fate = Fate::Condemned(Duration::ZERO);
                limit(Counter::BodyTooLarge);
            }
        }
    }

    /// Whether there are bodies that are too long, and not condemned.
    pub(super) fn are_too_long(&self) -> bool {
        self.streams.values().any(|stream| stream.fate == Fate::TooLong)
    }

    /// Looks at all streams, so long after the last time, and condemns those that have had their time. `clogged`: the
    /// socket takes nothing. Returns what the client is waited for, for those who look on.
    pub(super) fn look(
        &mut self,
        passed: Duration,
        terms: &Terms,
        clogged: bool,
        mut limit: impl FnMut(Counter),
    ) -> Doing {
        let (body_room, answer_room, first) = (self.body_room, self.answer_room, self.first_answer_room);
        let mut doing = Doing::Handler;
        let mut full = false;
        for stream in self.streams.values_mut() {
            match &mut stream.fate {
                Fate::Lives => {}
                Fate::Condemned(since) | Fate::Ending(since) => {
                    *since += passed;
                    continue;
                }
                Fate::TooLong => continue,
            }
            // Nothing can be written, and nothing is read then: that is the whole connection's matter.
            if clogged {
                stream.body.waited = false;
                stream.answer.waited = false;
                continue;
            }
            // Room is given back by halves: with less, there is something that the handler has not read. What those of
            // other streams have not read is their affair while there is any room.
            let half = i64::from(WINDOW / 2);
            let wanted = stream.body.progress == Progress::Open && stream.body.room > half && body_room > 0;
            let room = first + stream.answer.room;
            let stuck = stream.answer.progress == Progress::Open && room.min(answer_room) <= 0;
            stream.body.look(wanted, passed, terms.min_body_rate);
            stream.answer.look(stuck, passed, 0);
            if !stuck {
                stream.answer.lag = Duration::ZERO;
            }
            match (stuck, wanted) {
                (true, _) => doing = Doing::Sending,
                (false, true) if doing == Doing::Handler => doing = Doing::Body,
                (false, true | false) => {}
            }
            if stream.body.lag >= terms.body {
                stream.fate = Fate::Condemned(Duration::ZERO);
                limit(Counter::BodyTimeout);
            } else if stream.answer.lag >= terms.send && room <= 0 {
                stream.fate = Fate::Condemned(Duration::ZERO);
                limit(Counter::SendTimeout);
                full = true;
            }
        }
        // Where the whole connection has no room, it may be those streams that have filled it: all others wait anew.
        let has_room = |stream: &Stream| stream.fate == Fate::Lives && first + stream.answer.room > 0;
        for stream in self.streams.values_mut().filter(|stream| has_room(stream)) {
            if full {
                stream.answer.lag = Duration::ZERO;
            } else if stream.answer.lag >= terms.send {
                stream.fate = Fate::Condemned(Duration::ZERO);
                limit(Counter::SendTimeout);
            }
        }
        doing
    }

    /// A stream that is to be reset and of which h2 does not know.
    pub(super) fn condemned(&self) -> Option<u32> {
        let mut condemned = self.streams.iter().filter(|(_id, stream)| matches!(stream.fate, Fate::Condemned(_)));
        condemned.next().map(|(id, _stream)| *id)
    }

    /// Whether a stream is to be reset that was not for so long; or that one, in whose body nothing comes at all.
    ///
    /// h2 does not reset a second time what it has given up itself, behind what it cannot send there: a stream whose
    /// answer is complete and whose body nobody wants.
    pub(super) fn is_hopeless(&self, terms: &Terms, in_body_of: Option<u32>) -> bool {
        self.streams.iter().any(|(id, stream)| match stream.fate {
            Fate::Lives | Fate::TooLong | Fate::Condemned(Duration::ZERO) => false,
            Fate::Condemned(since) => in_body_of == Some(*id) && stream.body.moved == 0 || since >= terms.body,
            Fate::Ending(since) => since >= terms.send,
        })
    }

    /// h2 will reset this stream.
    pub(super) fn is_told(&mut self, stream: u32) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.fate = Fate::Ending(Duration::ZERO);
        }
    }

    /// Whether the reset of this stream is ours.
    pub(super) fn ends(&self, stream: u32) -> bool {
        self.streams.get(&stream).is_some_and(|stream| matches!(stream.fate, Fate::Ending(_)))
    }

    /// Whether there are resets of ours on their way.
    pub(super) fn are_ending(&self) -> bool {
        self.streams.values().any(|stream| matches!(stream.fate, Fate::Ending(_)))
    }
}

impl Side {
    fn new(progress: Progress, room: i64) -> Self {
        Self { progress, room, moved: 0, waited: false, lag: Duration::ZERO }
    }

    /// Only time counts at whose beginning and end the client was waited for.
    fn look(&mut self, waits: bool, passed: Duration, rate: u32) {
        let moved = std::mem::take(&mut self.moved);
        if std::mem::replace(&mut self.waited, waits) && waits {
            self.lag += passed;
        }
        self.lag = match (moved, rate) {
            (0, _) => self.lag,
            (_, 0) => Duration::ZERO,
            (moved, rate) => {
                self.lag.saturating_sub(Duration::from_millis(moved.saturating_mul(1000) / u64::from(rate)))
            }
        };
    }
}
