//! Hosts of a small network, each a network namespace: servers, proxies and clients that
//! reach one another as machines do, and nothing of this machine's.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::wait;

/// A switch, and the hosts at it.
#[derive(Debug)]
pub struct Network {
    switch: Namespace,
    hosts: Vec<Host>,
}

/// A machine, as far as its network is concerned.
#[derive(Debug)]
pub struct Host {
    namespace: Namespace,
    address: String,
}

/// A namespace that lives as long as a process that waits for the end of its input: it
/// ends with this process, however that ends.
#[derive(Debug)]
struct Namespace {
    holder: Child,
    path: String,
}

impl Network {
    /// So many hosts, from 10.0.0.11 on. `None`, which is said, where nobody may make them.
    ///
    /// # Panics
    /// When they can be made, and not be connected.
    #[must_use]
    pub fn of(hosts: u8) -> Option<Self> {
        let tried = Command::new("unshare").args(["--net", "true"]).output();
        if !tried.is_ok_and(|tried| tried.status.success()) {
            eprintln!("SKIPPED: no network namespace can be made here; as root it can");
            return None;
        }
        let switch = Namespace::new();
        switch.ip("link add name switch type bridge");
        switch.ip("link set switch up");
        let hosts = (0..hosts).map(|index| Host::at(&switch, index)).collect();
        Some(Self { switch, hosts })
    }

    /// One of them.
    ///
    /// # Panics
    /// When there are not so many.
    #[must_use]
    pub fn host(&self, index: usize) -> &Host {
        &self.hosts[index]
    }

    /// Pulls the plug of a host, or puts it back.
    pub fn connect(&self, index: usize, connected: bool) {
        self.switch.ip(&format!("link set port{index} {}", if connected { "up" } else { "down" }));
    }
}

impl Host {
    fn at(switch: &Namespace, index: u8) -> Self {
        let namespace = Namespace::new();
        let (address, holder) = (format!("10.0.0.{}", 11 + index), namespace.holder.id());
        switch.ip(&format!("link add port{index} type veth peer name eth0 netns {holder}"));
        switch.ip(&format!("link set port{index} master switch up"));
        namespace.ip(&format!("addr add {address}/24 dev eth0"));
        namespace.ip("link set lo up");
        namespace.ip("link set eth0 up");
        Self { namespace, address }
    }

    /// Its IP address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What starts a program there, by becoming it.
    #[must_use]
    pub fn launcher(&self) -> Vec<&str> {
        vec!["nsenter", &self.namespace.path]
    }

    /// Does something there, with every thread that it starts.
    ///
    /// # Panics
    /// When it does.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        within(Path::new(self.namespace.path.trim_start_matches("--net=")), work)
    }
}

/// Does something in a network namespace, with every thread that it starts.
///
/// # Panics
/// When it does, or the namespace cannot be entered.
pub fn within<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            let namespace = File::open(path).expect("a namespace");
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("root may enter it");
            work()
        });
        inside.join().expect("work in a namespace")
    })
}

impl Namespace {
    fn new() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "cat"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let holder = command.spawn().expect("a namespace");
        let path = format!("--net=/proc/{}/ns/net", holder.id());
        let own = std::fs::read_link("/proc/self/ns/net").expect("Linux has namespaces");
        wait::until("it has its own network", || {
            let its = std::fs::read_link(path.trim_start_matches("--net=")).ok()?;
            (its != own).then_some(())
        });
        Self { holder, path }
    }

    fn ip(&self, arguments: &str) {
        let done = Command::new("nsenter").args([&self.path, "ip"]).args(arguments.split(' ')).output();
        let done = done.expect("nsenter and ip");
        assert!(done.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
