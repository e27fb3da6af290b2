//! What a service manager is told, and by whom: `sd_notify(3)`.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use hatchery_tests::client::{self, Client};
use hatchery_tests::manager::{Access, Account, Manager, clock, longest};
use hatchery_tests::{Lab, Program, Start, log};
use nix::sys::signal::Signal;

fn start(manager: &Manager) -> Start {
    Start::lab().variable("NOTIFY_SOCKET", manager.address())
}

/// With a watchdog that names the first process.
fn watched(manager: &Manager, micros: u32) -> Start {
    let start = start(manager).variable("WATCHDOG_USEC", &micros.to_string());
    start.launcher(["sh", "-c", "export WATCHDOG_PID=$$; exec \"$@\"", "sh"])
}

/// Nobody but the main process has spoken.
fn all_heeded(manager: &Manager, lab: &Lab) -> Account {
    let account = manager.account(lab.first());
    assert!(account.refused.is_empty(), "{:?}", account.refused);
    account
}

/// Upgrades, and does not wait for the predecessor's end.
fn upgraded(lab: &Lab) -> i32 {
    let done = log::UPGRADE_DONE.count(&lab.log());
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_DONE, done + 1);
    lab.serving()
}

fn last_status(account: &Account) -> String {
    (*account.values("STATUS").last().expect("a status")).to_owned()
}

#[test]
fn ready_and_stopping() {
    for manager in [Manager::new(Access::Main), Manager::without_file(Access::Main)] {
        let lab = start(&manager).ready();
        manager.until(lab.first(), "READY", "1", 1);
        let account = all_heeded(&manager, &lab);
        assert_eq!(account.states(), ["READY"]);
        assert_eq!(last_status(&account), "serving: 2 of 2 workers ready, generation 1");
        assert_eq!(account.values("STATUS")[0], "preloading");
        let first = lab.first();
        lab.stop();
        assert_eq!(manager.account(first).states(), ["READY", "STOPPING"]);
        assert!(manager.account(first).refused.is_empty());
    }
}

#[test]
fn a_boot_that_fails_is_never_ready() {
    let manager = Manager::new(Access::Main);
    let lab = start(&manager).variable("LAB_BOOT", "fail").set("crash-limit", "2").spawn();
    lab.until("it gives up", || lab.has_ended(lab.first()));
    let account = all_heeded(&manager, &lab);
    assert!(account.with("READY", "1").is_empty());
    assert!(account.values("STATUS").iter().any(|status| status.contains("giving up: ")), "{account:?}");
    assert!(!account.values("EXTEND_TIMEOUT_USEC").is_empty());
}

#[test]
fn a_reload_tells_when_it_began() {
    let manager = Manager::new(Access::Main);
    let lab = start(&manager).ready();
    for count in 1..3 {
        let before = clock();
        lab.signal(Signal::SIGHUP);
        manager.until(lab.first(), "READY", "1", count + 1);
        let account = all_heeded(&manager, &lab);
        let reloading = account.with("RELOADING", "1");
        assert_eq!(reloading.len(), count);
        let began: u128 = reloading[count - 1].says["MONOTONIC_USEC"].parse().expect("a number");
        assert!(before <= began && began <= reloading[count - 1].clock, "{before} {began}");
    }
    assert_eq!(all_heeded(&manager, &lab).states(), ["READY", "RELOADING", "READY", "RELOADING", "READY"]);
    lab.stop();
}

#[test]
fn a_reload_that_fails_ends_with_ready_and_the_reason() {
    let manager = Manager::new(Access::Main);
    let lab = start(&manager).config("workers = 2").ready();
    fs::write(lab.path("lab.toml"), "workers = 'many'").expect("a file");
    lab.signal(Signal::SIGHUP);
    manager.until(lab.first(), "READY", "1", 2);
    let account = all_heeded(&manager, &lab);
    assert_eq!(account.states(), ["READY", "RELOADING", "READY"]);
    let status = last_status(&account);
    assert!(status.contains("reload failed") && status.contains("workers"), "{status}");
    lab.stop();
}

#[test]
fn an_upgrade_names_the_next_main_process_and_never_stops() {
    let manager = Manager::new(Access::Main);
    let lab = start(&manager).ready();
    let first = lab.first();
    let successor = lab.upgrade();
    manager.until(first, "READY", "1", 2);
    lab.until("the predecessor is gone", || lab.has_ended(first));
    let account = all_heeded(&manager, &lab);
    assert_eq!(account.states(), ["READY", "MAINPID", "READY", "MAINPID"], "one message has both");
    assert_eq!(account.values("MAINPID"), [successor.to_string(), successor.to_string()]);
    assert_eq!(account.with("READY", "1")[1].pid, successor);
    assert_eq!(account.main, successor);
    lab.signal(Signal::SIGHUP);
    manager.until(first, "READY", "1", 3);
    lab.signal(Signal::SIGTERM);
    manager.until(first, "STOPPING", "1", 1);
    lab.assert_gone();
    assert_eq!(all_heeded(&manager, &lab).with("STOPPING", "1")[0].pid, successor);
}

