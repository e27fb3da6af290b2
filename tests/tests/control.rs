//! What is asked for over the control socket is done, and who asked hears how it ended.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use hatchery_control::{MasterState, Operation, Refusal, Reply, Request, Until, Whom, WorkerState};
use hatchery_tests::control::{self, SOCKET};
use hatchery_tests::wait::PATIENCE;
use hatchery_tests::{End, Program, Start, log};
use nix::sys::signal::Signal;

#[test]
fn the_status_is_what_the_processes_are() {
    let lab = Start::lab().controlled().ready();
    for _ in 0..3 {
        assert_eq!(lab.get("/").expect("an answer").status, 200);
    }
    let status = lab.status();
    assert_eq!((status.version, status.master, status.generation), (1, lab.serving(), 1));
    assert_eq!((status.state, status.operation), (MasterState::Serving, None));
    assert!(status.predecessors.is_empty());
    let pids: Vec<i32> = status.workers.iter().map(|worker| worker.pid).collect();
    assert_eq!(pids.into_iter().collect::<std::collections::BTreeSet<_>>(), lab.ready());
    assert!(status.workers.iter().all(|worker| worker.state == WorkerState::Ready && worker.age_seconds >= 0.0));
    assert_eq!(status.totals.requests, 3);
    let listener = &status.listeners[0];
    assert_eq!((listener.address.as_str(), listener.queues, listener.queued), (lab.address(), 1, Some(0)));
    assert!(listener.backlog > 0);
    assert_eq!(fs::metadata(lab.control_path()).expect("the socket").permissions().mode() & 0o777, 0o600);
    let again = lab.status();
    assert_eq!(again.totals, status.totals);
    lab.stop();
}

#[test]
fn one_connection_asks_again_and_again() {
    let lab = Start::lab().controlled().ready();
    let mut client = hatchery_control::Client::connect(&lab.control_path()).expect("it listens");
    for _ in 0..200 {
        assert!(client.ask(&Request::Status, |_| ()).expect("an answer").is_last());
    }
    lab.stop();
}

#[test]
fn connections_that_wait_are_counted() {
    let lab = Start::lab().set("workers", "1").controlled().ready();
    let worker = *lab.ready().first().expect("a worker");
    lab.freeze(worker);
    let waiting: Vec<_> = (0..5).map(|_| std::net::TcpStream::connect(lab.address()).expect("room")).collect();
    lab.until("they are counted", || lab.status().listeners[0].queued == Some(5));
    lab.thaw(worker);
    drop(waiting);
    lab.stop();
}

#[test]
fn a_reload_is_waited_for() {
    let lab = Start::lab().controlled().ready();
    let old = lab.ready();
    let told = lab.ask(&Request::Reload { wait: true });
    assert_eq!(told.done(), "reload is done: every worker is new");
    assert_eq!(told.progress.first().map(String::as_str), Some("reload begins"));
    assert!(told.progress.iter().any(|line| line.contains("is ready")), "{:?}", told.progress);
    // An old one has its new title a moment after it was told.
    lab.until("every worker is new", || lab.ready().is_disjoint(&old));
    assert!(lab.log().contains("asks for reload"), "{}", lab.log());
    lab.stop();
}

#[test]
fn a_reload_that_fails_says_why() {
    let config = "workers = 2\n";
    let lab = Start::lab().without("workers").config(config).controlled().ready();
    fs::write(lab.path("lab.toml"), "workers = [\n").expect("a file");
    let told = lab.ask(&Request::Reload { wait: true });
    let (because, text) = told.failed();
    assert_eq!(because, Refusal::Failed);
    assert!(text.contains("reload failed") && text.contains("lab.toml"), "{text}");
    lab.stop();
}

#[test]
fn one_reload_after_the_other_has_an_end_of_its_own() {
    let lab = Start::lab().controlled().ready();
    let asked: Vec<_> = (0..3).map(|_| lab.asks(Request::Reload { wait: true })).collect();
    for told in asked {
        assert_eq!(told.join().expect("no panic").done(), "reload is done: every worker is new");
    }
    assert_eq!(lab.status().operation, None);
    lab.stop();
}

