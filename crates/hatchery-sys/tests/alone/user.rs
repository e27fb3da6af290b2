//! Other users, and no way back.

use std::fs;

use hatchery_sys::user::{self, Identity};
use hatchery_sys::wait::Status;
use hatchery_sys::{Signal, process};

use crate::Case;
use crate::support::{child, join, pipe, read_all, read_byte, wait_for_ever, write_byte};

pub(crate) const CASES: &[Case] = &[
    ("user::root_becomes_another_one_for_ever", becomes),
    ("user::a_group_alone", group),
    ("user::not_without_root", refused),
    ("user::a_way_back_is_an_error", way_back),
    ("user::the_signal_of_the_parents_death_has_to_be_asked_for_again", death),
    ("user::no_privileges_are_gained", no_new),
];

/// Skips loudly where only root gets any further.
fn skipped() -> bool {
    if !user::is_root() {
        eprintln!("SKIPPED: only root can become another user");
    }
    !user::is_root()
}

/// The words of a line of /proc/self/status.
fn words(name: &str) -> Vec<String> {
    let status = fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the line is there");
    line.split_ascii_whitespace().map(str::to_owned).collect()
}

fn becomes() {
    if skipped() {
        return;
    }
    let done = child(|| {
        let who = Identity::find(Some("12345"), Some("54321")).expect("numbers will do");
        who.assume().expect("root may");
        assert_eq!(words("Uid:"), ["12345"; 4]);
        assert_eq!(words("Gid:"), ["54321"; 4]);
        assert_eq!(words("Groups:"), ["54321"]);
        assert_eq!(words("CapEff:"), ["0000000000000000"]);
        assert_eq!(words("CapPrm:"), ["0000000000000000"]);
        // SAFETY: it takes a number.
        assert_eq!(unsafe { libc::setuid(0) }, -1);
        assert_eq!(user::effective(), 12345);
        assert!(who.assume().is_err(), "it may not even set its groups");
        0
    });
    assert_eq!(join(done), Status::Exited(0));
}

fn group() {
    if skipped() {
        return;
    }
    let done = child(|| {
        Identity::find(None, Some("54321")).expect("a number will do").assume().expect("root may");
        assert_eq!(words("Gid:"), ["54321"; 4]);
        assert_eq!(words("Groups:"), ["54321"]);
        assert_eq!(words("Uid:"), ["0"; 4]);
        0
    });
    assert_eq!(join(done), Status::Exited(0));
}

fn refused() {
    let done = child(|| {
        if user::is_root() {
            Identity::find(Some("12345"), Some("54321")).expect("numbers will do").assume().expect("root may");
        }
        let error = Identity::find(Some("root"), None).expect("root").assume().expect_err("not root");
        assert!(error.to_string().starts_with("setting the supplementary groups: "), "{error}");
        0
    });
    assert_eq!(join(done), Status::Exited(0));
}

/// Bit 0 of the secure bits is `SECBIT_NOROOT`, bit 2 `SECBIT_NO_SETUID_FIXUP`:
/// with that one a change of the user leaves the capability to change it again.
#[cfg(target_os = "linux")]
fn way_back() {
    if skipped() {
        return;
    }
    let done = child(|| {
        // SAFETY: it takes numbers.
        let set = unsafe { libc::prctl(libc::PR_SET_SECUREBITS, 1 << 2, 0, 0, 0) };
        if set != 0 {
            eprintln!("SKIPPED: secure bits cannot be set here");
            return 0;
        }
        let error = Identity::find(Some("12345"), Some("54321")).expect("numbers").assume().expect_err("a way back");
        assert_eq!(error.to_string(), "the privileges could be taken back");
        0
    });
    assert_eq!(join(done), Status::Exited(0));
}

#[cfg(not(target_os = "linux"))]
fn way_back() {}

fn death() {
    if skipped() {
        return;
    }
    let (mut life, mut hold) = pipe();
    let parent = child(move || {
        child(|| {
            process::die_with_parent(Signal::SIGKILL).expect("a valid signal");
            Identity::find(Some("12345"), Some("54321")).expect("numbers").assume().expect("root may");
            assert_eq!(nix::sys::prctl::get_pdeathsig(), Ok(None));
            process::die_with_parent(Signal::SIGKILL).expect("a valid signal");
            write_byte(&mut hold);
            wait_for_ever()
        });
        drop(hold);
        wait_for_ever()
    });
    read_byte(&mut life);
    process::kill(parent, Signal::SIGKILL).expect("it lives");
    assert_eq!(read_all(life), b"", "the unprivileged child is killed as well");
    assert!(matches!(join(parent), Status::Killed { signal: 9, .. }));
}

fn no_new() {
    let done = child(|| {
        assert_eq!(words("NoNewPrivs:"), ["0"]);
        process::gain_no_privileges().expect("everybody may");
        assert_eq!(words("NoNewPrivs:"), ["1"]);
        0
    });
    assert_eq!(join(done), Status::Exited(0));
}
