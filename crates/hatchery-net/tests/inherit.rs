//! Queues that another program has bound, and what is left to bind.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};

use hatchery_net::{
    Address, Fault, Holder, Inherited, ListenError, ListenMode, Listener, Listeners, QueueId, Spec, claim,
};
use socket2::{Domain, SockRef, Socket, Type};

mod common;

use common::{copies, spec, take, tcp, unix_spec};

const BACKLOG: u32 = 1024;

fn bind(address: &str, mode: ListenMode, queues: u16) -> Listener {
    Listener::bind(&spec(address), mode, queues, BACKLOG).expect("a port is free")
}

fn bound_spec(listener: &Listener) -> Spec {
    Spec { name: None, address: listener.bound().clone() }
}

fn handed(listener: &Listener) -> Inherited {
    Inherited { address: listener.bound().clone(), fds: copies(listener), holder: Holder::Program }
}

fn fault(spec: &Spec, fd: impl Into<OwnedFd>) -> Fault {
    let fd = fd.into();
    let number = fd.as_raw_fd();
    match Listener::inherit(spec, vec![fd]).expect_err("it is not what it should be") {
        ListenError::Inherited { address, fd, fault } => {
            assert_eq!((address, fd), (spec.address.clone(), number));
            fault
        }
        other => panic!("{other}"),
    }
}

#[test]
fn queues_are_taken_as_they_are() {
    let listener = bind("127.0.0.1:0", ListenMode::Reuseport, 3);
    let named = Spec { name: Some("public".to_owned()), address: listener.bound().clone() };
    let heir = Listener::inherit(&named, copies(&listener)).expect("they are right");
    assert_eq!((heir.name(), heir.queues().len()), (Some("public"), 3));
    assert_eq!(heir.bound(), listener.bound());
    drop(listener);
    let _client = TcpStream::connect(tcp(&heir)).expect("it listens");
}

#[test]
fn a_service_managers_socket_is_made_ready() {
    let passed = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    SockRef::from(&passed).set_cloexec(false).expect("a flag");
    let address = Address::Tcp(passed.local_addr().expect("an address"));
    let heir = Listener::inherit(&Spec { name: None, address }, vec![passed.into()]).expect("it is right");
    let socket = SockRef::from(&heir.queues()[0]);
    assert!(socket.nonblocking().expect("a flag") && socket.tcp_nodelay().expect("an option"));
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", heir.queues()[0].as_raw_fd())).expect("/proc");
    assert!(info.contains("flags:\t02004002"), "{info}");
}

#[test]
fn what_is_not_a_listener_of_the_address_is_refused() {
    let listener = bind("127.0.0.1:0", ListenMode::Shared, 1);
    let wanted = bound_spec(&listener);
    assert_eq!(fault(&wanted, File::open("/dev/null").expect("a device")), Fault::NotASocket);
    assert_eq!(fault(&wanted, std::io::pipe().expect("a pipe").0), Fault::NotASocket);
    assert_eq!(fault(&wanted, UdpSocket::bind("127.0.0.1:0").expect("a port is free")), Fault::NotAStream);
    let silent = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    assert_eq!(fault(&wanted, silent), Fault::NotListening);
    assert_eq!(fault(&wanted, TcpStream::connect(tcp(&listener)).expect("it listens")), Fault::NotListening);
    let other = bind("127.0.0.1:0", ListenMode::Shared, 1);
    assert_eq!(fault(&wanted, copies(&other).remove(0)), Fault::Elsewhere { on: other.bound().to_string() });
    let six = bind("[::1]:0", ListenMode::Shared, 1);
    assert_eq!(fault(&spec("127.0.0.1:0"), copies(&six).remove(0)), Fault::Elsewhere { on: six.bound().to_string() });
    let dir = tempfile::tempdir().expect("a directory");
    let unix = UnixListener::bind(dir.path().join("x")).expect("nothing is there");
    let on = format!("unix:{}", dir.path().join("x").display());
    assert_eq!(fault(&wanted, unix), Fault::Elsewhere { on });
    let (one, _other) = UnixStream::pair().expect("a pair");
    assert_eq!(fault(&wanted, one), Fault::NotListening);
    assert!(matches!(Listener::inherit(&wanted, Vec::new()), Err(ListenError::NothingInherited { .. })));
}

#[test]
fn the_refusal_names_descriptor_address_and_fault() {
    let file = File::open("/dev/null").expect("a device");
    let fd = file.as_raw_fd();
    let text = Listener::inherit(&spec("127.0.0.1:8080"), vec![file.into()]).expect_err("a file").to_string();
    assert_eq!(text, format!("descriptor {fd}, handed over for 127.0.0.1:8080, is not a socket"));
}

#[test]
fn queues_of_one_listener_have_to_agree() {
    let (one, other) = (bind("127.0.0.1:0", ListenMode::Shared, 1), bind("127.0.0.1:0", ListenMode::Shared, 1));
    let mixed = vec![copies(&one).remove(0), copies(&other).remove(0)];
    let refused = Listener::inherit(&spec("127.0.0.1:0"), mixed).expect_err("two ports");
    assert!(matches!(refused, ListenError::Inherited { fault: Fault::Elsewhere { .. }, .. }), "{refused}");
}