#[test]
fn workers_are_added_and_sent_away() {
    let lab = Start::lab().controlled().ready();
    assert_eq!(lab.ask(&Request::Scale { workers: 4, wait: true }).done(), "scaled: 4 workers are ready");
    assert_eq!(lab.ready().len(), 4);
    assert_eq!(lab.ask(&Request::Scale { workers: 1, wait: true }).done(), "scaled: 1 worker is ready");
    lab.until("the others have heard of it", || lab.ready().len() == 1);
    assert_eq!(lab.ask(&Request::Scale { workers: 2, wait: false }).done(), "scaled to 2 workers");
    for workers in [0, 513] {
        let told = lab.ask(&Request::Scale { workers, wait: true });
        let (because, text) = told.failed();
        assert_eq!(because, Refusal::Refused);
        assert!(text.contains("1 to 512 workers can run"), "{text}");
    }
    lab.stop();
}

#[test]
fn one_worker_is_replaced_and_no_other() {
    let lab = Start::lab().controlled().ready();
    let in_slot = |slot: u16| {
        let status = lab.status();
        let found = status.workers.iter().find(|worker| worker.slot == slot && worker.state == WorkerState::Ready);
        found.map(|worker| worker.pid)
    };
    let (first, second) = (in_slot(0), in_slot(1));
    let told = lab.ask(&Request::Recycle { whom: Whom::Slot(1), wait: true });
    assert!(told.done().starts_with("slot 1 is replaced: its worker is pid "), "{told:?}");
    assert!(in_slot(0) == first && in_slot(1) != second);
    let told = lab.ask(&Request::Recycle { whom: Whom::Slot(2), wait: true });
    assert_eq!(told.failed(), (Refusal::Refused, "recycle of slot 2 refused: no worker is ready there"));
    lab.stop();
}

#[test]
fn logs_are_opened_again() {
    let lab = Start::lab().controlled().ready();
    assert_eq!(lab.ask(&Request::Reopen).done(), "logs are open again");
    lab.stop();
}

#[test]
fn a_stop_is_waited_for_and_a_second_one_joins_it() {
    let lab = Start::lab().controlled().ready();
    let master = lab.serving();
    let slow = client_in_the_middle(&lab);
    let first = lab.asks(Request::Stop { wait: true });
    lab.until("it drains", || lab.status().state == MasterState::Draining);
    assert_eq!(lab.status().operation, Some(Operation::Stop));
    assert_eq!(lab.ask(&Request::Stop { wait: false }).done(), "it stops already");
    assert!(lab.ask(&Request::Reload { wait: true }).failed().1.contains("stopping"));
    assert_eq!(slow.join().expect("no panic").expect("an answer").status, 200);
    assert_eq!(first.join().expect("no panic").done(), "stopped: everything was drained, exit code 0");
    assert_eq!(lab.end_of(master), End::Code(0));
    lab.assert_gone();
    assert!(lab.sockets().is_empty(), "{:?}", lab.sockets());
}

#[test]
fn the_first_line_says_at_once_that_it_begins_or_waits() {
    let lab = Start::lab().controlled().set("stop-delay", "10m").set("boot-timeout", "10m").ready();
    let first = |request: Request| {
        let mut stream = UnixStream::connect(lab.control_path()).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        stream.write_all(request.to_line().as_bytes()).expect("room");
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).expect("a line");
        match Reply::from_line(&line).expect("a reply") {
            Reply::Progress { text, .. } => (stream, text),
            other => panic!("{other:?}"),
        }
    };
    let scale = first(Request::Scale { workers: 3, wait: true });
    let recycle = first(Request::Recycle { whom: Whom::Slot(0), wait: true });
    // A program that never boots.
    lab.install(&Program::lab_with("LAB_BOOT=hang"));
    let upgrade = first(Request::Upgrade { wait: Until::Done });
    let stop = first(Request::Stop { wait: true });
    let second = first(Request::Stop { wait: true });
    let begins = [scale, recycle, upgrade, stop, second].map(|(_stays, text)| text);
    assert_eq!(begins[..3], ["scaled to 3 workers", "slot 0 is being replaced", "upgrade begins"]);
    assert!(begins[3].starts_with("stop asked for, it begins in"), "{begins:?}");
    assert_eq!(begins[4], "it stops already");
    lab.signal_to(lab.first(), Signal::SIGINT);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
}

