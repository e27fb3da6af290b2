//! The board is shared across forks, whichever memory it got.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;

use hatchery_sys::board::{Board, Claim, Counter, Totals, read_foreign};
use hatchery_sys::wait::Status;

use crate::Case;
use crate::support::{child, forbid, join, temp_file};

pub(crate) const CASES: &[Case] = &[
    ("board::is_shared_with_children_and_keeps_what_the_dead_have_counted", shared),
    ("board::a_cell_goes_on_from_what_others_have_counted_in_it", goes_on),
    ("board::a_cell_that_another_slot_gets_keeps_what_was_counted_for_the_first_one", mixed),
    ("board::what_is_counted_aside_is_in_no_total", aside),
    ("board::two_masters_never_claim_one_cell", claims),
    ("board::processes_that_outlive_their_master_are_swept", orphans),
    ("board::is_handed_over_and_shared", handed_over),
    ("board::of_another_layout_is_read_again_and_again", elder),
    ("board::cannot_be_resized", sealed),
    ("board::without_memfd_is_a_file_without_a_name", without_memfd),
    ("board::without_any_file_is_shared_all_the_same", without_any_file),
    ("board::of_strangers_is_not_trusted", strangers),
    ("board::cells_do_not_share_cache_lines", cells_are_apart),
    ("board::header_of_an_older_version_is_read", older_header),
    ("board::header_is_read_by_an_older_version", newer_header),
];

const SOME: [(Counter, u64); 5] =
    [(Counter::Accepted, 3), (Counter::Requests, 40), (Counter::Panics, 1), (Counter::Moved, 7), (Counter::Refused, 2)];

fn some() -> Totals {
    SOME.iter().fold(Totals::default(), |totals, (counter, count)| totals.with(*counter, *count))
}

fn claim(board: &Board, slot: u16) -> usize {
    board.claim(Claim { slot, generation: 1, aside: false }).expect("a free cell")
}

fn shared() {
    let board = Board::create(4).expect("a board");
    assert_eq!((board.cells(), board.used().count()), (4, 0));
    work_in_a_child(&board);
    assert_eq!(read_foreign(board.fd().expect("a descriptor")).expect("a board"), some());
    board.note(Counter::RestartCrash);
    board.note(Counter::RestartCrash);
    let totals = board.totals();
    assert_eq!((totals[Counter::RestartCrash], totals.restarts(), totals[Counter::Requests]), (2, 2, 40));
}

/// A child counts in a cell; the parent sees it, also after its end.
fn work_in_a_child(board: &Board) {
    let i = claim(board, 2);
    let worker = child(|| {
        let cell = board.cell(i);
        cell.pid.store(77, Relaxed);
        cell.open.store(5, Relaxed);
        cell.turn.store(9, Relaxed);
        SOME.iter().for_each(|(counter, count)| cell.count(*counter).store(*count, Relaxed));
        0
    });
    assert_eq!(join(worker), Status::Exited(0));
    let cell = board.cell(i);
    assert_eq!((cell.open.load(Relaxed), cell.slot(), cell.generation()), (5, Some(2), 1));
    assert_eq!((cell.accepted(), cell.requests()), (3, 40));
    assert_eq!(board.totals(), some());
    board.release(i);
    assert_eq!(board.totals(), some(), "what it has counted stays");
    assert_eq!([&cell.pid, &cell.open, &cell.turn].map(|gauge| gauge.load(Relaxed)), [0; 3]);
}

fn goes_on() {
    let board = Board::create(3).expect("a board");
    work_in_a_child(&board);
    // Another slot has a cell of its own for as long as there are any.
    assert_eq!((claim(&board, 2), claim(&board, 7), claim(&board, 2)), (0, 1, 2));
    let cell = board.cell(0);
    assert_eq!((cell.accepted(), cell.requests()), (0, 0), "its process has not begun");
    cell.add(Counter::Requests);
    assert_eq!((cell.requests(), board.totals()[Counter::Requests]), (1, 41));
    assert_eq!(board.claim(Claim { slot: 9, generation: 1, aside: false }), None, "all are taken");
    board.release(1);
    assert_eq!(claim(&board, 9), 1, "then any will do");
}

