//! Sockets that a service manager passes: systemd's way, and that of `Server::Starter`.

use std::fs::{self, File};
use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use hatchery_tests::client::{self, Client};
use hatchery_tests::load::Load;
use hatchery_tests::program::example;
use hatchery_tests::{End, Lab, Program, Start, log, wait};
use nix::sys::signal::Signal;

/// A socket that the test holds, as the service manager does.
struct Held {
    listener: TcpListener,
    address: String,
}

impl Held {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("an address").to_string();
        Self { listener, address }
    }

    fn copy(&self) -> OwnedFd {
        self.listener.try_clone().expect("a descriptor").into()
    }
}

fn answers(address: &str) {
    let answer = client::get(address, "/").unwrap_or_else(|failure| panic!("{address}: {failure}"));
    assert_eq!(answer.text(), "Hello, World!");
}

/// Connects, and asks already: nobody serves, so the answer comes later.
fn waiting(address: &str) -> Client {
    let mut client = Client::connect(address).expect("somebody holds the socket");
    client.ask("/").expect("the kernel takes it");
    client
}

#[test]
fn all_that_is_passed_is_served_if_nothing_says_where() {
    let held = Held::new();
    let start = Start::lab().without("bind");
    let path = start.path("passed.sock");
    let unix = UnixListener::bind(&path).expect("nothing is there");
    let lab = start.passed("web:local", [held.copy(), unix.try_clone().expect("a descriptor").into()]).ready();
    assert_eq!(lab.addresses(), std::slice::from_ref(&held.address), "and not the default");
    answers(&held.address);
    answers(&format!("unix:{}", path.display()));
    lab.stop();
}

#[test]
fn a_name_takes_every_socket_that_has_it() {
    let held = [Held::new(), Held::new()];
    let lab = Start::lab().set("bind", "fd:web").passed("web:web", held.iter().map(Held::copy)).ready();
    held.iter().for_each(|held| answers(&held.address));
    lab.stop();
}

#[test]
fn a_name_of_the_program_s_takes_it_too_and_goes_on_with_it() {
    let held = Held::new();
    let misfit = || {
        let program = Program::Link(env!("CARGO_BIN_EXE_misfit").into());
        Start::lab().without_settings().argument("passed").program(program)
    };
    let lab = misfit().passed("lines", [held.copy()]).ready();
    let says = |what: &str| {
        assert_eq!(client::get(&held.address, "/").expect("an answer").text(), "lines", "{what}");
        let other = lab.addresses().iter().find(|address| **address != held.address).expect("its own");
        assert_eq!(client::get(other, "/").expect("an answer").text(), "web", "{what}");
    };
    says("at a start");
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_DONE, 1);
    says("after a reload");
    lab.upgrade();
    says("after an upgrade");
    lab.stop();
    let place = "bind_named \"lines\" (set by the program): fd:lines: no socket of that name was passed";
    misfit().ended().assert_one_line(1, &[place]);
    misfit().passed("linse", [held.copy()]).ended().assert_one_line(1, &[place, "only linse"]);
}

#[test]
fn an_address_is_served_by_the_socket_that_has_it() {
    let held = Held::new();
    let lab = Start::lab().set("bind", &held.address).argument("--bind").argument("127.0.0.1:0");
    let lab = lab.passed("web", [held.copy()]).ready();
    lab.addresses().iter().for_each(|address| answers(address));
    assert_eq!(lab.addresses().len(), 2);
    lab.stop();
}

#[test]
fn who_waits_between_two_starts_is_served_by_the_second() {
    for mode in ["shared", "reuseport"] {
        let held = Held::new();
        let start = || Start::lab().set("bind", "fd:web").set("listen-mode", mode).passed("web", [held.copy()]).ready();
        let lab = start();
        assert_eq!(lab.queues(), 1, "what is passed stays one queue");
        answers(&held.address);
        lab.stop();
        let mut early: Vec<Client> = (0..5).map(|_| waiting(&held.address)).collect();
        let lab = start();
        for client in &mut early {
            assert_eq!(client.answer().expect("an answer").text(), "Hello, World!");
        }
        lab.stop();
    }
}

#[test]
fn a_stop_under_load_leaves_the_rest_to_the_next_start() {
    let held = Held::new();
    let start = || Start::lab().set("bind", "fd:web").passed("web", [held.copy()]).ready();
    let lab = start();
    let load = Load::fresh(&held.address, 4);
    load.more(50);
    lab.stop();
    let lab = start();
    load.more(50);
    load.finish_without_failure();
    lab.stop();
}

