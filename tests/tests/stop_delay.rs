//! Between the order to stop and the stop: clients are served, and load balancers told.

use std::fs;
use std::time::{Duration, Instant};

use hatchery_control::{MasterState, Operation, Refusal, Request, Until};
use hatchery_tests::client::{self, Client};
use hatchery_tests::command::{begin, hatchery};
use hatchery_tests::load::Load;
use hatchery_tests::manager::{Access, Manager};
use hatchery_tests::procfs::{Process, Role};
use hatchery_tests::{End, Lab, Program, Start, admin, log};
use nix::sys::signal::Signal;

/// Whoever waits for the end of the delay has done something wrong.
const LONG: &str = "10m";

fn start(delay: &str) -> Start {
    Start::lab().controlled().set("admin", "127.0.0.1:0").set("stop-delay", delay)
}

/// The status and the text of `/readyz`.
fn readyz(lab: &Lab) -> (u16, String) {
    let answer = client::get(&admin::address(lab), "/readyz").expect("an answer");
    (answer.status, answer.text())
}

/// Asks it to stop, and waits until everybody is told.
fn announce(lab: &Lab, signal: Signal) {
    assert_eq!(readyz(lab).0, 200);
    lab.signal(signal);
    lab.until("load balancers are told", || readyz(lab).0 == 503);
}

/// The next order to stop begins the stop.
fn end(lab: &Lab) {
    let has_begun = || lab.log().lines().any(|line| log::STOP_BEGUN.is(line) && line.ends_with("generation=1"));
    assert!(!has_begun(), "{}", lab.log());
    lab.signal(Signal::SIGTERM);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    lab.assert_gone();
    assert!(has_begun(), "{}", lab.log());
}

#[test]
fn clients_are_served_and_load_balancers_told() {
    for signal in [Signal::SIGTERM, Signal::SIGQUIT] {
        let lab = start(LONG).ready();
        let mut kept = Client::connect(lab.address()).expect("a connection");
        kept.get("/").expect("an answer");
        let clients = [Load::fresh(lab.address(), 2), Load::keep_alive(lab.address(), 2, Duration::from_millis(5))];
        clients.iter().for_each(|load| load.more(10));
        announce(&lab, signal);
        assert_eq!(readyz(&lab).1, "stopping soon: connections are still accepted, and no more should be sent\n");
        assert_eq!(client::get(&admin::address(&lab), "/livez").expect("an answer").status, 200);
        let metrics = client::get(&admin::address(&lab), "/metrics").expect("an answer").text();
        assert!(metrics.contains("hatchery_ready 0\n"), "{metrics}");
        assert!(metrics.contains("hatchery_state{state=\"lame-duck\"} 1\n"), "{metrics}");
        let status = lab.status();
        assert_eq!((status.state, status.operation), (MasterState::LameDuck, Some(Operation::Stop)));
        assert!(status.stop_in_seconds.is_some_and(|left| left > 0.0 && left <= 600.0), "{status:?}");
        assert!(hatchery(&lab, &["status"]).done().contains("lame-duck  stop begins in 9m"));
        assert_eq!(Process::read(lab.first()).expect("it lives").title, "hatchery: master gen 1 lame duck");
        clients.iter().for_each(|load| load.more(50));
        let answer = kept.get("/").expect("an answer");
        assert!(answer.status == 200 && !answer.announces_close());
        // Nobody who has still to come is worse served.
        let victim = *lab.ready().first().expect("a worker");
        lab.signal_to(victim, Signal::SIGTERM);
        lab.until("another one is there", || !lab.ready().contains(&victim) && lab.ready().len() == 2);
        clients.iter().for_each(|load| load.more(50));
        for load in clients {
            let tally = load.finish();
            assert!(tally.failures.is_empty() && tally.announced == 0, "{tally}");
        }
        end(&lab);
    }
}

#[test]
fn the_stop_begins_when_the_delay_is_over() {
    let lab = start("1s").ready();
    let asked = Instant::now();
    lab.signal(Signal::SIGTERM);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    assert!(asked.elapsed() >= Duration::from_secs(1));
    lab.assert_gone();
    let (announced, begun) = (log::STOP_ANNOUNCED.position(&lab.log()), log::STOP_BEGUN.position(&lab.log()));
    assert!(announced.is_some() && announced < begun, "{}", lab.log());
}

#[test]
fn whoever_sits_at_the_terminal_waits_for_nobody() {
    let lab = start(LONG).ready();
    lab.signal(Signal::SIGINT);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    assert_eq!(log::STOP_ANNOUNCED.count(&lab.log()), 0);
    lab.assert_gone();
}

#[test]
fn a_server_without_workers_for_clients_stops_at_once() {
    let lab = start(LONG).ready();
    lab.signal(Signal::SIGWINCH);
    lab.until_logged(log::RESTING, 1);
    lab.signal(Signal::SIGTERM);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    lab.assert_gone();

    let mut lab = start(LONG).argument("--on-demand").spawn();
    lab.wait_until_dormant();
    lab.signal(Signal::SIGTERM);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));

    let lab = start(LONG).variable("LAB_BOOT", "hang").spawn();
    lab.until("workers boot", || !lab.workers().is_empty());
    lab.signal(Signal::SIGTERM);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
}

