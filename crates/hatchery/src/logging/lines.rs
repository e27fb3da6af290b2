//! Standard error, for whole lines, and without waiting for long.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hatchery_sys::turn::{self, Turn};
use hatchery_sys::{poll, process};

/// Standard error, for whole lines, and without waiting for long: a reader that stands
/// still costs lines. It would keep a master from supervising, and a worker from serving.
pub(super) struct Lines;

/// For how long a line may wait, if none was lost before it.
const PATIENCE: Duration = Duration::from_millis(100);

/// How soon it is asked again whether another process has finished its line.
const AGAIN: Duration = Duration::from_millis(1);

/// As much as a pipe takes at once, if it takes anything: `PIPE_BUF` of pipe(7).
const PIECE: usize = 4096;

/// Lines that nobody has taken, since the last one that somebody did.
static LOST: AtomicU64 = AtomicU64::new(0);

/// The last line has no end: its reader stood still in the middle of it.
static CUT: AtomicBool = AtomicBool::new(false);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let lost = LOST.load(Ordering::Relaxed);
        let patience = if lost == 0 { PATIENCE } else { Duration::ZERO };
        let stderr = io::stderr();
        let written = if lost > 0 || CUT.load(Ordering::Relaxed) {
            // With the line that follows in one write: there may be room for one only.
            let mut both = if CUT.load(Ordering::Relaxed) { b"\n".to_vec() } else { Vec::new() };
            if lost > 0 {
                both.extend(format!("hatchery: {lost} log lines of pid {} were lost\n", process::pid()).into_bytes());
            }
            both.extend_from_slice(line);
            write_line(stderr.as_fd(), &mut io::stderr(), &both, patience)
        } else {
            write_line(stderr.as_fd(), &mut io::stderr(), line, patience)
        }?;
        match written {
            Written::All => LOST.store(0, Ordering::Relaxed),
            Written::Nothing | Written::Part => LOST.store(lost + 1, Ordering::Relaxed),
        }
        if written != Written::Nothing {
            CUT.store(written == Written::Part, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    All,
    Nothing,
    Part,
}

/// One write to `stream`, which `out` leads to, where the system keeps it in one piece. To a pipe or a socket a line
/// that is longer than that goes in pieces, while no other process has its turn.
pub(super) fn write_line(
    stream: BorrowedFd<'_>,
    out: &mut impl Write,
    line: &[u8],
    patience: Duration,
) -> io::Result<Written> {
    let _turn = match my_turn(stream, patience) {
        Ok(turn) => turn,
        Err(NotInTime) => return Ok(Written::Nothing),
    };
    if turn::is_file(stream) {
        return out.write_all(line).map(|()| Written::All);
    }
    for (index, piece) in line.chunks(PIECE).enumerate() {
        let patience = if index == 0 { patience } else { PATIENCE };
        if !poll::is_writable(stream, patience) {
            return Ok(if index == 0 { Written::Nothing } else { Written::Part });
        }
        out.write_all(piece)?;
    }
    Ok(Written::All)
}

struct NotInTime;

/// `None` where there are no turns to take: a file needs none.
fn my_turn(stream: BorrowedFd<'_>, patience: Duration) -> Result<Option<Turn<'_>>, NotInTime> {
    if turn::is_file(stream) {
        return Ok(None);
    }
    let begin = Instant::now();
    loop {
        match turn::try_take(stream) {
            Ok(Some(turn)) => return Ok(Some(turn)),
            Ok(None) if begin.elapsed() < patience => thread::sleep(AGAIN),
            Ok(None) => return Err(NotInTime),
            // A terminal of a kind that has no locks, say: lines may be torn there.
            Err(_) => return Ok(None),
        }
    }
}