#[test]
fn an_upgrade_that_fails_changes_nothing() {
    let manager = Manager::new(Access::Main);
    let lab = start(&manager).ready();
    lab.install(&Program::lab_with("LAB_BOOT=fail"));
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_FAILED, 1);
    lab.until("the status says it", || last_status(&manager.account(lab.first())).contains("upgrade failed"));
    let account = all_heeded(&manager, &lab);
    assert_eq!((account.main, account.states()), (lab.first(), vec!["READY"]));
    lab.stop();
}

#[test]
fn a_successor_that_gives_up_hands_back_before_it_goes() {
    let manager = Manager::new(Access::Main);
    let lab = start(&manager).set("upgrade-probation", "10m").ready();
    lab.install(&Program::lab_with("LAB_BOOT=crash"));
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::TAKEN_BACK, 1);
    manager.until(lab.first(), "MAINPID", &lab.first().to_string(), 2);
    let account = all_heeded(&manager, &lab);
    assert_eq!(account.main, lab.first());
    assert_eq!(account.with("READY", "1").last().map(|message| message.pid), Some(lab.first()));
    assert!(account.with("STOPPING", "1").is_empty());
    lab.until("nothing else is left", || lab.processes().len() == 3);
    lab.stop();
}

/// A successor that is killed cannot hand back: only `NotifyAccess=all` lets its predecessor speak.
#[test]
fn a_take_back_is_heard_where_everybody_is() {
    for access in [Access::All, Access::Main] {
        let manager = Manager::new(access);
        let lab = start(&manager).set("upgrade-probation", "10m").ready();
        let successor = upgraded(&lab);
        manager.until(lab.first(), "READY", "1", 2);
        lab.signal_to(successor, Signal::SIGKILL);
        lab.until_logged(log::TAKEN_BACK, 1);
        match access {
            Access::All => {
                manager.until(lab.first(), "READY", "1", 3);
                assert_eq!(manager.account(lab.first()).main, lab.first());
            }
            Access::Main => {
                lab.until("it has tried", || !manager.account(lab.first()).refused.is_empty());
                let account = manager.account(lab.first());
                assert!(account.refused.iter().all(|message| message.pid == lab.first()));
                assert_eq!(account.main, successor, "what systemd believes until a restart");
            }
        }
        lab.stop();
    }
}

#[test]
fn a_predecessor_that_is_killed_was_not_the_main_process_any_more() {
    let manager = Manager::new(Access::Main);
    let lab = start(&manager).set("upgrade-probation", "10m").ready();
    let first = lab.first();
    let successor = upgraded(&lab);
    manager.until(first, "READY", "1", 2);
    lab.signal_to(first, Signal::SIGKILL);
    lab.until("it serves alone", || lab.processes().len() == 3);
    lab.signal(Signal::SIGHUP);
    manager.until(first, "RELOADING", "1", 1);
    manager.until(first, "READY", "1", 3);
    assert_eq!(all_heeded(&manager, &lab).main, successor);
    lab.signal(Signal::SIGTERM);
    lab.assert_gone();
}

#[test]
fn an_anchor_stays_the_main_process_and_speaks_for_all_masters() {
    let manager = Manager::new(Access::Main);
    let lab = watched(&manager, 1_000_000).set("anchor", "always").set("upgrade-probation", "10m").ready();
    let anchor = lab.first();
    manager.until(anchor, "READY", "1", 1);
    let successor = upgraded(&lab);
    manager.until(anchor, "READY", "1", 2);
    lab.signal_to(successor, Signal::SIGKILL);
    lab.until_logged(log::TAKEN_BACK, 1);
    manager.until(anchor, "READY", "1", 3);
    let before = manager.account(anchor).moments("WATCHDOG").len();
    lab.until("it is watched on", || manager.account(anchor).moments("WATCHDOG").len() > before + 4);
    let account = all_heeded(&manager, &lab);
    assert!(account.values("MAINPID").is_empty());
    lab.signal_to(anchor, Signal::SIGTERM);
    manager.until(anchor, "STOPPING", "1", 1);
    lab.assert_gone();
    all_heeded(&manager, &lab);
}

#[test]
fn a_long_drain_asks_for_more_time() {
    let manager = Manager::new(Access::Main);
    let lab = start(&manager).set("drain-timeout", "10m").ready();
    let mut open = Client::connect(lab.address()).expect("a connection");
    open.begin("/stream?chunks=120&ms=100").expect("the answer begins");
    let asked = manager.account(lab.first()).values("EXTEND_TIMEOUT_USEC").len();
    lab.signal(Signal::SIGTERM);
    manager.until(lab.first(), "STOPPING", "1", 1);
    lab.until("it asks again", || manager.account(lab.first()).values("EXTEND_TIMEOUT_USEC").len() > asked + 2);
    let account = all_heeded(&manager, &lab);
    let stopping = account.moments("STOPPING")[0];
    let first = account.moments("EXTEND_TIMEOUT_USEC").into_iter().find(|at| *at >= stopping).expect("one");
    assert!(first - stopping < Duration::from_secs(4));
    let asked: Vec<u64> = account.values("EXTEND_TIMEOUT_USEC").iter().map(|usec| usec.parse().expect("it")).collect();
    let after: Vec<_> = account.moments("EXTEND_TIMEOUT_USEC").into_iter().filter(|at| *at >= stopping).collect();
    assert!(longest(&after) < Duration::from_micros(asked[0]));
    lab.until("it says how many are left", || last_status(&manager.account(lab.first())).starts_with("draining: "));
    open.answer().expect("the whole answer");
    lab.assert_gone();
}