fn mixed() {
    let board = Board::create(3).expect("a board");
    let of = |slot: u16| -> u64 {
        let home = board.used().filter(|cell| cell.home() == Some(slot));
        home.map(|cell| cell.at_home()[Counter::Requests]).sum()
    };
    let work = |i: usize, requests: u32| (0..requests).for_each(|_| board.cell(i).add(Counter::Requests));
    let cells: Vec<usize> = (0..3).map(|_| claim(&board, 0)).collect();
    cells.iter().for_each(|i| work(*i, 5));
    cells.iter().for_each(|i| board.release(*i));
    let (first, second) = (claim(&board, 1), claim(&board, 2));
    assert_eq!((first, second), (0, 1), "any that is free");
    work(first, 7);
    work(second, 1);
    assert_eq!((board.cell(first).slot(), board.cell(first).requests()), (Some(1), 7));
    assert_eq!([of(0), of(1), of(2)], [15, 0, 0], "nobody's counts go back");
    assert_eq!(board.totals()[Counter::Requests], 23);
    board.release(first);
    board.release(second);
    assert_eq!([of(0), of(1), of(2)], [15, 0, 0]);
    // Cells that several have had are for whoever has none, so that the others stay somebody's.
    assert_eq!((claim(&board, 3), claim(&board, 0), claim(&board, 0)), (0, 2, 1));
    work(2, 10);
    work(1, 100);
    assert_eq!([of(0), of(3)], [25, 0]);
    assert_eq!(board.totals()[Counter::Requests], 133);
}

fn aside() {
    let board = Board::create(4).expect("a board");
    let i = board.claim(Claim { slot: 2, generation: 1, aside: true }).expect("a free cell");
    board.cell(i).add(Counter::Requests);
    assert_eq!((board.totals(), board.cell(i).requests()), (Totals::default(), 1));
    board.release(i);
    let others: Vec<usize> = (0..3).map(|_| claim(&board, 2)).collect();
    assert!(!others.contains(&i), "it never becomes one that counts");
    assert_eq!(board.claim(Claim { slot: 2, generation: 1, aside: false }), None);
}

fn claims() {
    let board = Board::create(64).expect("a board");
    let masters: Vec<_> = (0..4)
        .map(|_| {
            child(|| {
                let claimed: Vec<usize> = (0..16).map(|slot| claim(&board, slot)).collect();
                // Nobody else has had the same ones: each is still as this one has left it.
                let own = u64::from(hatchery_sys::process::pid().as_raw().unsigned_abs());
                claimed.iter().for_each(|i| board.cell(*i).pid.store(own, Relaxed));
                i32::from(claimed.iter().any(|i| board.cell(*i).owner() != own))
            })
        })
        .collect();
    let owners: Vec<u64> = masters.iter().map(|master| u64::from(master.as_raw().unsigned_abs())).collect();
    masters.into_iter().for_each(|master| assert_eq!(join(master), Status::Exited(0)));
    assert_eq!(board.used().count(), 64);
    for owner in owners {
        assert_eq!(board.used().filter(|cell| cell.pid.load(Relaxed) == owner).count(), 16);
    }
}

fn orphans() {
    let board = Board::create(3).expect("a board");
    let (mine, alive) = (claim(&board, 0), u64::from(hatchery_sys::process::pid().as_raw().unsigned_abs()));
    board.cell(mine).pid.store(alive, Relaxed);
    let master = child(|| {
        let (gone, left) = (claim(&board, 1), claim(&board, 2));
        // One of its children is gone as well, the other is there.
        let own = u64::from(hatchery_sys::process::pid().as_raw().unsigned_abs());
        board.cell(gone).pid.store(own, Relaxed);
        board.cell(left).pid.store(alive, Relaxed);
        board.cell(gone).open.store(7, Relaxed);
        board.sweep();
        i32::from(board.cell(gone).owner() != own)
    });
    assert_eq!(join(master), Status::Exited(0));
    board.sweep();
    let free: Vec<bool> = board.used().map(|cell| cell.owner() == 0).collect();
    assert_eq!(free, [false, true, false]);
    assert_eq!(board.cell(1).open.load(Relaxed), 0);
}