#[test]
fn the_path_of_a_passed_socket_stays() {
    let start = Start::lab().set("bind", "fd:local");
    let path = start.path("passed.sock");
    let unix = UnixListener::bind(&path).expect("nothing is there");
    let address = format!("unix:{}", path.display());
    let lab = start.passed("local", [unix.try_clone().expect("a descriptor").into()]).ready();
    answers(&address);
    lab.signal(Signal::SIGTERM);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    lab.assert_gone();
    assert!(path.exists());
    drop(waiting(&address));
}

#[test]
fn an_upgrade_hands_it_on_and_the_variables_are_gone() {
    for (bind, anchor) in [(Some("fd:web"), "never"), (None, "never"), (Some("fd:web"), "always")] {
        let held = Held::new();
        let start = Start::lab().set("anchor", anchor);
        let start = if let Some(bind) = bind { start.set("bind", bind) } else { start.without("bind") };
        let lab = start.passed("web", [held.copy()]).ready();
        let load = Load::fresh(&held.address, 2);
        load.more(20);
        lab.signal(Signal::SIGHUP);
        lab.until_logged(log::RELOAD_DONE, 1);
        load.more(20);
        lab.install(&Program::Script(format!("env > variables\nexec {} \"$@\"", example("lab").display())));
        lab.upgrade();
        let variables = fs::read_to_string(lab.path("variables")).expect("the successor has written them");
        assert!(variables.contains("PATH=") && !variables.contains("LISTEN_"), "{variables}");
        load.more(20);
        lab.upgrade();
        load.more(20);
        load.finish_without_failure();
        lab.signal(Signal::SIGTERM);
        lab.until("it is gone", || lab.processes().is_empty());
        drop(waiting(&held.address));
    }
}

#[test]
fn a_master_that_is_killed_loses_nobody_who_waits() {
    let held = Held::new();
    let lab = Start::lab().set("bind", "fd:web").passed("web", [held.copy()]).ready();
    lab.signal_all(Signal::SIGKILL);
    lab.until("it is gone", || lab.processes().is_empty());
    let mut early = waiting(&held.address);
    let lab = Start::lab().set("bind", "fd:web").passed("web", [held.copy()]).ready();
    assert_eq!(early.answer().expect("an answer").text(), "Hello, World!");
    lab.stop();
}

/// It is neither shut nor accepted from, not even by an old worker that drains: who comes waits for
/// whoever the service manager starts next.
#[test]
fn what_a_reload_retires_is_left_to_the_manager() {
    const RETIRED: log::Line = log::Line(&["is not served any more: no setting asks for it"]);
    for mode in ["shared", "reuseport"] {
        let held = Held::new();
        let start = Start::lab().without("bind").set("listen-mode", mode).set("drain-timeout", "10m");
        let lab = start.config("bind = ['fd:web', '127.0.0.1:0']").passed("web", [held.copy()]).ready();
        let stays = lab.addresses().iter().find(|address| **address != held.address).expect("two").clone();
        let mut streams: Vec<Client> = (0..8).map(|_| Client::connect(&held.address).expect("it listens")).collect();
        streams.iter_mut().for_each(|client| client.begin("/stream?chunks=60&ms=100").expect("the answer begins"));
        let (load, mut served) = (Load::fresh(&stays, 2), Vec::new());
        fs::write(lab.path("lab.toml"), format!("bind = ['{stays}']")).expect("other settings");
        lab.signal(Signal::SIGHUP);
        lab.until_logged(log::RELOAD_DONE, 1);
        lab.until_logged(RETIRED, 1);
        // The old ones have been told, which is not yet done.
        lab.until("only the new ones accept", || lab.ready().len() == 2);

        let mut late: Vec<Client> = (0..8).map(|_| waiting(&held.address)).collect();
        load.more(50);
        for _ in &late {
            let (mut taken, _) = wait::until("it waits in the queue", || held.listener.accept().ok());
            taken.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nmanager").expect("it is read");
            served.push(taken);
        }
        for client in &mut late {
            assert_eq!(client.answer().expect("an answer").text(), "manager");
        }
        for client in &mut streams {
            client.answer().expect("the whole answer, of an old worker");
        }
        load.more(50);
        load.finish_without_failure();
        lab.stop();
    }
}

