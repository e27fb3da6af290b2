//! The title shows, and what std says stays right.

use std::ffi::OsString;
use std::fs;

use hatchery_sys::wait::Status;
use hatchery_sys::{Pid, process, title};

use crate::Case;
use crate::support::{child, join};

pub(crate) const CASES: &[Case] = &[
    ("title::shows_in_a_process_and_in_its_children", shows),
    ("title::leaves_arguments_and_environment_as_they_are", leaves),
    ("title::is_cut_to_its_room", cut),
];

fn shown(pid: Pid) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/cmdline")).expect("/proc")
}

fn shows() {
    title::set("hatchery: master gen 3");
    assert_eq!(shown(process::pid()), b"hatchery: master gen 3\0");
    assert_eq!(fs::read_to_string("/proc/self/comm").expect("/proc"), "master gen 3\n");
    let worker = child(|| {
        title::set("hatchery: worker 1 gen 3 starting");
        assert_eq!(shown(process::pid()), b"hatchery: worker 1 gen 3 starting\0");
        title::set("hatchery: worker 1 gen 3 ready");
        assert_eq!(shown(process::pid()), b"hatchery: worker 1 gen 3 ready\0");
        assert_eq!(fs::read_to_string("/proc/self/comm").expect("/proc"), "worker 1 gen 3\n");
        0
    });
    assert_eq!(join(worker), Status::Exited(0));
    assert_eq!(shown(process::pid()), b"hatchery: master gen 3\0");
}

#[expect(clippy::disallowed_methods, reason = "this process has one thread")]
fn leaves() {
    let args: Vec<OsString> = std::env::args_os().collect();
    let vars: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    assert!(args.len() == 3 && !vars.is_empty());
    for text in ["x", &"long ".repeat(10_000), ""] {
        title::set(text);
        assert_eq!(args, std::env::args_os().collect::<Vec<_>>());
        assert_eq!(vars, std::env::vars_os().collect::<Vec<_>>());
    }
    // SAFETY: one thread.
    unsafe { std::env::set_var("HATCHERY_TEST_NEW", "value") };
    title::set("after a change");
    assert_eq!(std::env::var_os("HATCHERY_TEST_NEW"), Some("value".into()));
}

fn cut() {
    let room = shown(process::pid()).len();
    let long = "t".repeat(1 << 20);
    title::set(&long);
    let cut = shown(process::pid());
    assert!(cut.len() >= room, "it may run into the environment");
    assert!(cut.iter().all(|byte| [b't', 0].contains(byte)));
    title::set("short again");
    assert_eq!(shown(process::pid()), b"short again\0");
}
