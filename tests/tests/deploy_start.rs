//! The command lines and settings in `examples/deploy` start a server, as they stand there.

use std::net::TcpListener;
use std::os::fd::OwnedFd;

use hatchery_tests::client;
use hatchery_tests::neighbour::{deployed, with};
use hatchery_tests::procfs::{self, Process, Role};
use hatchery_tests::{End, Start, log, namespace};
use nix::sys::signal::Signal;

/// The lab without the settings that `Start` gives it.
fn bare() -> Start {
    Start::lab().without_settings()
}

/// The same text, with a folder of the test in the place of the machine's, and with free ports.
fn here(start: &Start, text: &str) -> String {
    let mut text = text.replace("/run/app/", &format!("{}/", start.path(".").display()));
    for address in ["0.0.0.0:8080", "0.0.0.0:9090", "127.0.0.1:9090"] {
        text = text.replace(address, "127.0.0.1:0");
    }
    text
}

#[test]
fn the_unit_with_its_sockets_and_the_settings_that_all_share() {
    let sockets = ["127.0.0.1:0", "[::1]:0"].map(|address| TcpListener::bind(address).expect("a port"));
    let addresses = sockets.each_ref().map(|it| it.local_addr().expect("an address").to_string());
    let start = bare();
    let path = start.path("app.toml");
    std::fs::write(&path, here(&start, &deployed("app.toml"))).expect("a file");
    let unit = deployed("systemd/app.service");
    let command =
        unit.lines().find_map(|line| line.strip_prefix("ExecStart=/opt/app/current/bin/app ")).expect("a command");
    let command = with(command, &[("/etc/app/app.toml", &path.display().to_string())]);
    let start = command.split(' ').fold(start, Start::argument);
    let lab = start.passed("web:web", sockets.map(OwnedFd::from)).spawn();
    lab.until("the server is ready", || {
        assert!(!lab.has_ended(lab.first()), "it has ended");
        log::READY.count(&lab.log()) == 1
    });
    for address in addresses {
        assert_eq!(client::get(&address, "/").expect("an answer").text(), "Hello, World!");
    }
    assert_eq!(lab.pid_file("app.pid"), Some(lab.first()));
    lab.signal(Signal::SIGTERM);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
}

#[test]
fn the_image_as_pid_1_that_is_upgraded_and_stopped() {
    let Some(launcher) = namespace::launcher() else { return };
    let image = deployed("docker/Dockerfile");
    let line = |name: &str| image.lines().find_map(|line| line.strip_prefix(name)).expect("such a line").to_owned();
    let entry: Vec<String> = serde_json::from_str(&line("ENTRYPOINT ")).expect("a list");
    assert_eq!(entry, ["/usr/local/bin/app"], "nothing stands before the server");
    let start = bare();
    let command: Vec<String> = serde_json::from_str(&here(&start, &line("CMD "))).expect("a list");
    let start = command.iter().fold(start, |start, argument| start.argument(argument));
    let lab = start.set("workers", "2").launcher(launcher).spawn();
    lab.until("the server is ready", || {
        assert!(!lab.has_ended(lab.first()), "it has ended");
        log::READY.count(&lab.log()) == 1
    });
    let init = *procfs::children(lab.first()).first().expect("unshare has forked");
    let title = |pid: i32| Process::read(pid).map(|process| process.title).unwrap_or_default();
    assert_eq!(title(init), "hatchery: anchor");
    let address = log::listening(&lab.log()).first().expect("an address").to_string();
    assert_eq!(client::get(&address, "/whoami").expect("an answer").whoami().generation, 1);
    // docker kill --signal USR2
    lab.signal_to(init, Signal::SIGUSR2);
    lab.until("the new program serves alone", || {
        let children = procfs::children(init);
        let role = |pid: i32| Process::read(pid).map(|process| process.role());
        matches!(children[..], [master] if role(master) == Some(Role::Master { generation: 2 }))
    });
    assert_eq!(title(init), "hatchery: anchor");
    assert_eq!(client::get(&address, "/whoami").expect("an answer").whoami().generation, 2);
    // docker stop
    let signal = line("STOPSIGNAL ").parse().expect("a signal");
    lab.signal_to(init, signal);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
}
