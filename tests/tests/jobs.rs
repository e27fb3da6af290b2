//! Jobs: whatever one does to itself is an error value to who has ordered it,
//! and none that was accepted is lost, whoever is replaced.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use hatchery_tests::chores::{self, good};
use hatchery_tests::procfs;
use hatchery_tests::{End, Lab, Start, log, wait};
use nix::sys::signal::Signal;

const CHORES: &str = env!("CARGO_BIN_EXE_chores");

fn start() -> Start {
    chores::start(CHORES)
}

fn server(lab: &Lab) -> i32 {
    lab.one_titled("hatchery: jobs work")
}

/// One job at a time.
fn one_at_a_time() -> Start {
    start().variable("CHORES_CONCURRENCY", "1")
}

#[test]
fn whatever_a_job_does_to_itself_is_an_error_value() {
    let lab = start().ready();
    assert_eq!(lab.output("/run?echo+hello"), "hello");
    for (path, error) in [
        ("/run?fail", "Failed { text: \"told to fail\" }"),
        ("/run?panic", "Panicked { text: \"told to panic\" }"),
        ("/run?abort", "Crashed { ending: Signal(6) }"),
        ("/run?kill", "Crashed { ending: Signal(9) }"),
        ("/run?exit+7", "Crashed { ending: Code(7) }"),
        // Not done, whatever the code says.
        ("/run?exit+0", "Crashed { ending: Code(0) }"),
        ("/run?balloon", "OutOfMemory"),
        ("/run?leak", "OutOfMemory"),
        // It has coped with it.
        ("/run?reserve", "Failed"),
    ] {
        let said = lab.error(path);
        assert!(said.starts_with(error), "{path}: {said}");
    }
    // A signal for the whole group is for the master.
    assert_eq!(lab.output("/run?term"), "alive");
    assert_eq!(lab.output("/run?parent"), server(&lab).to_string());
    lab.stop();
}

#[test]
fn a_name_that_no_jobs_have_is_a_boot_that_has_failed() {
    let ended = start().variable("CHORES_ORDERS", "wrok").ended();
    assert_eq!(ended.end, End::Code(3), "{}", ended.log);
    let reason = "the application has panicked: there are no jobs with the name `wrok`: expected one of `work`";
    assert!(ended.log.contains(reason), "{}", ended.log);
}

#[test]
fn a_job_that_takes_too_long_is_killed() {
    let lab = one_at_a_time().variable("CHORES_TIME", "500").ready();
    let waiting = lab.asked("/run?wait+a");
    let job = lab.begun("a");
    let mut waiting = waiting;
    let said = waiting.answer().expect("an answer").text();
    assert!(said.starts_with("TimedOut { limit: 500ms }"), "{said}");
    lab.until_gone(job);
    assert_eq!(lab.output("/run?echo+next"), "next");
    // Of one that nobody waits for, the log tells.
    assert_eq!(lab.output("/detach?wait+b"), "accepted");
    lab.until("the log tells", || {
        lab.log().contains("a detached job of `work` was killed: it has reached its `time_limit`")
    });
    lab.stop();
}

#[test]
fn a_machine_that_stands_still_kills_no_job() {
    let lab = start().variable("CHORES_TIME", "3000").ready();
    let mut waiting = lab.asked("/run?wait+a");
    let (job, server) = (lab.begun("a"), server(&lab));
    lab.freeze(server);
    lab.freeze(job);
    let in_vain = wait::within(Duration::from_secs(5), || None::<()>);
    assert_eq!(in_vain, None);
    lab.thaw(job);
    lab.thaw(server);
    assert_eq!(lab.output("/run?echo+again"), "again", "it has looked at the clock by now");
    lab.put("a.end");
    assert_eq!(good(&waiting.answer().expect("an answer")), "waited for a");
    lab.stop();
}

#[test]
fn when_as_many_wait_as_may_the_next_one_is_refused() {
    let lab = one_at_a_time().variable("CHORES_QUEUE", "1").ready();
    assert_eq!(lab.output("/detach?wait+a"), "accepted");
    assert_eq!(lab.output("/detach?wait+b"), "accepted");
    for path in ["/run?echo+c", "/detach?append+c"] {
        let said = lab.error(path);
        assert!(said.starts_with("QueueFull"), "{said}");
    }
    lab.put("a.end");
    lab.put("b.end");
    assert_eq!(lab.file("b.ended"), "ended");
    lab.until("there is room again", || lab.get("/run?echo+d").is_ok_and(|answer| answer.status == 200));
    assert!(!lab.path("c").exists(), "what was refused does not run");
    lab.stop();
}