fn client_in_the_middle(
    lab: &hatchery_tests::Lab,
) -> thread::JoinHandle<Result<hatchery_tests::client::Answer, hatchery_tests::client::Failure>> {
    let address = lab.address().to_owned();
    let slow = thread::spawn(move || hatchery_tests::client::get(&address, "/sleep?ms=2000"));
    lab.until("somebody asks", || lab.status().workers.iter().any(|worker| worker.in_flight == 1));
    slow
}

#[test]
fn an_upgrade_is_waited_for() {
    let lab = Start::lab().controlled().ready();
    let old = lab.serving();
    let told = lab.ask(&Request::Upgrade { wait: Until::Done });
    assert!(told.done().starts_with("upgrade is done"), "{told:?}");
    assert!(told.progress.iter().any(|line| line.contains("booting workers")), "{:?}", told.progress);
    let status = lab.status();
    assert_eq!((status.generation, status.master), (2, lab.serving()));
    assert_ne!(old, status.master);
    lab.until("the predecessor is gone", || lab.status().predecessors.is_empty());
    lab.until("its name is gone", || lab.sockets() == [SOCKET]);
    lab.stop();
}

#[test]
fn an_upgrade_that_fails_says_why() {
    let lab = Start::lab().set("boot-timeout", "3s").controlled().ready();
    let master = lab.serving();
    for (program, why) in [
        (Program::lab_with("LAB_BOOT=fail"), "lab told to fail"),
        (Program::lab_with("LAB_BOOT=hang"), "within boot-timeout"),
        (Program::Script("exit 7".to_owned()), "exit code 7"),
        (Program::Missing, "No such file"),
    ] {
        lab.install(&Program::lab());
        lab.install(&program);
        let told = lab.ask(&Request::Upgrade { wait: Until::Done });
        let (because, text) = told.failed();
        assert!(because == Refusal::Failed && text.contains(why), "{text}");
        // Until the one that failed is gone there is no other.
        lab.until("it is over", || lab.status().operation.is_none());
        assert_eq!(lab.status().master, master);
    }
    lab.install(&Program::lab_with("LAB_BOOT=crash"));
    let told = lab.ask(&Request::Upgrade { wait: Until::Done });
    // It was ready, so it has taken over; then it showed itself broken, and was taken back.
    assert!(told.last.is_ok(), "{told:?}");
    lab.until("it serves again", || lab.sockets() == [SOCKET] && lab.status().master == master);
    lab.stop();
}

#[test]
fn who_waits_for_an_upgrade_that_fails_does_not_hear_of_the_next_one() {
    let lab = Start::lab().set("boot-timeout", "1s").controlled().ready();
    // It is killed two seconds after that.
    lab.install(&Program::Script("trap '' TERM\nwhile :; do sleep 0.1; done".to_owned()));
    let told = thread::scope(|scope| {
        let waiting = scope.spawn(|| lab.ask(&Request::Upgrade { wait: Until::Done }));
        lab.until_logged(log::UPGRADE_FAILED, 1);
        lab.install(&Program::lab());
        lab.signal(Signal::SIGUSR2);
        waiting.join().expect("no panic")
    });
    let (because, text) = told.failed();
    assert!(because == Refusal::Failed && text.contains("within boot-timeout"), "{text}");
    lab.until("the next one serves", || lab.generation() == Some(2));
    lab.until("the predecessor is gone", || lab.has_ended(lab.first()));
    lab.stop();
}

