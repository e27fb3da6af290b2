//! The board is shared across forks, whichever memory it got.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;

use hatchery_sys::board::{Board, Sample, Totals, read_foreign};
use hatchery_sys::wait::Status;

use crate::Case;
use crate::support::{child, forbid, join, temp_file};

pub(crate) const CASES: &[Case] = &[
    ("board::is_shared_with_children_and_folds_the_dead", shared),
    ("board::cannot_be_resized", sealed),
    ("board::without_memfd_is_a_file_without_a_name", without_memfd),
    ("board::without_any_file_is_shared_all_the_same", without_any_file),
    ("board::of_strangers_is_not_trusted", strangers),
    ("board::cells_do_not_share_cache_lines", cells_are_apart),
    ("board::header_of_an_older_version_is_read", older_header),
    ("board::header_is_read_by_an_older_version", newer_header),
    ("board::sample_tells_of_live_workers", samples),
];

const SOME: Totals = Totals { accepted: 3, requests: 40, panics: 1, moved: 7, refused: 2 };

fn shared() {
    let board = Board::create(4).expect("a board");
    assert_eq!(board.cells(), 4);
    work_in_a_child(&board);
    assert_eq!(read_foreign(board.fd().expect("a descriptor")).expect("a board"), SOME);
    board.adopt(Totals { accepted: 1, requests: u64::MAX, ..Totals::default() });
    assert_eq!(board.totals(), Totals { accepted: 4, requests: u64::MAX, ..SOME }, "it does not wrap");
}

/// A child counts in cell 2; the parent sees it, then folds it into the header.
fn work_in_a_child(board: &Board) {
    let worker = child(|| {
        let cell = board.cell(2);
        cell.pid.store(77, Relaxed);
        cell.open.store(5, Relaxed);
        cell.accepted.store(SOME.accepted, Relaxed);
        cell.requests.store(SOME.requests, Relaxed);
        cell.panics.store(SOME.panics, Relaxed);
        cell.turn.store(9, Relaxed);
        cell.moved.store(SOME.moved, Relaxed);
        cell.refused.store(SOME.refused, Relaxed);
        0
    });
    assert_eq!(join(worker), Status::Exited(0));
    assert_eq!(board.cell(2).open.load(Relaxed), 5);
    assert_eq!(board.totals(), SOME);
    board.release(2);
    assert_eq!(board.totals(), SOME, "the header has them now");
    assert_eq!((board.cell(2).pid.load(Relaxed), board.cell(2).turn.load(Relaxed)), (0, 0));
}

fn sealed() {
    let board = Board::create(4).expect("a board");
    let fd = board.fd().expect("a descriptor");
    assert!(nix::unistd::ftruncate(fd, 0).is_err());
    assert!(nix::unistd::ftruncate(fd, 1 << 20).is_err());
}

fn without_memfd() {
    forbid(&[libc::SYS_memfd_create], libc::ENOSYS);
    let board = Board::create(4).expect("a board");
    assert!(board.fd().is_some());
    work_in_a_child(&board);
}

fn without_any_file() {
    forbid(&[libc::SYS_memfd_create, libc::SYS_ftruncate], libc::EPERM);
    let board = Board::create(4).expect("a board");
    assert!(board.fd().is_none());
    work_in_a_child(&board);
}

fn strangers() {
    let empty = temp_file("");
    assert_eq!(read_foreign(empty.as_fd()).expect_err("too short").kind(), io::ErrorKind::UnexpectedEof);
    let text = temp_file("no board, but long enough to hold the header of one");
    assert_eq!(read_foreign(text.as_fd()).expect_err("no magic").kind(), io::ErrorKind::InvalidData);
    let (pipe, _other) = crate::support::pipe();
    assert!(read_foreign(pipe.as_fd()).is_err());
}

/// The header as the first version has written it: five words, and zeros behind them.
fn header(words: &[u64]) -> std::fs::File {
    let magic = u64::from_be_bytes(*b"hatchery");
    let mut file = temp_file("");
    // The version is 1, and half a word; the other half is zero.
    let words = [&[magic, u64::from_ne_bytes([1, 0, 0, 0, 0, 0, 0, 0])], words].concat();
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    file.write_all(&bytes).expect("it can be written");
    file
}

fn older_header() {
    let old = Totals { moved: 0, refused: 0, ..SOME };
    let words = [SOME.accepted, SOME.requests, SOME.panics];
    let board = header(&[&words[..], &[0; 100]].concat());
    assert_eq!(read_foreign(board.as_fd()).expect("a board"), old);
    // Not a byte more than it had.
    assert_eq!(read_foreign(header(&words).as_fd()).expect("a board"), old);
    // And one that has more than this version knows of.
    let newer = header(&[3, 40, 1, 7, 2, 99, 99]);
    assert_eq!(read_foreign(newer.as_fd()).expect("a board"), SOME);
}

fn newer_header() {
    let board = Board::create(1).expect("a board");
    board.adopt(SOME);
    let file = std::fs::File::from(board.fd().expect("a descriptor").try_clone_to_owned().expect("a descriptor"));
    let mut known = [0; 40];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut known, 0).expect("a header");
    let word = |i: usize| u64::from_ne_bytes(known[i * 8..][..8].try_into().expect("eight bytes"));
    assert_eq!((known[..8].iter().rev().copied().collect::<Vec<u8>>(), known[8]), (b"hatchery".to_vec(), 1));
    assert_eq!([word(2), word(3), word(4)], [SOME.accepted, SOME.requests, SOME.panics]);
}

fn samples() {
    let board = Board::create(4).expect("a board");
    assert_eq!(board.sample().count(), 0);
    let worker = child(|| {
        let cell = board.cell(2);
        cell.open.store(5, Relaxed);
        cell.turn.store(9, Relaxed);
        cell.pid.store(77, Relaxed);
        // What nobody can be.
        board.cell(3).pid.store(u64::MAX, Relaxed);
        0
    });
    assert_eq!(join(worker), Status::Exited(0));
    let expected = Sample { pid: hatchery_sys::Pid::from_raw(77), open: 5, turn: 9 };
    assert_eq!(board.sample().collect::<Vec<_>>(), [expected]);
    board.release(2);
    assert_eq!(board.sample().count(), 0);
}

fn cells_are_apart() {
    let board = Board::create(2).expect("a board");
    let apart = std::ptr::from_ref(board.cell(1)).addr() - std::ptr::from_ref(board.cell(0)).addr();
    assert_eq!(apart, 128);
    assert!(std::panic::catch_unwind(|| board.cell(2).pid.load(Relaxed)).is_err());
}