#[test]
fn no_more_run_at_once_than_may() {
    const JOBS: usize = 7;
    let lab = start().ready();
    let names: Vec<String> = (0..JOBS).map(|job| format!("w{job}")).collect();
    for name in &names {
        assert_eq!(lab.output(&format!("/detach?wait+{name}")), "accepted");
    }
    let begun = || names.iter().filter(|name| lab.path(&format!("{name}.begun")).exists()).count();
    for (ended, name) in names.iter().enumerate() {
        let most = JOBS.min(ended + 2);
        lab.until("as many run as may", || begun() >= most);
        assert_eq!(begun(), most);
        assert_eq!(lab.titled("hatchery: job work").len(), most - ended);
        lab.put(&format!("{name}.end"));
        lab.until("one has ended", || !lab.lines_of(&format!("{name}.ended")).is_empty());
        lab.until("it is gone", || lab.titled("hatchery: job work").len() < JOBS.min(ended + 3) - ended);
    }
    lab.stop();
}

#[test]
fn four_hundred_at_once_are_all_done() {
    let lab = start().variable("CHORES_QUEUE", "1000").ready();
    // About as many as the queue's socket holds.
    let mut clients: Vec<_> = (0..400).map(|number| lab.asked(&format!("/run?echo+{number}"))).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(good(&client.answer().expect("an answer")), number.to_string());
    }
    lab.stop();
}

#[test]
fn two_hundred_detached_jobs_leave_no_zombie() {
    let lab = start().variable("CHORES_QUEUE", "300").ready();
    let mut client = hatchery_tests::client::Client::connect(lab.address()).expect("a server");
    for _ in 0..200 {
        assert_eq!(good(&client.get("/detach?append+done").expect("an answer")), "accepted");
    }
    lab.until("all are done", || lab.lines_of("done").len() == 200);
    assert_eq!(lab.lines_of("done").iter().collect::<BTreeSet<_>>().len(), 200, "each in a process of its own");
    let server = server(&lab);
    lab.until("all were reaped", || procfs::children(server).is_empty());
    lab.stop();
}

#[test]
fn five_hundred_jobs_leave_no_descriptor_open() {
    let lab = start().set("workers", "1").ready();
    let mut client = hatchery_tests::client::Client::connect(lab.address()).expect("a server");
    let mut run = |path: &str| client.get(path).expect("an answer").status;
    for path in ["/run?echo+1", "/run?fail", "/run?abort", "/detach?append+x"] {
        run(path);
    }
    let server = server(&lab);
    lab.until("the server is idle", || procfs::children(server).is_empty());
    let open = || {
        let worker = lab.workers().into_iter().next().expect("a worker");
        [lab.serving(), server, worker].map(|pid| procfs::descriptors(pid).len())
    };
    let before = open();
    for _ in 0..100 {
        assert_eq!(run("/run?echo+1"), 200);
        assert_eq!(run("/run?fail"), 500);
        assert_eq!(run("/run?abort"), 500);
        assert_eq!(run("/detach?append+x"), 200);
        assert_eq!(run("/run?exit+3"), 500);
    }
    lab.until("as many are open as before", || open() == before);
    lab.stop();
}

#[test]
fn who_waits_no_more_cancels_the_job() {
    let lab = one_at_a_time().ready();
    let mut waiting = lab.asked("/cancel?wait+a");
    let job = lab.begun("a");
    // It waits for its turn behind the first one.
    let mut queued = lab.asked("/cancel?append+b");
    lab.put("b.cancel");
    assert_eq!(good(&queued.answer().expect("an answer")), "cancelled");
    lab.put("a.cancel");
    assert_eq!(good(&waiting.answer().expect("an answer")), "cancelled");
    lab.until_gone(job);
    assert_eq!(lab.output("/run?echo+next"), "next");
    assert!(!lab.path("a.ended").exists() && !lab.path("b").exists(), "neither went on");
    lab.stop();
}