#[test]
fn sockets_for_another_process_are_left_alone() {
    let held = Held::new();
    let start = Start::lab().variable("LISTEN_FDS", "1").variable("LISTEN_PID", "1");
    let lab = start.descriptors([held.copy()], "exec \"$@\"").ready();
    assert_ne!(lab.address(), held.address);
    lab.stop();
}

#[test]
fn what_is_wrong_is_one_line() {
    let held = Held::new();
    let web = |bind: &str| Start::lab().set("bind", bind).passed("web", [held.copy()]);
    let other = format!("the socket passed as `web`, on {}, is asked for by nothing", held.address);
    web("127.0.0.1:0").set("bind", "[::1]:0").ended().assert_one_line(1, &[&other, "`--bind fd:web`"]);
    web("fd:wbe")
        .ended()
        .assert_one_line(1, &["--bind (command line): fd:wbe: no socket of that name was passed, only web"]);
    Start::lab()
        .set("bind", "fd:web")
        .ended()
        .assert_one_line(1, &["--bind (command line): fd:web: no socket of that name was passed"]);
    Start::lab().set("bind", "fd:").ended().assert_one_line(1, &["--bind", "has to follow `fd:`"]);

    let unusable = |socket: OwnedFd| Start::lab().set("bind", "fd:web").passed("web", [socket]).ended();
    let datagram = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    unusable(datagram.into()).assert_one_line(1, &["descriptor 3, passed as `web`, is not a stream socket"]);
    let connection = TcpStream::connect(&held.address).expect("it listens");
    unusable(connection.into()).assert_one_line(1, &["descriptor 3, passed as `web`, does not listen"]);
    let file = File::open("/dev/null").expect("a device");
    unusable(file.into()).assert_one_line(1, &["descriptor 3, passed as `web`, is not a socket"]);

    let start = web("fd:web").variable("LISTEN_FDS", "3");
    start.ended().assert_one_line(1, &["descriptor 4, passed as `unknown`, cannot be used"]);
    let start = web("fd:web").variable("LISTEN_FDS", "some");
    start.ended().assert_one_line(1, &["LISTEN_FDS (environment): `some`: expected the number of descriptors"]);
}

#[test]
fn the_first_connection_of_systemd_socket_activate_is_served() {
    let held = Held::new();
    let address = held.address.clone();
    drop(held);
    let listen = format!("--listen={address}");
    let lab = Start::lab().set("bind", "fd:web").launcher(["systemd-socket-activate", &listen, "--fdname=web"]).spawn();
    lab.until("it listens", || log::Line(&["Listening on "]).count(&lab.log()) > 0);
    assert_eq!(log::READY.count(&lab.log()), 0, "nobody has come");
    let mut first = Client::connect(&address).expect("a connection");
    assert_eq!(first.get("/").expect("an answer").text(), "Hello, World!");
    lab.until_logged(log::READY, 1);
    lab.stop();
}

/// By `Server::Starter`'s own program, which is the first process.
fn starter(address: &str) -> Lab {
    let port = format!("--port={address}");
    let start = Start::lab().without("pid-file").set("bind", address);
    let lab = start.launcher(["start_server", &port, "--interval=1", "--"]).spawn();
    lab.until_logged(log::READY, 1);
    lab
}

#[test]
fn a_restart_by_start_server_fails_nobody() {
    let held = Held::new();
    let address = held.address.clone();
    drop(held);
    let lab = starter(&address);
    let first = lab.masters();
    let load = Load::fresh(&address, 2);
    load.more(50);
    lab.signal_to(lab.first(), Signal::SIGHUP);
    lab.until("the new one serves alone", || {
        let now = lab.masters();
        now.len() == 1 && now != first && log::READY.count(&lab.log()) == 2
    });
    load.more(50);
    load.finish_without_failure();
    lab.signal_to(lab.first(), Signal::SIGTERM);
    lab.until("all are gone", || lab.processes().is_empty());
}

#[test]
fn the_variable_of_server_starter_needs_no_other() {
    let held = Held::new();
    let port = format!("{}=3", held.address);
    let served = |bind: &str| {
        let start = Start::lab().set("bind", bind).variable("SERVER_STARTER_PORT", &port);
        let lab = start.descriptors([held.copy()], "exec \"$@\"").ready();
        answers(&held.address);
        lab.stop();
    };
    served(&held.address);
    served(&format!("fd:{}", held.address));
    let start = Start::lab().variable("SERVER_STARTER_PORT", "8080");
    start.ended().assert_one_line(1, &["SERVER_STARTER_PORT (environment): `8080`: expected"]);
}
