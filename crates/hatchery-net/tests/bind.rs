//! Binding: every kind of address, and who else wants it.

use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Stdio;
use std::sync::Barrier;
use std::thread;

use hatchery_net::{Address, ListenError, ListenMode, Listener, Listeners, QueueId};
use hatchery_sys::{accept, poll};
use socket2::{Domain, SockRef, Socket, Type};

mod common;

use common::{
    DEADLINE, ROLE, copies, copy, hear, second_program as second, second_with_few_descriptors, spec, take, take_all,
    tcp, unix_spec,
};

const BACKLOG: u32 = 1024;

fn bind(address: &str, mode: ListenMode, queues: u16) -> Result<Listener, ListenError> {
    Listener::bind(&spec(address), mode, queues, BACKLOG)
}

/// Does nothing but in a process that another test has started.
#[test]
fn second_program() {
    let Ok(role) = std::env::var(ROLE) else { return };
    match role.split_once(' ') {
        Some(("bind", address)) => {
            for mode in [ListenMode::Shared, ListenMode::Reuseport] {
                match bind(address, mode, 2) {
                    Ok(_) => println!("{mode}: bound"),
                    Err(error) => println!("{mode}: {error}"),
                }
            }
        }
        Some(("accept", _)) => {
            let queue = io::stdin().as_fd().try_clone_to_owned().expect("a descriptor");
            poll::readable(&[queue.as_fd()], Some(DEADLINE)).expect("poll");
            let _first = accept::accept(queue.as_fd()).expect("a connection");
            println!("accepted");
            // Until it is killed.
            thread::park();
        }
        Some(("hold", _)) => {
            let queue = io::stdin().as_fd().try_clone_to_owned().expect("a descriptor");
            println!("holding");
            io::stdout().flush().expect("a pipe");
            poll::readable(&[queue.as_fd()], Some(DEADLINE)).expect("poll");
            match accept::accept(queue.as_fd()) {
                Ok(_) => println!("woken by a connection"),
                // A unix listener goes on saying that nobody waits.
                Err(_) if poll::is_read_closed(queue.as_fd()) => println!("woken: it was shut"),
                Err(error) => println!("woken: {error}"),
            }
            thread::park();
        }
        None if role == "add" => add_too_many(),
        _ => panic!("no role {role}"),
    }
    println!("done");
}

#[test]
fn tcp_gets_a_real_port_and_the_right_flags() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = bind(address, ListenMode::Shared, 8).expect("a port is free");
        assert_eq!(listener.asked().to_string(), address);
        assert_eq!(listener.queues().len(), 1);
        let bound = tcp(&listener);
        assert_ne!(bound.port(), 0);
        let queue = &listener.queues()[0];
        assert_eq!(accept::accept(queue.as_fd()).expect_err("nobody").kind(), io::ErrorKind::WouldBlock);
        assert!(closes_on_exec(queue));
        let client = TcpStream::connect(bound).expect("it listens");
        poll::readable(&[queue.as_fd()], Some(DEADLINE)).expect("poll");
        let (accepted, peer) = accept::accept(queue.as_fd()).expect("a connection");
        assert_eq!(peer, client.local_addr().ok());
        let socket = SockRef::from(&accepted);
        assert!(socket.tcp_nodelay().expect("an option"), "inherited from the listener");
        assert!(socket.nonblocking().expect("a flag"));
        assert!(closes_on_exec(&accepted));
    }
}

fn closes_on_exec(fd: &impl AsRawFd) -> bool {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).expect("/proc");
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("flags");
    u32::from_str_radix(flags.trim(), 8).expect("octal") & 0o2_000_000 != 0
}

#[test]
fn ipv6_leaves_ipv4_alone() {
    let six = bind("[::]:0", ListenMode::Shared, 1).expect("a port is free");
    let four = format!("0.0.0.0:{}", tcp(&six).port());
    // Unless a stranger has just this port, which port 0 makes unlikely.
    bind(&four, ListenMode::Shared, 1).expect("the same port of the other family");
}

#[test]
fn a_second_program_is_refused_in_every_mode() {
    for mode in [ListenMode::Shared, ListenMode::Reuseport] {
        let listener = bind("127.0.0.1:0", mode, 4).expect("a port is free");
        let address = listener.bound().to_string();
        let heard = hear(&mut second(&format!("bind {address}"), Stdio::null()), "done");
        let refusal = format!("address in use: {address} is held by another program");
        assert!(heard.contains(&format!("shared: {refusal}")), "{heard}");
        assert!(heard.contains(&format!("reuseport: {refusal}")), "{heard}");
    }
}