#[test]
fn a_unix_socket_keeps_its_inode_from_heir_to_heir() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("x.sock");
    let first = Listener::bind(&unix_spec(&path), ListenMode::Shared, 1, BACKLOG).expect("nothing is there");
    let inode = || fs::metadata(&path).expect("the file").ino();
    let before = inode();
    let second = Listener::inherit(&unix_spec(&path), copies(&first)).expect("it is right");
    drop(first);
    let third = Listener::inherit(&unix_spec(&path), copies(&second)).expect("it is right");
    drop(second);
    assert_eq!(inode(), before);
    let _client = UnixStream::connect(&path).expect("it listens");
    take(&third.queues()[0]);
    third.remove_file();
    assert!(!path.exists());
}

#[test]
fn an_heir_does_not_remove_what_was_put_in_its_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("x.sock");
    let first = Listener::bind(&unix_spec(&path), ListenMode::Shared, 1, BACKLOG).expect("nothing is there");
    fs::remove_file(&path).expect("an operator's mistake");
    let stranger = UnixListener::bind(&path).expect("nothing is there");
    let heir = Listener::inherit(&unix_spec(&path), copies(&first)).expect("it still listens");
    heir.remove_file();
    assert!(path.exists(), "it is the stranger's");
    drop(stranger);
}

#[test]
fn each_takes_its_own_then_any_port_then_binds() {
    let (one, two, three) = (
        bind("127.0.0.1:0", ListenMode::Shared, 1),
        bind("127.0.0.1:0", ListenMode::Reuseport, 2),
        bind("[::1]:0", ListenMode::Shared, 1),
    );
    let extra = bind("127.0.0.1:0", ListenMode::Shared, 1);
    let specs = [spec("127.0.0.1:0"), bound_spec(&two), spec("[::1]:0"), spec("127.0.0.1:0"), spec("[::1]:0")];
    let inherited = [&one, &two, &three, &extra, &bind("127.0.0.1:0", ListenMode::Shared, 1)].map(handed);
    let (listeners, left) = claim(&specs, inherited.into(), ListenMode::Reuseport, 4, BACKLOG).expect("all right");
    let bound: Vec<_> = listeners.iter().map(Listener::bound).collect();
    assert_eq!(bound[..4], [one.bound(), two.bound(), three.bound(), extra.bound()]);
    assert_ne!(bound[4], three.bound(), "nothing was left for it");
    assert_eq!(listeners.queue_counts(), [1, 2, 1, 1, 4], "what is handed over keeps its queues");
    assert_eq!(left.len(), 1);
    check_numbers(&listeners);
}

fn check_numbers(listeners: &Listeners) {
    let ids = |listener: u16| listeners.queue_ids(listener).map(|id| id.to_string()).collect::<Vec<_>>();
    assert_eq!((ids(1), ids(5).len()), (vec!["1.0".to_owned(), "1.1".to_owned()], 0));
    let (listener, queue) = listeners.queue(QueueId { listener: 1, index: 1 }).expect("it exists");
    assert_eq!(listener.bound(), listeners.get(1).expect("it exists").bound());
    assert_eq!(queue.as_raw_fd(), listener.queues()[1].as_raw_fd());
    for missing in [QueueId { listener: 1, index: 2 }, QueueId { listener: 5, index: 0 }] {
        assert!(listeners.queue(missing).is_none());
    }
    assert_eq!((listeners.len(), listeners.is_empty()), (5, false));
}

#[test]
fn an_address_asked_for_twice_is_refused() {
    let error = claim(&[spec("127.0.0.1:1"), spec("127.0.0.1:1")], Vec::new(), ListenMode::Shared, 1, BACKLOG);
    assert_eq!(error.expect_err("twice").to_string(), "127.0.0.1:1 is asked for twice");
    let twice = [spec("127.0.0.1:0"), spec("127.0.0.1:0")];
    let (listeners, _) = claim(&twice, Vec::new(), ListenMode::Shared, 1, BACKLOG).expect("two ports");
    assert_eq!(listeners.len(), 2);
}

#[test]
fn a_failure_leaves_no_new_file_and_every_old_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    let before = Listener::bind(&unix_spec(&old), ListenMode::Shared, 1, BACKLOG).expect("nothing is there");
    let taken = bind("127.0.0.1:0", ListenMode::Shared, 1);
    let specs = [unix_spec(&old), unix_spec(&new), bound_spec(&taken)];
    let failed = claim(&specs, vec![handed(&before)], ListenMode::Shared, 1, BACKLOG).expect_err("one is taken");
    assert!(matches!(failed, ListenError::InUse { .. }), "{failed}");
    assert!(old.exists() && !new.exists());
    let _client = UnixStream::connect(&old).expect("it still listens");
}
