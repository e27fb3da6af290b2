//! What is wrong with a start is said in one line, with exit code 1, and nothing is started.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use hatchery_tests::{Start, client};

#[test]
fn a_flag_that_nobody_knows() {
    Start::lab().argument("--no-such-flag").ended().assert_one_line(1, &["--no-such-flag"]);
}

#[test]
fn a_value_that_does_not_parse_names_the_setting_and_its_source() {
    let wrong = |name, value| Start::lab().set(name, value).ended();
    wrong("workers", "many").assert_one_line(1, &["--workers", "many"]);
    wrong("workers", "0").assert_one_line(1, &["--workers", "0"]);
    wrong("drain-timeout", "soon").assert_one_line(1, &["--drain-timeout", "soon"]);
    wrong("listen-mode", "both").assert_one_line(1, &["--listen-mode", "both"]);
    wrong("bind", "nowhere").assert_one_line(1, &["--bind", "nowhere"]);

    let variable = Start::lab().without("workers").variable("HATCHERY_WORKERS", "many");
    variable.ended().assert_one_line(1, &["HATCHERY_WORKERS", "many"]);

    let file = Start::lab().without("workers").config("workers = \"many\"\n");
    file.ended().assert_one_line(1, &["lab.toml", "workers"]);
}

#[test]
fn a_key_that_the_file_must_not_have() {
    let start = Start::lab().config("workers = 2\nwrokers = 3\n");
    start.ended().assert_one_line(1, &["lab.toml", "wrokers"]);
}

#[test]
fn a_file_that_is_no_toml() {
    Start::lab().config("workers = = 2\n").ended().assert_one_line(1, &["lab.toml"]);
}

#[test]
fn a_file_that_is_not_there() {
    Start::lab()
        .set("config", "/no/such/file.toml")
        .ended()
        .assert_one_line(1, &["/no/such/file.toml", "No such file"]);
}

#[test]
fn a_pid_file_that_cannot_be_written() {
    Start::lab().set("pid-file", "/no/such/folder/lab.pid").ended().assert_one_line(1, &["/no/such/folder/lab.pid"]);
}

#[test]
fn an_address_that_another_program_holds() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = holder.local_addr().expect("an address").to_string();
    for mode in ["shared", "reuseport"] {
        let start = Start::lab().set("bind", &address).set("listen-mode", mode);
        start.ended().assert_one_line(1, &["--bind (command line): address in use: ", &address]);
    }
}

#[test]
fn an_address_that_another_lab_serves() {
    for mode in ["shared", "reuseport"] {
        let lab = Start::lab().set("listen-mode", mode).ready();
        let second = Start::lab().set("bind", lab.address()).set("listen-mode", mode).ended();
        second.assert_one_line(1, &["address in use", lab.address()]);
        lab.stop();
    }
}

#[test]
fn an_address_of_another_machine() {
    // 192.0.2.0/24 is for documentation, no machine has it.
    Start::lab().set("bind", "192.0.2.1:80").ended().assert_one_line(1, &["192.0.2.1:80"]);
}

#[test]
fn a_pid_file_that_a_living_server_holds() {
    let lab = Start::lab().ready();
    let held = lab.path("lab.pid").display().to_string();
    let second = Start::lab().set("pid-file", &held).ended();
    second.assert_one_line(1, &[&held, &lab.first().to_string()]);
    assert_eq!(lab.pid_file("lab.pid"), Some(lab.first()));
    assert_eq!(lab.whoami().master, lab.first());
    lab.stop();
}

#[test]
fn a_unix_socket_that_a_living_server_holds() {
    let start = Start::lab();
    let path = start.path("lab.sock");
    let holder = UnixListener::bind(&path).expect("a socket");
    let address = format!("unix:{}", path.display());
    start.set("bind", &address).ended().assert_one_line(1, &["--bind (command line): address in use: ", &address]);
    drop(holder);
}

#[test]
fn a_unix_path_that_is_no_socket_is_left_alone() {
    let start = Start::lab();
    let path = start.path("precious");
    let folder = tempfile::tempdir().expect("a folder");
    let outside = folder.path().join("precious");
    fs::write(&outside, "data").expect("a file");
    drop(path);
    let address = format!("unix:{}", outside.display());
    start.set("bind", &address).ended().assert_one_line(1, &[&address]);
    assert_eq!(fs::read_to_string(&outside).expect("the file is still there"), "data");
}

#[test]
fn a_handoff_variable_that_is_for_another_process_is_ignored() {
    let lab =
        Start::lab().variable("HATCHERY_HANDOFF", "v=1;min=1;pid=1;gen=7;listen=tcp@127.0.0.1:1#3;link=4").ready();
    assert_eq!(lab.generation(), Some(1));
    assert_eq!(lab.whoami().generation, 1);
    lab.stop();
}

#[test]
fn a_handoff_variable_that_is_damaged_is_refused() {
    let start = Start::lab().variable("HATCHERY_HANDOFF", "hello");
    start.ended().assert_one_line(1, &["HATCHERY_HANDOFF", "hello"]);
}

#[test]
fn handed_descriptors_that_are_not_what_they_are_said_to_be_are_refused() {
    // `$$` is the pid that the lab will have: `exec` keeps it.
    let variable = "v=1;min=1;pid=$$;gen=2;listen=tcp@127.0.0.1:1#8;link=9";
    let script = format!("HATCHERY_HANDOFF=\"{variable}\" exec \"$@\" 8</dev/null 9</dev/null");
    let refused = Start::lab().launcher(["sh", "-c", &script, "sh"]).ended();
    refused.assert_one_line(1, &["HATCHERY_HANDOFF"]);
}

#[test]
fn a_refused_start_does_not_disturb_who_is_there() {
    let lab = Start::lab().ready();
    let workers = lab.ready();
    let _ = Start::lab().set("bind", lab.address()).ended();
    assert!(client::get(lab.address(), "/").is_ok_and(|answer| answer.status == 200));
    assert_eq!(lab.ready(), workers);
    lab.stop();
}