#[test]
fn queues_are_added_where_there_can_be_several() {
    let dir = tempfile::tempdir().expect("a directory");
    let many = bind("127.0.0.1:0", ListenMode::Reuseport, 1).expect("a port is free");
    let shared = bind("127.0.0.1:0", ListenMode::Shared, 1).expect("a port is free");
    let six = bind("[::1]:0", ListenMode::Reuseport, 3).expect("a port is free");
    let unix = Listener::bind(&unix_spec(&dir.path().join("x")), ListenMode::Reuseport, 3, BACKLOG).expect("a path");
    let port = tcp(&many);
    let mut listeners = Listeners::new(vec![many, shared, six, unix]);
    listeners.add_queues(2).expect("they can be had");
    assert_eq!(listeners.queue_counts(), [2, 1, 3, 1]);
    listeners.add_queues(4).expect("they can be had");
    assert_eq!(listeners.queue_counts(), [4, 1, 4, 1]);
    let many = listeners.get(0).expect("it is there");
    let clients: Vec<_> = (0..64).map(|_| TcpStream::connect(port).expect("it listens")).collect();
    let waiting: Vec<usize> = many.queues().iter().map(take_all).collect();
    assert_eq!(waiting.iter().sum::<usize>(), clients.len());
    assert!(waiting.iter().all(|count| *count > 0), "the kernel chooses among all: {waiting:?}");
}

#[test]
fn added_queues_have_the_backlog_of_the_others() {
    let listener = Listener::bind(&spec("127.0.0.1:0"), ListenMode::Reuseport, 1, 1).expect("a port is free");
    let port = tcp(&listener);
    let mut listeners = Listeners::new(vec![listener]);
    listeners.add_queues(2).expect("they can be had");
    let _clients: Vec<Socket> = (0..64)
        .map(|_| {
            let client = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            client.set_nonblocking(true).expect("a flag");
            // Most of them find the queues full.
            let _ = client.connect(&port.into());
            client
        })
        .collect();
    let waiting = listeners.get(0).expect("it is there").queues().iter().map(take_all);
    assert_eq!(waiting.collect::<Vec<_>>(), [2, 2], "one more than the backlog");
}

#[test]
fn where_one_cannot_be_added_none_is() {
    let heard = hear(&mut second_with_few_descriptors("add", 40), "done");
    assert!(heard.contains("refused: Too many open files"), "{heard}");
    assert!(heard.contains("[1, 2] and then [3, 3]"), "{heard}");
}

/// In a process of its own, which has few descriptors left.
fn add_too_many() {
    let bind = |queues| bind("127.0.0.1:0", ListenMode::Reuseport, queues).expect("a port is free");
    let mut listeners = Listeners::new(vec![bind(1), bind(2)]);
    // The first listener could have as many.
    let error = listeners.add_queues(25).expect_err("there are not so many descriptors");
    println!("refused: {}", std::error::Error::source(&error).expect("a reason"));
    let before = listeners.queue_counts();
    listeners.add_queues(3).expect("there are so many");
    println!("{before:?} and then {:?}", listeners.queue_counts());
}

#[test]
fn a_queue_that_was_added_elsewhere_is_adopted() {
    let mut owner = Listeners::new(vec![bind("127.0.0.1:0", ListenMode::Reuseport, 2).expect("a port is free")]);
    let first = owner.get(0).expect("it is there");
    let mut copy_of_it =
        Listeners::new(vec![Listener::inherit(&spec(&first.bound().to_string()), copies(first)).expect("right")]);
    owner.add_queues(3).expect("they can be had");
    let new = QueueId { listener: 0, index: 2 };
    let handed = || copy(owner.queue(new).expect("it is there").1);
    for _ in 0..2 {
        copy_of_it.adopt_queue(new, handed()).expect("it is right, and known the second time");
        assert_eq!(copy_of_it.queue_counts(), [3]);
    }
    let refused = |listeners: &mut Listeners, listener, index, fd| {
        listeners.adopt_queue(QueueId { listener, index }, fd).expect_err("it is wrong").to_string()
    };
    assert_eq!(refused(&mut copy_of_it, 1, 0, handed()), "cannot be used: there is no listener 1");
    assert_eq!(
        refused(&mut copy_of_it, 0, 4, handed()),
        "cannot be used: queue 0.4 comes before those with lower numbers"
    );
    let pipe = OwnedFd::from(io::pipe().expect("a pipe").0);
    assert_eq!(refused(&mut copy_of_it, 0, 3, pipe), "is not a socket");
    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    assert!(refused(&mut copy_of_it, 0, 3, elsewhere.into()).starts_with("listens on 127.0.0.1:"));
}

