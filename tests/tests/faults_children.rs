//! Children that a master does not know: they are reaped, and change nothing.

use hatchery_tests::procfs::{self, Process};
use hatchery_tests::{Start, log};
use nix::sys::signal::Signal;

#[test]
fn children_of_whoever_it_was_before_are_reaped() {
    // A shell leaves its own child to the server that it becomes.
    let script = "sleep 600 & sleep 600 & exec \"$@\"";
    let lab = Start::lab().launcher(["sh", "-c", script, "sh"]).ready();
    let master = lab.first();
    let workers = lab.ready();
    let strangers: Vec<i32> = procfs::children(master).into_iter().filter(|pid| !workers.contains(pid)).collect();
    assert_eq!(strangers.len(), 2, "{:?}", lab.processes());
    lab.until("they sleep", || {
        let titles = strangers.iter().filter_map(|pid| Process::read(*pid)).map(|process| process.title);
        titles.filter(|title| title.starts_with("sleep")).count() == 2
    });
    let said = lab.log();

    lab.signal_to(strangers[0], Signal::SIGKILL);
    lab.until("it is reaped", || !procfs::children(master).contains(&strangers[0]));
    assert_eq!(lab.ready(), workers);
    assert_eq!(lab.log(), said, "nobody says anything about it");

    // In the middle of an operation as well, and together with a worker.
    let victim = *workers.first().expect("a worker");
    lab.signal_to(strangers[1], Signal::SIGKILL);
    lab.signal_to(victim, Signal::SIGKILL);
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_DONE, 1);
    lab.until("only its own are left", || {
        let children = procfs::children(master);
        children.len() == 2 && children.iter().all(|pid| lab.ready().contains(pid))
    });
    lab.upgrade();
    lab.stop();
}
