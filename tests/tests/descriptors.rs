//! What a program that an application starts has open: nothing of the server's.

use std::collections::BTreeMap;

use hatchery_tests::{Lab, Start, client, procfs};

/// What a program has open that a worker starts now, by the worker's own handler.
fn child(address: &str) -> BTreeMap<i32, String> {
    let listed = client::get(address, "/child").expect("an answer").text();
    let line = |line: &str| {
        let (number, target) = line.split_once(" -> ")?;
        let number = number.rsplit(' ').next().and_then(|number| number.parse().ok());
        Some((number.unwrap_or_else(|| panic!("{listed}")), target.to_owned()))
    };
    listed.lines().filter_map(line).collect()
}

/// Asserts that there are the three standard streams, the directory that is listed, and
/// what the test itself was started with.
fn assert_nothing_leaks(address: &str, strays: &BTreeMap<i32, String>) {
    let open = child(address);
    assert!(open.contains_key(&0) && open.contains_key(&1) && open.contains_key(&2), "{open:?}");
    let is_its_own = |fd: i32, target: &str| fd <= 2 || (target.starts_with("/proc/") && target.ends_with("/fd"));
    let leaked: Vec<_> =
        open.iter().filter(|(fd, target)| !is_its_own(**fd, target) && strays.get(*fd) != Some(*target)).collect();
    assert!(leaked.is_empty(), "{leaked:?}");
}

/// What whoever has started this test has left open: no business of the server's.
fn strays() -> BTreeMap<i32, String> {
    let marked = |fd: &i32| {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).map(str::trim).unwrap_or_default();
        // O_CLOEXEC
        u32::from_str_radix(flags, 8).is_ok_and(|flags| flags & 0o2_000_000 != 0)
    };
    let mine = procfs::descriptors(i32::try_from(std::process::id()).expect("a pid"));
    mine.into_iter().filter(|(fd, _)| *fd > 2 && !marked(fd)).collect()
}

fn in_every_generation(lab: &Lab, address: &str) {
    let strays = strays();
    assert_nothing_leaks(address, &strays);
    lab.upgrade();
    assert_nothing_leaks(address, &strays);
    // A predecessor and a relay of its own.
    lab.upgrade();
    assert_nothing_leaks(address, &strays);
}

#[test]
fn nothing_of_a_server_is_in_programs_that_it_starts() {
    for mode in ["shared", "reuseport"] {
        let lab = Start::lab().for_a_storm().set("listen-mode", mode).ready();
        in_every_generation(&lab, lab.address());
        lab.stop();
    }
}

#[test]
fn nor_of_one_on_a_unix_socket() {
    let (start, address) = Start::lab().unix();
    let lab = start.ready();
    in_every_generation(&lab, &address);
    lab.stop();
}

#[test]
fn nor_of_a_daemon_with_an_anchor_and_a_log() {
    let lab = Start::lab().set("anchor", "always").daemon();
    in_every_generation(&lab, lab.address());
    lab.signal(nix::sys::signal::Signal::SIGTERM);
    lab.assert_gone();
}

#[test]
fn the_limit_of_open_files_is_as_high_as_it_may_be() {
    let launcher = ["sh", "-c", "ulimit -S -n 100; exec \"$@\"", "sh"];
    let lab = Start::lab().launcher(launcher).ready();
    let limits = |pid: i32| {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("/proc");
        let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line").to_owned();
        let words: Vec<String> = line.split_ascii_whitespace().map(str::to_owned).collect();
        (words[3].clone(), words[4].clone())
    };
    for _ in 0..2 {
        for pid in [lab.serving()].into_iter().chain(lab.ready()) {
            let (soft, hard) = limits(pid);
            assert_eq!(soft, hard);
            assert_ne!(soft, "100");
        }
        lab.upgrade();
    }
    // More connections than the soft limit would have let in.
    let mut held: Vec<client::Client> =
        (0..300).map(|_| client::Client::connect(lab.address()).expect("room")).collect();
    for client in &mut held {
        assert_eq!(client.get("/").expect("an answer").status, 200);
    }
    drop(held);
    lab.stop();
}