fn handed_over() {
    let board = Board::create(4).expect("a board");
    work_in_a_child(&board);
    let copy = || board.fd().expect("a descriptor").try_clone_to_owned().expect("a descriptor");
    let other = Board::inherit(copy(), 4).expect("the same board");
    assert_eq!(other.totals(), some());
    let cell = claim(&other, 3);
    other.cell(cell).add(Counter::Requests);
    other.note(Counter::RestartBlocked);
    let totals = board.totals();
    assert_eq!((totals[Counter::Requests], totals[Counter::RestartBlocked]), (41, 1));
    // With another number of cells it is another board, which goes on from the first.
    let longer = Board::inherit(copy(), 8).expect("a board");
    assert_eq!((longer.cells(), longer.totals()), (8, totals));
    assert_eq!(longer.used().count(), 0);
}

fn elder() {
    let old = header(&[&[3, 40, 1][..], &[0; 100]].concat());
    let board = Board::inherit(old.try_clone().expect("a descriptor").into(), 4).expect("a board");
    assert_eq!(board.totals()[Counter::Requests], 40);
    board.cell(claim(&board, 0)).add(Counter::Requests);
    let write = |count: u64| {
        std::os::unix::fs::FileExt::write_all_at(&old, &count.to_ne_bytes(), 24).expect("it can be written");
    };
    write(45);
    assert_eq!(board.totals()[Counter::Requests], 46);
    // Whatever becomes of that one, nothing goes back.
    write(2);
    assert_eq!(board.totals()[Counter::Requests], 46);
    // And what was read stays for those who come later, and do not know of it.
    let fd = board.fd().expect("a descriptor").try_clone_to_owned().expect("a descriptor");
    assert_eq!(Board::inherit(fd, 4).expect("the same board").totals()[Counter::Requests], 46);
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
    work_in_a_child(&board);
    // It can be cut, so a successor does not map it.
    let fd = board.fd().expect("a descriptor").try_clone_to_owned().expect("a descriptor");
    let next = Board::inherit(fd, 4).expect("a board");
    assert_eq!((next.totals(), next.used().count()), (some(), 0));
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
    let old = some().with(Counter::Moved, 0).with(Counter::Refused, 0);
    let words = [3, 40, 1];
    let board = header(&[&words[..], &[0; 100]].concat());
    assert_eq!(read_foreign(board.as_fd()).expect("a board"), old);
    // Not a byte more than it had.
    assert_eq!(read_foreign(header(&words).as_fd()).expect("a board"), old);
    // What stands behind its counts are cells.
    let with_cells = header(&[3, 40, 1, 7, 2, 99, 99]);
    assert_eq!(read_foreign(with_cells.as_fd()).expect("a board"), some());
}

fn newer_header() {
    let board = Board::create(1).expect("a board");
    work_in_a_child(&board);
    let file = std::fs::File::from(board.fd().expect("a descriptor").try_clone_to_owned().expect("a descriptor"));
    let mut known = [0; 56];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut known, 0).expect("a header");
    let word = |i: usize| u64::from_ne_bytes(known[i * 8..][..8].try_into().expect("eight bytes"));
    assert_eq!((known[..8].iter().rev().copied().collect::<Vec<u8>>(), known[8]), (b"hatchery".to_vec(), 1));
    assert_eq!([word(2), word(3), word(4), word(5), word(6)], SOME.map(|(_, count)| count));
}

fn cells_are_apart() {
    let board = Board::create(2).expect("a board");
    let apart = std::ptr::from_ref(board.cell(1)).addr() - std::ptr::from_ref(board.cell(0)).addr();
    assert_eq!(apart, 1664);
    assert_eq!(apart % 128, 0);
    assert!(std::panic::catch_unwind(|| board.cell(2).pid.load(Relaxed)).is_err());
}