#[test]
fn a_worker_that_dies_takes_its_jobs_along_but_not_those_it_has_detached() {
    let lab = start().set("workers", "1").ready();
    let _waiting = lab.asked("/run?wait+a");
    let job = lab.begun("a");
    assert_eq!(lab.output("/detach?wait+b"), "accepted");
    let detached = lab.begun("b");
    let (worker, server) = (lab.workers().into_iter().next().expect("a worker"), server(&lab));
    lab.signal_to(worker, Signal::SIGKILL);
    lab.until_gone(job);
    lab.put("b.end");
    assert_eq!(lab.file("b.ended"), "ended");
    lab.until_gone(detached);
    lab.until("there is another worker", || lab.ready().len() == 1);
    assert_eq!(lab.output("/run?parent"), server.to_string(), "the job server is the same");
    lab.stop();
}

#[test]
fn a_job_server_that_dies_loses_what_it_had_accepted_and_nothing_else() {
    let lab = start().ready();
    let mut waiting = lab.asked("/run?wait+a");
    let job = lab.begun("a");
    let old = server(&lab);
    // From here on it takes nothing in.
    lab.freeze(old);
    let mut queued: Vec<_> = (0..20).map(|number| lab.asked(&format!("/run?echo+{number}"))).collect();
    let mut detached = lab.asked("/detach?append+b");
    lab.signal_to(old, Signal::SIGKILL);
    let said = waiting.answer().expect("an answer");
    assert!(said.status == 503 && said.text().starts_with("Lost"), "{}", said.text());
    lab.until_gone(job);
    for (number, client) in queued.iter_mut().enumerate() {
        assert_eq!(good(&client.answer().expect("an answer")), number.to_string());
    }
    assert_eq!(good(&detached.answer().expect("an answer")), "accepted");
    assert!(lab.file("b").parse::<i32>().is_ok());
    assert_ne!(server(&lab), old);
    assert_eq!(lab.ready().len(), 2, "no worker has noticed");
    lab.stop();
}

#[test]
fn jobs_that_workers_wait_for_outlive_the_master() {
    // Nobody is to wait for that.
    let lab = start().set("drain-timeout", "10m").ready();
    let mut waiting = lab.asked("/run?wait+a");
    let _job = lab.begun("a");
    assert_eq!(lab.output("/detach?wait+b"), "accepted");
    let master = lab.serving();
    lab.signal_to(master, Signal::SIGKILL);
    assert_eq!(lab.end_of(master), End::Signal(9));
    lab.put("a.end");
    assert_eq!(good(&waiting.answer().expect("an answer")), "waited for a");
    lab.put("b.end");
    assert_eq!(lab.file("b.ended"), "ended");
    lab.until("no process is left", || lab.processes().is_empty());
}

#[test]
fn with_neither_master_nor_job_server_nobody_waits_for_ever() {
    let lab = start().set("drain-timeout", "10m").ready();
    let (master, server) = (lab.serving(), server(&lab));
    lab.freeze(server);
    // Each worker's ledger is such a file as well.
    let before = ordered(&lab);
    let mut queued = lab.asked("/run?echo+1");
    let mut detached = lab.asked("/detach?echo+1");
    lab.until("the orders are on their way", || ordered(&lab) == before + 2);
    lab.signal_to(master, Signal::SIGKILL);
    lab.signal_to(server, Signal::SIGKILL);
    for client in [&mut queued, &mut detached] {
        let said = client.answer().expect("an answer");
        assert!(said.status == 503 && said.text().starts_with("Lost"), "{}", said.text());
    }
    lab.until("no process is left", || lab.processes().is_empty());
}

/// How many orders workers have written down, each in a file in memory.
fn ordered(lab: &Lab) -> usize {
    let sheets = |pid: &i32| procfs::descriptors(*pid).values().filter(|it| it.contains("hatchery-sheet")).count();
    lab.workers().iter().map(sheets).sum()
}

#[test]
fn a_reload_loses_no_job() {
    let lab = one_at_a_time().ready();
    let mut waiting = lab.asked("/run?wait+a");
    let job = lab.begun("a");
    assert_eq!(lab.output("/detach?wait+b"), "accepted");
    let old = server(&lab);
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_DONE, 1);
    let new = lab.one_titled("hatchery: jobs work gen 1 ready");
    assert_ne!(new, old);
    assert_eq!(lab.output("/run?parent"), new.to_string());
    assert!(Path::new(&format!("/proc/{job}")).exists());
    lab.put("a.end");
    assert_eq!(good(&waiting.answer().expect("an answer")), "waited for a");
    lab.put("b.end");
    assert_eq!(lab.file("b.ended"), "ended");
    lab.until_gone(old);
    lab.stop();
}