#[test]
fn of_many_that_start_at_once_one_wins() {
    const STARTS: usize = 6;
    for mode in [ListenMode::Shared, ListenMode::Reuseport] {
        for _ in 0..30 {
            let free = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port is free");
            let all_ready = Barrier::new(STARTS);
            let start = || {
                all_ready.wait();
                bind(&free.to_string(), mode, 3)
            };
            let outcomes: Vec<_> = thread::scope(|scope| {
                let starts: Vec<_> = (0..STARTS).map(|_| scope.spawn(start)).collect();
                starts.into_iter().map(|start| start.join().expect("no panic")).collect()
            });
            let winners = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
            // None, if two listen at the very same moment: the kernel then sees each in the other's way.
            assert!(winners <= 1, "{mode}: {outcomes:?}");
            assert!(
                outcomes.iter().all(|outcome| matches!(outcome, Ok(_) | Err(ListenError::InUse { .. }))),
                "{outcomes:?}"
            );
        }
    }
}

#[test]
fn every_queue_of_a_group_gets_connections() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = bind(address, ListenMode::Reuseport, 4).expect("a port is free");
        assert_eq!(listener.queues().len(), 4);
        let clients: Vec<_> = (0..400).map(|_| TcpStream::connect(tcp(&listener)).expect("it listens")).collect();
        let counts: Vec<usize> = listener.queues().iter().map(take_all).collect();
        assert_eq!(counts.iter().sum::<usize>(), clients.len());
        assert!(counts.iter().all(|count| *count > 40), "{counts:?}");
    }
}

#[test]
fn what_is_queued_survives_the_worker() {
    for mode in [ListenMode::Shared, ListenMode::Reuseport] {
        let listener = bind("127.0.0.1:0", mode, 1).expect("a port is free");
        let mut clients: Vec<_> = (0..20).map(|_| TcpStream::connect(tcp(&listener)).expect("it listens")).collect();
        let mut worker = second("accept ", copy(&listener.queues()[0]));
        hear(&mut worker, "accepted");
        worker.kill().expect("it lives");
        worker.wait().expect("a child");
        let survivors: Vec<OwnedFd> = (0..19).map(|_| take(&listener.queues()[0])).collect();
        assert_eq!(survivors.len(), 19);
        for client in &mut clients[1..] {
            client.write_all(b"still there").expect("not reset");
        }
    }
}

#[test]
fn shut_ends_it_for_every_holder_and_frees_the_address() {
    for mode in [ListenMode::Shared, ListenMode::Reuseport] {
        let listener = bind("127.0.0.1:0", mode, 3).expect("a port is free");
        let address = tcp(&listener);
        let mut holder = second("hold ", copy(&listener.queues()[0]));
        hear(&mut holder, "holding");
        listener.shut();
        listener.shut();
        hear(&mut holder, "woken: it was shut");
        assert_eq!(TcpStream::connect(address).expect_err("refused").kind(), io::ErrorKind::ConnectionRefused);
        // Both this process and the holder still have their copies.
        let next = bind(&address.to_string(), mode, 3).expect("it is free again");
        let _client = TcpStream::connect(address).expect("it listens");
        assert_eq!(next.queues().iter().map(take_all).sum::<usize>(), 1);
        holder.kill().expect("it lives");
        holder.wait().expect("a child");
    }
}

#[test]
fn errors_say_what_is_wrong() {
    let text = |address: &str| bind(address, ListenMode::Shared, 1).expect_err("cannot be had").to_string();
    let expected = "cannot listen on 203.0.113.7:8080: this machine does not have that IP address";
    assert_eq!(text("203.0.113.7:8080"), expected);
    assert_eq!(text("unix:/no/such/x"), "cannot listen on unix:/no/such/x: its directory does not exist");
    let long = format!("unix:/{}", "x".repeat(107));
    let expected = format!("cannot listen on {long}: the path is too long for a unix socket (108 bytes, at most 107)");
    assert_eq!(text(&long), expected);
}

