//! The one-thread check, with and without what it asks.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use hatchery_sys::threads::{Threads, count};

use crate::Case;
use crate::support::forbid;

pub(crate) const CASES: &[Case] = &[
    ("threads::one_is_one", one),
    ("threads::others_are_named", named),
    ("threads::a_joined_thread_is_waited_for", joined),
    ("threads::where_unshare_is_forbidden_the_list_decides", forbidden),
    ("threads::where_nothing_can_be_asked_nothing_is_known", unknown),
];

const PATIENCE: Duration = Duration::from_millis(100);

fn one() {
    assert!(matches!(count(Duration::ZERO), Threads::One));
}

fn named() {
    let (stop, stopped) = mpsc::channel::<()>();
    let busy = thread::Builder::new().name("busy-bee".to_owned()).spawn(move || stopped.recv()).expect("a thread");
    until_it_has_its_name();
    assert_eq!(names(count(Duration::ZERO)), ["busy-bee"]);
    assert_eq!(names(count(PATIENCE)), ["busy-bee"]);
    drop(stop);
    let _ = busy.join();
    assert!(matches!(count(Duration::from_secs(10)), Threads::One));
}

fn joined() {
    for _ in 0..200 {
        thread::spawn(|| {}).join().expect("it ends");
        assert!(matches!(count(Duration::from_secs(10)), Threads::One));
    }
}

fn forbidden() {
    forbid(&[libc::SYS_unshare], libc::EPERM);
    one();
    named();
    joined();
}

fn unknown() {
    forbid(&[libc::SYS_unshare, libc::SYS_getdents64], libc::EPERM);
    assert!(matches!(count(Duration::ZERO), Threads::Unknown { .. }));
}

fn names(threads: Threads) -> Vec<String> {
    match threads {
        Threads::Many { names } => names,
        other @ (Threads::One | Threads::Unknown { .. }) => panic!("{other:?}"),
    }
}

/// A new thread gives itself its name, a moment after it was made.
fn until_it_has_its_name() {
    while names(count(Duration::ZERO)) != ["busy-bee"] {
        thread::yield_now();
    }
}