#[test]
fn an_upgrade_loses_no_job_and_brings_its_own() {
    let lab = one_at_a_time().variable("CHORES_BUILD", "one").ready();
    let mut waiting = lab.asked("/run?wait+a");
    let _job = lab.begun("a");
    assert_eq!(lab.output("/detach?wait+b"), "accepted");
    let (old, master) = (server(&lab), lab.serving());
    lab.install(&chores::with(CHORES, "CHORES_BUILD=two"));
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::RETIRING, 1);
    assert_eq!(lab.output("/run?build"), "two");
    lab.put("a.end");
    assert_eq!(good(&waiting.answer().expect("an answer")), "waited for a");
    lab.until("the old workers are gone", || lab.workers_of(master, |_| true).is_empty());
    assert_eq!(lab.one_titled("hatchery: jobs work gen 1"), old, "it has a job left");
    lab.put("b.end");
    assert_eq!(lab.file("b.ended"), "ended");
    lab.until_gone(old);
    lab.until_gone(master);
    lab.stop();
}

#[test]
fn a_stop_waits_for_what_was_accepted() {
    let lab = one_at_a_time().ready();
    assert_eq!(lab.output("/detach?wait+a"), "accepted");
    assert_eq!(lab.output("/detach?wait+b"), "accepted");
    let _job = lab.begun("a");
    let master = lab.serving();
    // As a service manager does.
    lab.signal_all(Signal::SIGTERM);
    lab.until("the workers are gone", || lab.workers().is_empty());
    lab.put("a.end");
    lab.put("b.end");
    assert_eq!(lab.end_of(master), End::Code(0));
    assert_eq!(lab.file("b.ended"), "ended");
    lab.assert_gone();
}

#[test]
fn a_stop_does_not_wait_for_ever() {
    let lab = start().set("drain-timeout", "700ms").ready();
    assert_eq!(lab.output("/detach?wait+a"), "accepted");
    let job = lab.begun("a");
    let master = lab.serving();
    lab.signal(Signal::SIGTERM);
    assert_eq!(lab.end_of(master), End::Code(2));
    lab.until_gone(job);
    lab.assert_gone();
}

#[test]
fn inputs_and_outputs_can_be_large() {
    const LEN: usize = 20_000_000;
    let lab = start().ready();
    let reversed = lab.get(&format!("/large?{LEN}")).expect("an answer");
    assert_eq!((reversed.status, reversed.body.len()), (200, LEN + 1 - "reverse ".len()));
    assert_eq!((reversed.body[0], reversed.body[LEN / 2]), (b'!', b'x'));
    lab.stop();
}

#[test]
fn what_is_too_large_is_refused() {
    let lab = start().variable("CHORES_MAX", "1000").ready();
    assert!(lab.error("/large?1000").starts_with("InputTooLarge { len: 1001, limit: 1000 }"));
    assert!(lab.error("/run?output+1001").starts_with("OutputTooLarge { len: 1001, limit: 1000 }"));
    assert_eq!(lab.output("/run?output+1000").len(), 1000);
    lab.stop();
}

#[test]
fn a_job_has_none_of_the_servers_sockets() {
    let lab = start().variable("CHORES_KEEP", "udp").ready();
    let job = lab.output("/run?files");
    let sockets = |pid: i32| -> BTreeSet<String> {
        procfs::descriptors(pid).into_values().filter(|it| it.starts_with("socket:") || it.contains("board")).collect()
    };
    let own: BTreeSet<String> = job.lines().map(str::to_owned).collect();
    let shared = || -> Vec<String> {
        sockets(lab.serving()).union(&sockets(server(&lab))).filter(|it| own.contains(*it)).cloned().collect()
    };
    // What is kept is for everybody. The line to whoever waits for the job, its server may not have let go of yet.
    lab.until("one is shared", || shared().len() == 1);
    let listening: BTreeSet<_> = sockets(lab.serving()).difference(&sockets(server(&lab))).cloned().collect();
    assert!(!listening.is_empty(), "the job server has closed the listeners");
    lab.stop();
}