#[test]
fn a_unix_socket_is_made_and_removed() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("x.sock");
    let listener = Listener::bind(&unix_spec(&path), ListenMode::Reuseport, 4, BACKLOG).expect("nothing is there");
    assert_eq!(listener.queues().len(), 1, "the kernel has no groups of them");
    let _client = UnixStream::connect(&path).expect("it listens");
    take(&listener.queues()[0]);
    assert!(closes_on_exec(&listener.queues()[0]));
    let entries: Vec<_> =
        fs::read_dir(&dir).expect("a directory").map(|entry| entry.expect("one").file_name()).collect();
    assert_eq!(entries, ["x.sock"], "and no temporary file");
    listener.remove_file();
    assert!(!path.exists());
    listener.remove_file();
}

#[test]
fn a_stale_unix_socket_is_replaced_and_a_live_one_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("x.sock");
    drop(UnixListener::bind(&path).expect("nothing is there"));
    assert!(path.exists(), "its file stays");
    let listener = Listener::bind(&unix_spec(&path), ListenMode::Shared, 1, BACKLOG).expect("stale");
    let inode = fs::metadata(&path).expect("the file").ino();
    let heard = hear(&mut second(&format!("bind unix:{}", path.display()), Stdio::null()), "done");
    let refusal = format!("shared: address in use: unix:{} is held by another program", path.display());
    assert!(heard.contains(&refusal), "{heard}");
    assert_eq!(fs::metadata(&path).expect("the file").ino(), inode);
    // Who knocked to see whether it lives is gone again.
    while take_all(&listener.queues()[0]) > 0 {}
    let _client = UnixStream::connect(&path).expect("it still listens");
    take(&listener.queues()[0]);
}

#[test]
fn a_live_unix_socket_whose_queue_is_full_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("x.sock");
    let listener = Listener::bind(&unix_spec(&path), ListenMode::Shared, 1, 0).expect("nothing is there");
    let _client = UnixStream::connect(&path).expect("one fits");
    let refused = Listener::bind(&unix_spec(&path), ListenMode::Shared, 1, 0).expect_err("held");
    assert!(matches!(refused, ListenError::InUse { .. }), "{refused}");
    drop(listener);
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("precious");
    fs::write(&path, "text").expect("a file");
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).expect("a link");
    for place in [&path, &link, &dir.path().to_owned()] {
        let refused = Listener::bind(&unix_spec(place), ListenMode::Shared, 1, BACKLOG).expect_err("no socket");
        assert!(matches!(refused, ListenError::NotASocket { .. }), "{refused}");
    }
    assert_eq!(fs::read_to_string(&path).expect("the file"), "text");
}

#[test]
fn a_file_that_became_somebody_elses_is_not_removed() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("x.sock");
    let listener = Listener::bind(&unix_spec(&path), ListenMode::Shared, 1, BACKLOG).expect("nothing is there");
    let moved = dir.path().join("moved");
    fs::rename(&path, &moved).expect("moved away");
    let other = UnixListener::bind(&path).expect("nothing is there");
    listener.remove_file();
    assert!(path.exists() && moved.exists());
    drop(other);
}

#[test]
fn a_shut_unix_socket_refuses_and_wakes() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("x.sock");
    let listener = Listener::bind(&unix_spec(&path), ListenMode::Shared, 1, BACKLOG).expect("nothing is there");
    let mut holder = second("hold ", copy(&listener.queues()[0]));
    hear(&mut holder, "holding");
    listener.shut();
    hear(&mut holder, "woken: it was shut");
    assert_eq!(UnixStream::connect(&path).expect_err("refused").kind(), io::ErrorKind::ConnectionRefused);
    // Stale now, though both still hold it.
    let next = Listener::bind(&unix_spec(&path), ListenMode::Shared, 1, BACKLOG).expect("free again");
    listener.remove_file();
    assert!(path.exists(), "it is the next one's");
    next.remove_file();
    assert!(!path.exists());
    holder.kill().expect("it lives");
    holder.wait().expect("a child");
}

#[test]
fn addresses_can_be_compared() {
    let listener = bind("127.0.0.1:0", ListenMode::Shared, 1).expect("a port is free");
    let bound: SocketAddr = tcp(&listener);
    assert_eq!(*listener.bound(), Address::from(bound));
}
