//! The `hatchery` command on real servers.

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;

use hatchery_tests::client::Client;
use hatchery_tests::command::{Told, bare, begin, command, hatchery};
use hatchery_tests::pty::Terminal;
use hatchery_tests::{End, Lab, Program, Start, chores, log, wait};
use nix::sys::signal::Signal;
use serde_json::Value;

const CHORES: &str = env!("CARGO_BIN_EXE_chores");

fn status(lab: &Lab) -> Value {
    serde_json::from_str(&hatchery(lab, &["status", "--json"]).done()).expect("JSON")
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn status_is_what_the_processes_are() {
    let lab = Start::lab().controlled().ready();
    assert_eq!(lab.get("/").expect("an answer").status, 200);
    let json = status(&lab);
    let expected =
        ["version", "master", "generation", "state", "operation", "predecessors", "workers", "totals", "listeners"];
    assert_eq!(keys(&json), expected.into());
    assert_eq!(json["master"], lab.serving());
    assert_eq!((&json["generation"], &json["state"], &json["operation"]), (&1.into(), &"serving".into(), &Value::Null));
    let workers = json["workers"].as_array().expect("workers");
    let expected =
        ["slot", "pid", "generation", "state", "connections", "in_flight", "requests", "accepted", "age_seconds"];
    assert_eq!(keys(&workers[0]), expected.into());
    let pids = workers.iter().filter_map(|worker| worker["pid"].as_i64()).map(|pid| i32::try_from(pid).expect("a pid"));
    assert_eq!(pids.collect::<BTreeSet<_>>(), lab.ready());
    assert_eq!(keys(&json["totals"]), ["requests", "connections", "moved", "restarts"].into());
    assert_eq!(keys(&json["listeners"][0]), ["address", "queues", "queued", "backlog"].into());
    assert_eq!(json["listeners"][0]["address"], lab.address());

    let text = hatchery(&lab, &["status"]).done();
    let first = text.lines().next().expect("a line");
    assert!(first.starts_with(&format!("generation 1  master {}  serving  up ", lab.serving())), "{text}");
    for part in [lab.address(), "SLOT", "ready", "LISTENER", "in all: 1 request, "] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    lab.stop();
}

#[test]
fn an_upgrade_is_done_when_the_new_program_serves() {
    let lab = Start::lab().controlled().ready();
    let told = hatchery(&lab, &["upgrade", "--wait"]);
    assert!(told.errors.contains("upgrade begins"), "{told:?}");
    assert!(told.done().contains("upgrade is done"));
    assert_eq!(status(&lab)["generation"], 2);
    // A worker that was told to stop accepting may answer one more.
    lab.until("only the new one answers", || lab.whoami().generation == 2);
    lab.until("the predecessor is gone", || lab.masters().len() == 1);
    lab.stop();
}

#[test]
fn an_upgrade_is_proven_when_its_probation_is_over() {
    let lab = Start::lab().controlled().ready();
    let told = hatchery(&lab, &["upgrade", "--wait=proven"]);
    assert!(told.errors.lines().any(|line| line.starts_with("upgrade is done")), "{told:?}");
    assert!(told.done().starts_with("upgrade is proven: the successor (pid "));
    assert_eq!(status(&lab)["generation"], 2);
    lab.stop();

    let lab = Start::lab().controlled().set("upgrade-probation", "10m").ready();
    let reason = hatchery(&lab, &["upgrade", "--wait=proven", "--timeout", "2s"]).failed(1);
    assert_eq!(reason, "the upgrade has not ended within 2s: it goes on, see `hatchery status`");
    lab.until("the successor serves", || status(&lab)["generation"] == 2);
    lab.stop();
}

#[test]
fn why_an_upgrade_failed_is_said_in_one_line() {
    let lab = Start::lab().controlled().ready();
    lab.install(&Program::lab_with("LAB_BOOT=fail"));
    let told = hatchery(&lab, &["upgrade", "--wait"]);
    assert!(told.errors.starts_with("upgrade begins\n"), "{told:?}");
    assert_eq!(told.errors.matches("upgrade failed").count(), 1, "{told:?}");
    let reason = told.failed(1);
    assert!(reason.contains("upgrade failed") && reason.contains("lab told to fail"), "{reason}");
    // Nothing but the reason.
    let told = hatchery(&lab, &["upgrade", "--wait", "--quiet"]);
    assert_eq!(told.errors.lines().count(), 1, "{told:?}");
    assert_eq!((lab.whoami().generation, lab.ready().len()), (1, 2));
    lab.stop();
}

#[test]
fn a_reload_is_done_when_every_worker_is_new() {
    let lab = Start::lab().controlled().ready();
    let old = lab.ready();
    assert!(hatchery(&lab, &["reload", "--wait"]).done().contains("reload is done"));
    // Titles follow what the master has said.
    lab.until("every worker is new", || lab.ready().is_disjoint(&old));
    // Without --wait it is done when it has begun.
    assert!(hatchery(&lab, &["reload"]).done().contains("reload begins"));
    lab.until_logged(log::RELOAD_DONE, 2);
    lab.stop();
}

#[test]
fn what_a_reload_does_not_change_is_a_warning_and_no_failure() {
    let waits = "hatchery: warning: `umask` has changed: it takes effect at the next start, not at a reload";
    let lab = Start::lab().controlled().config("umask = \"022\"\n").ready();
    fs::write(lab.path("lab.toml"), "umask = \"027\"\n").expect("a file");
    let told = hatchery(&lab, &["reload", "--wait"]);
    assert!(told.errors.lines().any(|line| line == waits), "{told:?}");
    assert_eq!(told.done(), "reload is done: every worker is new\n");
    assert_eq!(hatchery(&lab, &["reload", "--wait", "--quiet"]).errors, "");

    // On a terminal it stays when the line of progress has gone.
    let terminal = Terminal::open();
    let screen = terminal.screen();
    let mut command = command(&lab, &["reload", "--wait"]);
    command.env("TERM", "xterm").stdout(Stdio::null()).stderr(terminal.output());
    assert_eq!(command.status().expect("the command").code(), Some(0));
    wait::until("it is there", || (screen.text().trim_end() == waits).then_some(()));
    lab.stop();
}

#[test]
fn why_a_reload_failed_is_said_in_one_line() {
    let lab = Start::lab().controlled().config("workers = 2\n").ready();
    let old = lab.ready();
    fs::write(lab.path("lab.toml"), "wrokers = 3\n").expect("a file");
    let reason = hatchery(&lab, &["reload", "--wait"]).failed(1);
    assert!(reason.contains("reload") && reason.contains("wrokers"), "{reason}");
    assert_eq!(lab.ready(), old);
    lab.stop();
}

#[test]
fn workers_are_as_many_as_was_said() {
    let lab = Start::lab().controlled().ready();
    for count in [3, 1, 2] {
        assert!(!hatchery(&lab, &["scale", &count.to_string()]).done().is_empty());
        lab.until("so many are ready", || lab.ready().len() == count);
    }
    assert!(!hatchery(&lab, &["scale", "4", "--no-wait"]).done().is_empty());
    lab.until("there are four", || lab.ready().len() == 4);
    lab.stop();
}

#[test]
fn the_worker_of_one_slot_is_replaced() {
    let lab = Start::lab().controlled().ready();
    let of_slot = |slot: usize| status(&lab)["workers"][slot]["pid"].clone();
    let (first, second) = (of_slot(0), of_slot(1));
    assert!(hatchery(&lab, &["recycle", "0"]).done().contains("slot 0"));
    lab.until("the first one is not ready any more", || !lab.ready().into_iter().any(|pid| first == pid));
    assert!(lab.ready().into_iter().any(|pid| second == pid));
    let reason = hatchery(&lab, &["recycle", "99"]).failed(1);
    assert!(reason.contains("99"), "{reason}");
    lab.stop();
}

#[test]
fn a_job_server_or_a_sidecar_is_replaced_by_its_name() {
    let lab = chores::start(CHORES).variable("CHORES_SIDECAR", "good").controlled().ready();
    let pid_of = |name: &str| {
        let json = status(&lab);
        let is_it = |it: &&Value| it["name"] == name && it["state"] == "ready";
        let found = json["workers"].as_array().expect("workers").iter().find(is_it).cloned();
        found.unwrap_or_else(|| panic!("no `{name}` in {json}"))["pid"].clone()
    };
    let workers = lab.ready();
    for (whom, name, who) in
        [("beat", "beat", "sidecar `beat`"), ("work", "work", "job server `work`"), ("32768", "beat", "sidecar `beat`")]
    {
        let old = pid_of(name);
        let told = hatchery(&lab, &["recycle", whom]).done();
        let new = pid_of(name);
        assert_eq!(told, format!("{who} is replaced: its process is pid {new}\n"));
        assert_ne!(new, old);
    }
    assert_eq!(lab.ready(), workers, "nobody else was replaced");
    assert_eq!(hatchery(&lab, &["recycle", "beat", "--no-wait"]).done(), "sidecar `beat` is being replaced\n");
    let reason = hatchery(&lab, &["recycle", "notes"]).failed(1);
    assert_eq!(reason, "recycle of `notes` refused: no job server or sidecar has this name");
    lab.stop();
}

#[test]
fn logs_are_opened_again() {
    let start = Start::lab().controlled();
    let path = start.path("own.log");
    let lab = start.set("log", &path.display().to_string()).without("workers").set("workers", "1");
    let lab = lab.ready();
    fs::rename(&path, lab.path("own.log.1")).expect("a log");
    assert!(!hatchery(&lab, &["reopen"]).done().is_empty());
    lab.until("there is a new log", || path.exists());
    lab.stop();
}

#[test]
fn a_stop_is_done_when_everything_is_drained() {
    let lab = Start::lab().controlled().ready();
    let mut open = Client::connect(lab.address()).expect("a connection");
    open.begin("/stream?chunks=5&ms=100").expect("the answer begins");
    let told = hatchery(&lab, &["stop", "--wait"]);
    assert!(told.errors.starts_with("stop begins: draining\n"), "{told:?}");
    assert!(!told.errors.contains("stopped"), "once is enough: {told:?}");
    assert_eq!(told.done(), "stopped: everything was drained, exit code 0\n");
    assert_eq!(open.answer().expect("what is open is finished").body.len(), 80);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    lab.assert_gone();
}

#[test]
fn a_stop_that_had_to_kill_was_not_done_well() {
    let lab = Start::lab().controlled().set("drain-timeout", "300ms").ready();
    let mut open = Client::connect(lab.address()).expect("a connection");
    open.begin("/stream?chunks=1000&ms=100").expect("the answer begins");
    let reason = hatchery(&lab, &["stop", "--wait"]).failed(1);
    assert!(reason.contains("killed"), "{reason}");
    assert_eq!(lab.end_of(lab.first()), End::Code(2));
}

#[test]
fn who_stops_waiting_stops_nothing() {
    let lab = Start::lab().controlled().ready();
    lab.install(&Program::lab_with("LAB_BOOT=hang"));
    let asking = begin(&lab, &["upgrade", "--wait"]);
    lab.until_logged(log::UPGRADE_BEGUN, 1);
    // It handles the signal before it asks.
    asking.interrupt();
    assert_eq!(asking.told().failed(130), "interrupted: the upgrade goes on, see `hatchery status`");
    assert_eq!(status(&lab)["operation"], "upgrade");
    let reason = hatchery(&lab, &["stop", "--wait", "--timeout", "1m"]).done();
    assert!(!reason.is_empty());
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
}

#[test]
fn what_takes_longer_than_was_to_be_waited_goes_on() {
    let lab = Start::lab().controlled().ready();
    let mut open = Client::connect(lab.address()).expect("a connection");
    open.begin("/stream?chunks=20&ms=100").expect("the answer begins");
    let reason = hatchery(&lab, &["stop", "--wait", "--timeout", "500ms"]).failed(1);
    assert_eq!(reason, "the stop has not ended within 500ms: it goes on, see `hatchery status`");
    assert_eq!(open.answer().expect("what is open is finished").body.len(), 320);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
}

#[test]
fn a_master_that_stands_still_is_not_waited_for() {
    let lab = Start::lab().controlled().ready();
    lab.freeze(lab.serving());
    let reason = hatchery(&lab, &["status", "--timeout", "300ms"]).failed(1);
    assert!(reason.contains("no answer from the master") && reason.contains("within 300ms"), "{reason}");
    lab.thaw(lab.serving());
    lab.stop();
}

#[test]
fn an_operation_of_which_a_master_says_nothing_is_not_waited_for() {
    let lab = Start::lab().controlled().ready();
    lab.freeze(lab.serving());
    let orders: [&[&str]; 5] = [
        &["upgrade", "--wait=proven"],
        &["reload", "--wait", "--timeout", "10m"],
        &["scale", "3"],
        &["recycle", "0"],
        &["stop", "--wait"],
    ];
    for asking in orders.map(|order| begin(&lab, order)) {
        let reason = asking.told().failed(1);
        assert!(reason.contains("no answer from the master") && reason.contains("within 10s"), "{reason}");
    }
    // What has come is obeyed, the stop as well.
    lab.thaw(lab.first());
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
}

#[test]
fn on_a_terminal_progress_is_one_line() {
    let lab = Start::lab().controlled().ready();
    let terminal = Terminal::open();
    let screen = terminal.screen();
    lab.install(&Program::lab_with("LAB_BOOT=hang"));
    let mut command = command(&lab, &["upgrade", "--wait"]);
    command.env("TERM", "xterm").stdout(Stdio::null()).stderr(terminal.output());
    let mut asking = command.spawn().expect("the command");
    wait::until("progress is shown", || screen.text().starts_with("upgrade 0.").then_some(()));
    wait::until("time goes by", || screen.text().starts_with("upgrade 1.").then_some(()));
    assert_eq!(screen.text().lines().count(), 1, "{screen:?}");
    // It gives up its successor.
    lab.signal(Signal::SIGTERM);
    assert_eq!(asking.wait().expect("its end").code(), Some(1));
    wait::until("nothing but the reason is left", || screen.text().starts_with("hatchery: error: ").then_some(()));
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
}

#[test]
fn what_cannot_be_asked_is_one_line_and_code_one() {
    let told = |arguments: &[&str]| Told::from(bare(arguments).output().expect("the command"));
    let table = [
        (&["status"][..], "which server? say --control PATH, or set HATCHERY_CONTROL"),
        (&["--control", "/nowhere/ctl", "status"], "cannot connect to the control socket /nowhere/ctl: "),
        (&["--control", "/nowhere/ctl", "top"], "top needs a terminal"),
        (&["dance"], "unrecognized subcommand 'dance'"),
        (&[], "a command is missing"),
        (&["scale", "513"], "invalid value '513' for '<N>': 513 is not in 1..=512"),
    ];
    for (arguments, expected) in table {
        let told = told(arguments);
        assert_eq!(told.errors.lines().count(), 1, "{arguments:?}: {told:?}");
        let reason = told.failed(1);
        assert!(reason.starts_with(expected), "{arguments:?}: {reason}");
    }
}

#[test]
fn help_and_manual_go_to_standard_output() {
    for arguments in [&["--help"][..], &["--version"], &["help", "upgrade"], &["manual"]] {
        let told = Told::from(bare(arguments).output().expect("the command"));
        assert!(told.errors.is_empty() && told.done().contains("hatchery"), "{arguments:?}");
    }
}

#[test]
fn bash_completes_commands_flags_and_shells() {
    let script = "\
        source <(hatchery completions bash)
        complete -p hatchery > /dev/null || exit 3
        COMP_WORDS=(hatchery \"$@\") COMP_CWORD=$# COMP_TYPE=9
        _hatchery hatchery \"${@: -1}\" \"${COMP_WORDS[-2]}\"
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    let completed = |words: &[&str]| -> Vec<String> {
        let folder = hatchery_tests::program::hatchery().parent().expect("a folder").to_owned();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut bash = std::process::Command::new("bash");
        bash.args(["--norc", "-c", script, "bash"]).args(words).env("PATH", format!("{}:{path}", folder.display()));
        let told = Told::from(bash.output().expect("bash"));
        assert!(told.errors.is_empty(), "{told:?}");
        told.done().lines().map(str::to_owned).collect()
    };
    assert_eq!(completed(&["st"]), ["status", "stop"]);
    assert_eq!(completed(&["rec"]), ["recycle"]);
    assert!(completed(&["upgrade", "--"]).contains(&"--wait".to_owned()));
    assert_eq!(completed(&["completions", "f"]), ["fish"]);
}

#[test]
fn fish_completes_commands_flags_and_shells() {
    // It makes folders at home.
    let home = tempfile::tempdir().expect("a folder");
    let completed = |line: &str| -> Vec<String> {
        let folder = hatchery_tests::program::hatchery().parent().expect("a folder").to_owned();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut fish = std::process::Command::new("fish");
        fish.args(["--no-config", "-c", "hatchery completions fish | source; complete -C $argv[1]", line]);
        fish.env("PATH", format!("{}:{path}", folder.display())).env("HOME", home.path()).stdin(Stdio::null());
        let told = Told::from(fish.output().expect("apt-get install fish"));
        let words = told.done();
        words.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(completed("hatchery st"), ["status", "stop"]);
    assert!(completed("hatchery upgrade --").contains(&"--wait".to_owned()));
    assert_eq!(completed("hatchery completions "), ["bash", "elvish", "fish", "powershell", "zsh"]);
    assert_eq!(completed("hatchery completions f"), ["fish"]);
}