#[test]
fn the_watchdog_hears_of_workers_that_live_and_of_no_other() {
    // Half of it may be late on a busy machine; the whole may not.
    let manager = Manager::new(Access::Main);
    let lab = watched(&manager, 4_000_000).set("workers", "1").set("heartbeat-timeout", "10m").ready();
    let first = lab.first();
    let pings = || manager.account(first).moments("WATCHDOG");
    lab.until("it lives", || pings().len() > 4);
    assert!(longest(&pings()) < Duration::from_secs(4));
    // A loop that is blocked is not spoken for.
    let address = lab.address().to_owned();
    let blocked = std::thread::spawn(move || client::get(&address, "/spin?ms=9000").map(|answer| answer.status));
    lab.until("it is silent", || pings().last().is_some_and(|last| last.elapsed() > Duration::from_secs(4)));
    let silent = pings().len();
    assert_eq!(blocked.join().expect("a thread").expect("an answer"), 200);
    lab.until("it lives again", || pings().len() > silent);

    // The successor is watched as well, whatever process the variable names.
    let successor = lab.upgrade();
    lab.until("the successor lives", || {
        manager
            .account(first)
            .heeded
            .iter()
            .filter(|said| said.pid == successor && said.says.contains_key("WATCHDOG"))
            .count()
            > 3
    });
    all_heeded(&manager, &lab);
    lab.signal(Signal::SIGTERM);
    lab.assert_gone();
}

#[test]
fn a_watchdog_of_another_process_is_not_served() {
    let manager = Manager::new(Access::Main);
    let lab = start(&manager).variable("WATCHDOG_USEC", "400000").variable("WATCHDOG_PID", "1").ready();
    lab.upgrade();
    manager.until(lab.first(), "READY", "1", 2);
    lab.signal(Signal::SIGHUP);
    manager.until(lab.first(), "READY", "1", 3);
    assert!(all_heeded(&manager, &lab).moments("WATCHDOG").is_empty());
    lab.signal(Signal::SIGTERM);
    lab.assert_gone();
}

#[test]
fn on_demand_is_ready_before_anybody_comes() {
    let manager = Manager::new(Access::Main);
    let mut lab = watched(&manager, 1_000_000).argument("--on-demand").set("idle-timeout", "500ms").spawn();
    lab.wait_until_dormant();
    manager.until(lab.first(), "STATUS", "on demand: waiting for the first connection", 1);
    assert_eq!(manager.account(lab.first()).states(), ["READY"]);
    assert_eq!(lab.get("/").expect("an answer").text(), "Hello, World!");
    manager.until(lab.first(), "STATUS", "on demand: waiting for the first connection", 2);
    let pings = || manager.account(lab.first()).moments("WATCHDOG").len();
    let before = pings();
    lab.until("it lives while it sleeps", || pings() > before + 4);
    all_heeded(&manager, &lab);
    lab.signal(Signal::SIGTERM);
    manager.until(lab.first(), "STOPPING", "1", 1);
    lab.assert_gone();
}

#[test]
fn nobody_who_listens_holds_nothing_up() {
    const TROUBLE: log::Line = log::Line(&["cannot tell the service manager how it goes"]);
    let folder = tempfile::tempdir().expect("a folder");
    let full = folder.path().join("full");
    let receiver = UnixDatagram::bind(&full).expect("nothing is there");
    let sender = UnixDatagram::unbound().expect("a socket");
    sender.set_nonblocking(true).expect("a flag");
    while sender.send_to(b"READY=1", &full).is_ok() {}
    for path in [full, folder.path().join("missing")] {
        let lab = Start::lab().variable("NOTIFY_SOCKET", &path.display().to_string()).ready();
        lab.signal(Signal::SIGHUP);
        lab.until_logged(log::RELOAD_DONE, 1);
        lab.upgrade();
        assert_eq!(lab.get("/").expect("an answer").text(), "Hello, World!");
        assert_eq!(TROUBLE.count(&lab.log()), 2, "once for each master:\n{}", lab.log());
        lab.signal(Signal::SIGTERM);
        lab.assert_gone();
    }
    drop(receiver);
    let lab = Start::lab().variable("NOTIFY_SOCKET", "vsock:2:1234").ready();
    lab.until_logged(log::Line(&["NOTIFY_SOCKET: `vsock:2:1234` is neither a path nor an abstract socket"]), 1);
    lab.stop();
}
