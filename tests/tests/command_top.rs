//! The live view in a real terminal, of real servers.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use hatchery_tests::command::command;
use hatchery_tests::load::Load;
use hatchery_tests::pty::Terminal;
use hatchery_tests::{Lab, Start, wait};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

/// `top` as the foreground group of a terminal.
fn top(lab: &Lab, terminal: &Terminal) -> Child {
    top_by(&[], lab, terminal)
}

/// The same, by a program that becomes it.
fn top_by(launcher: &[&str], lab: &Lab, terminal: &Terminal) -> Child {
    let own = command(lab, &["top", "--interval", "100ms"]);
    let mut command = Command::new(Terminal::LAUNCHER[0]);
    command.args(&Terminal::LAUNCHER[1..]).args(launcher).arg(own.get_program()).args(own.get_args());
    command.env_clear().envs(own.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("TERM", "xterm");
    command.stdin(terminal.input()).stdout(terminal.output()).stderr(terminal.output());
    // setsid(1) forks where it leads a group already; as it is, it becomes the command.
    command.arg0("setsid").spawn().expect("the command")
}

#[test]
fn top_survives_an_upgrade_and_gives_the_terminal_back() {
    let lab = Start::lab().controlled().ready();
    let mut terminal = Terminal::open();
    let screen = terminal.screen();
    let modes = terminal.modes();
    let mut top = top(&lab, &terminal);
    let shows = |text: &str| {
        wait::until(text, || screen.text().contains(text).then_some(()));
    };
    shows(&format!("generation 1  master {}  serving", lab.serving()));
    for worker in lab.ready() {
        shows(&worker.to_string());
    }
    shows(lab.address());
    for _ in 0..10 {
        assert_eq!(lab.get("/").expect("an answer").status, 200);
    }
    shows("in all: 10 requests");
    assert!(screen.is_taken() && screen.hides_cursor());
    assert_ne!(terminal.modes(), modes);

    let successor = lab.upgrade();
    shows(&format!("generation 2  master {successor}  serving"));
    for worker in lab.ready() {
        shows(&worker.to_string());
    }
    // What was counted was not forgotten.
    shows("in all: 10 requests");
    assert_eq!(lab.get("/").expect("an answer").status, 200);
    shows("in all: 11 requests");

    terminal.resize(60, 12);
    // There is no room for the history any more. What is typed in the moment of the signal is not seen before the next key.
    wait::until("it has the new size", || (!screen.text().contains("at most")).then_some(()));
    terminal.types("c");
    terminal.types("q");
    assert_eq!(top.wait().expect("its end").code(), Some(0));
    assert_eq!(terminal.modes(), modes);
    wait::until("the screen is given back", || (!screen.is_taken() && !screen.hides_cursor()).then_some(()));
    lab.stop();
}

#[test]
fn top_waits_for_a_server_that_is_gone_and_ends_well_by_a_signal() {
    let lab = Start::lab().controlled().ready();
    let terminal = Terminal::open();
    let screen = terminal.screen();
    let modes = terminal.modes();
    let mut top = top(&lab, &terminal);
    wait::until("it is shown", || screen.text().contains("serving").then_some(()));
    lab.stop();
    wait::until("nobody answers", || screen.text().contains("no answer for").then_some(()));
    // What was known is shown on.
    assert!(screen.text().contains("generation 1"), "{screen:?}");
    signal::kill(Pid::from_raw(i32::try_from(top.id()).expect("a pid")), Signal::SIGTERM).expect("it runs");
    assert_eq!(top.wait().expect("its end").code(), Some(0));
    assert_eq!(terminal.modes(), modes);
    wait::until("the screen is given back", || (!screen.is_taken()).then_some(()));
}

#[test]
fn top_gives_the_terminal_back_when_it_panics() {
    let lab = Start::lab().controlled().ready();
    let terminal = Terminal::open();
    let screen = terminal.screen();
    let modes = terminal.modes();
    // A thread that cannot be had is a panic of the standard library's.
    let mut top = top_by(&[env!("CARGO_BIN_EXE_without-fork")], &lab, &terminal);
    assert_eq!(top.wait().expect("its end").code(), Some(101));
    assert_eq!(terminal.modes(), modes);
    wait::until("the panic can be read", || screen.text().contains("panicked at").then_some(()));
    assert!(!screen.is_taken() && !screen.hides_cursor(), "{screen:?}");
    lab.stop();
}

#[test]
fn top_gives_the_terminal_back_at_every_signal_that_ends_it() {
    let lab = Start::lab().controlled().ready();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        let terminal = Terminal::open();
        let screen = terminal.screen();
        let modes = terminal.modes();
        let mut top = top(&lab, &terminal);
        wait::until("it is shown", || screen.text().contains("serving").then_some(()));
        assert_ne!(terminal.modes(), modes);
        signal::kill(Pid::from_raw(i32::try_from(top.id()).expect("a pid")), signal).expect("it runs");
        assert_eq!(top.wait().expect("its end").code(), Some(0), "{signal}");
        assert_eq!(terminal.modes(), modes);
        wait::until("the screen is given back", || (!screen.is_taken() && !screen.hides_cursor()).then_some(()));
    }
    lab.stop();
}

#[test]
fn top_shows_what_each_worker_does() {
    let lab = Start::lab().set("workers", "1").controlled().ready();
    let load = Load::fresh(lab.address(), 2);
    let terminal = Terminal::open();
    let screen = terminal.screen();
    let mut top = top(&lab, &terminal);
    let worker = lab.ready().first().expect("a worker").to_string();
    wait::until("its rates are shown", || {
        let text = screen.text();
        let row: Vec<&str> = text.lines().find(|line| line.contains(&worker))?.split_whitespace().collect();
        // SLOT PID GEN STATE CONNS IN-FLIGHT REQ/S BAR CONN/S
        let rate = |column: usize| row.get(column)?.parse::<f64>().ok();
        (rate(6)? > 0.0 && rate(8)? > 0.0).then_some(())
    });
    load.finish_without_failure();
    signal::kill(Pid::from_raw(i32::try_from(top.id()).expect("a pid")), Signal::SIGTERM).expect("it runs");
    assert_eq!(top.wait().expect("its end").code(), Some(0));
    lab.stop();
}