#[test]
fn nothing_else_is_begun_meanwhile() {
    let lab = start(LONG).ready();
    let before = lab.ready();
    announce(&lab, Signal::SIGTERM);
    let (wait, workers) = (false, 3);
    for request in [Request::Upgrade { wait: Until::Begun }, Request::Reload { wait }, Request::Scale { workers, wait }]
    {
        let told = lab.ask(&request);
        let (because, text) = told.failed();
        assert_eq!(because, Refusal::Refused);
        assert!(text.ends_with(" refused: stopping"), "{text}");
    }
    // Logs are opened again at any time.
    assert_eq!(lab.ask(&Request::Reopen).done(), "logs are open again");
    assert_eq!(lab.ready(), before);
    end(&lab);
}

#[test]
fn an_upgrade_is_called_off_and_its_predecessor_serves_on() {
    let lab = start(LONG).set("boot-timeout", LONG).ready();
    lab.install(&Program::lab_with("LAB_BOOT=hang"));
    let upgrade = begin(&lab, &["upgrade", "--wait"]);
    lab.until("the successor boots", || lab.masters().len() == 2);
    announce(&lab, Signal::SIGTERM);
    assert!(upgrade.told().failed(1).contains("the server stops"));
    lab.until("the successor is gone", || lab.masters().len() == 1);
    assert_eq!(lab.whoami().generation, 1);
    end(&lab);
}

#[test]
fn a_reload_that_goes_on_is_finished() {
    let lab = start(LONG).config("stop_delay = \"1s\"").ready();
    let before = lab.ready();
    // A worker that is replaced waits for its client.
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_BEGUN, 1);
    lab.signal(Signal::SIGTERM);
    lab.until_logged(log::STOP_ANNOUNCED, 1);
    lab.until("every worker is new", || lab.ready().is_disjoint(&before) && lab.ready().len() == 2);
    lab.until_logged(log::RELOAD_DONE, 1);
    end(&lab);
}

#[test]
fn a_reload_changes_how_long_it_is() {
    let lab = start(LONG).without("stop-delay").config("stop_delay = \"10m\"").ready();
    fs::write(lab.path("lab.toml"), "stop_delay = \"0\"").expect("a file");
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_DONE, 1);
    lab.stop();
}

#[test]
fn nobody_takes_back_what_an_operator_has_ended() {
    let lab = start(LONG).set("upgrade-probation", LONG).ready();
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_DONE, 1);
    let (first, successor) = (lab.first(), lab.serving());
    assert_ne!(first, successor);
    lab.until("it is ready", || readyz(&lab).0 == 200);
    announce(&lab, Signal::SIGTERM);
    assert_eq!(lab.end_of(first), End::Code(0), "it is released, and drains");
    assert_eq!(lab.whoami().master, successor);
    // Nor does anybody serve on when the master dies that would have stopped.
    lab.signal_to(successor, Signal::SIGKILL);
    lab.until("nobody is left", || lab.processes().is_empty());
    assert_eq!(log::TAKEN_BACK.count(&lab.log()), 0);
}

#[test]
fn an_anchor_passes_one_order_on_however_it_comes() {
    let lab = start(LONG).set("anchor", "always").ready();
    assert_eq!(readyz(&lab).0, 200);
    // To the anchor and to its master, as a shell or a service manager does it.
    let to_all = |signal| {
        let roles = lab.processes().into_iter().map(|process| (process.pid, process.role()));
        let masters = roles.filter(|(pid, role)| *pid == lab.first() || matches!(role, Role::Master { .. }));
        masters.for_each(|(pid, _)| lab.signal_to(pid, signal));
    };
    to_all(Signal::SIGTERM);
    lab.until("load balancers are told", || readyz(&lab).0 == 503);
    assert_eq!(lab.get("/").expect("an answer").status, 200);
    // Without its anchor nobody attends to it: it does not wait in the next one's way.
    lab.signal_to(lab.first(), Signal::SIGKILL);
    lab.until("nobody is left", || lab.processes().is_empty());
    assert_eq!(log::STOP_NOW.count(&lab.log()), 0, "{}", lab.log());
}

#[test]
fn the_command_tells_how_it_goes_and_a_second_one_waits_as_well() {
    let lab = start("2s").ready();
    let first = begin(&lab, &["stop", "--wait"]);
    lab.until("load balancers are told", || readyz(&lab).0 == 503);
    assert!(hatchery(&lab, &["stop"]).done().contains("it stops already"));
    let second = begin(&lab, &["stop", "--wait"]);
    for told in [first.told(), second.told()] {
        assert!(told.output.contains("stopped: everything was drained, exit code 0"), "{told:?}");
        assert!(told.code == Some(0) && told.errors.contains("stop begins: draining"), "{told:?}");
    }
    assert_eq!(log::STOP_NOW.count(&lab.log()), 0);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));

    let lab = start(LONG).ready();
    assert!(hatchery(&lab, &["stop"]).done().contains("stop asked for, it begins in 600s"));
    end(&lab);
}

#[test]
fn the_service_manager_is_told_at_once_and_asked_for_time() {
    let manager = Manager::new(Access::Main);
    let lab = manager.serves(start(LONG)).ready();
    manager.until(lab.first(), "READY", "1", 1);
    announce(&lab, Signal::SIGTERM);
    manager.until(lab.first(), "STOPPING", "1", 1);
    let asked = || manager.account(lab.first()).values("EXTEND_TIMEOUT_USEC").len();
    let before = asked();
    lab.until("more time is asked for", || asked() > before);
    let account = manager.account(lab.first());
    let stopping = account.with("STOPPING", "1");
    assert_eq!(stopping[0].says["STATUS"], "serving until the stop begins: 2 of 2 workers ready, generation 1");
    assert_eq!(lab.get("/").expect("an answer").status, 200);
    end(&lab);
    assert_eq!(manager.account(lab.first()).states(), ["READY", "STOPPING"], "said once");
}