#[test]
fn a_predecessor_that_drains_can_be_asked_itself() {
    let lab = Start::lab().controlled().ready();
    let old = lab.serving();
    let slow = client_in_the_middle(&lab);
    assert!(lab.ask(&Request::Upgrade { wait: Until::Done }).done().starts_with("upgrade is done"));
    let status = lab.status();
    let [before] = &status.predecessors[..] else { panic!("{:?}", status.predecessors) };
    assert_eq!((before.master, before.generation), (old, 1));
    let path = before.control.clone().expect("it can be asked");
    assert_eq!(path, lab.path(&format!("{SOCKET}.{old}")));
    let there = control::ask(&path, &Request::Status).status();
    assert_eq!((there.master, there.state), (old, MasterState::Draining));
    let (because, _) = (control::ask(&path, &Request::Reload { wait: true }).failed().0, ());
    assert_eq!(because, Refusal::Replaced);
    assert_eq!(slow.join().expect("no panic").expect("an answer").status, 200);
    lab.until("its name is gone", || lab.sockets() == [SOCKET]);
    lab.until("it is gone", || lab.status().predecessors.is_empty());
    lab.stop();
}

#[test]
fn a_living_socket_is_not_stolen_and_a_dead_one_is_replaced() {
    let folder = tempfile::TempDir::with_prefix("hatchery-ctl-").expect("a folder");
    let path = folder.path().join("ctl");
    let start = || Start::lab().set("control", &path.display().to_string());
    let living = UnixListener::bind(&path).expect("nothing is there");
    let inode = fs::metadata(&path).expect("it is there").ino();
    start().ended().assert_one_line(1, &[&path.display().to_string(), "is served by a running process"]);
    assert_eq!(fs::metadata(&path).expect("it is there").ino(), inode);
    drop(living);
    let lab = start().ready();
    assert_eq!(control::ask(&path, &Request::Status).status().master, lab.serving());
    lab.stop();
    assert!(!path.exists());
    fs::write(&path, "text").expect("a file");
    start().ended().assert_one_line(1, &[&path.display().to_string(), "is no socket"]);
    assert_eq!(fs::read_to_string(&path).expect("a file"), "text");
}

#[test]
fn one_that_somebody_has_put_there_since_is_left_alone() {
    let lab = Start::lab().controlled().ready();
    fs::remove_file(lab.control_path()).expect("it is there");
    let other = UnixListener::bind(lab.control_path()).expect("nothing is there");
    lab.signal(Signal::SIGTERM);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    assert!(UnixStream::connect(lab.control_path()).is_ok());
    drop(other);
}

#[test]
fn a_killed_masters_socket_is_no_hindrance() {
    let lab = Start::lab().controlled().ready();
    lab.signal_to(lab.serving(), Signal::SIGKILL);
    lab.until("all are gone", || lab.processes().is_empty());
    assert!(lab.control_path().exists());
    let path = lab.control_path().display().to_string();
    let next = Start::lab().set("control", &path).ready();
    assert_eq!(lab.status().master, next.serving());
    next.stop();
}

#[test]
fn a_daemon_is_asked_as_any_server() {
    let lab = Start::lab().controlled().daemon();
    let first = lab.status().master;
    assert_eq!(first, lab.serving());
    assert!(lab.ask(&Request::Reload { wait: true }).last.is_ok());
    assert!(lab.ask(&Request::Upgrade { wait: Until::Done }).done().starts_with("upgrade is done"));
    assert_eq!((lab.status().generation, lab.status().master), (2, lab.serving()));
    let told = lab.ask(&Request::Stop { wait: true });
    assert_eq!(told.done(), "stopped: everything was drained, exit code 0");
    lab.assert_gone();
    assert!(lab.sockets().is_empty(), "{:?}", lab.sockets());
}

#[test]
fn a_server_with_an_anchor_is_asked_as_any_other() {
    let lab = Start::lab().controlled().set("anchor", "always").ready();
    for generation in 1..=3 {
        let status = lab.status();
        assert_eq!((status.generation, status.master), (generation, lab.serving()));
        assert_ne!(status.master, lab.first(), "the anchor answers nobody");
        if generation < 3 {
            assert!(lab.ask(&Request::Upgrade { wait: Until::Done }).done().starts_with("upgrade is done"));
        }
    }
    lab.until("the predecessors are gone", || lab.sockets() == [SOCKET]);
    let told = lab.ask(&Request::Stop { wait: true });
    assert_eq!(told.done(), "stopped: everything was drained, exit code 0");
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    lab.assert_gone();
    assert!(lab.sockets().is_empty(), "{:?}", lab.sockets());
}
