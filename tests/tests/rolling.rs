//! Several hosts behind haproxy, or nginx, with the configurations in
//! `examples/deploy`: each host in turn is operated, and no client notices.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use hatchery_tests::client;
use hatchery_tests::load::Load;
use hatchery_tests::neighbour::{Neighbour, deployed, with};
use hatchery_tests::network::{Host, Network};
use hatchery_tests::{End, Lab, Start, log, wait};
use nix::sys::signal::Signal;

/// The hosts, by their names in haproxy's configuration.
const HOSTS: [&str; 3] = ["a", "b", "c"];
const PROXY: usize = 3;
const CLIENT: usize = 4;

/// Where the proxy listens.
const FRONT: &str = "10.0.0.14:80";

/// What a host's server is given besides its address.
type Settings = fn(Start, &Network, usize) -> Start;

struct Site {
    labs: Vec<Lab>,
    proxy: Neighbour,
    network: Network,
    settings: Settings,
}

fn lab(network: &Network, index: usize, settings: Settings) -> Lab {
    let host = network.host(index);
    let start = Start::lab().set("bind", &format!("{}:8080", host.address())).variable("LAB_BUILD", HOSTS[index]);
    settings(start, network, index).launcher(host.launcher()).ready()
}

/// For a proxy that checks no health.
fn unchecked(start: Start, _: &Network, _: usize) -> Start {
    start
}

fn checked(start: Start, network: &Network, index: usize) -> Start {
    start.set("admin", &format!("{}:9090", network.host(index).address()))
}

/// As the proxy's configuration says.
fn that_says_goodbye(start: Start, network: &Network, index: usize) -> Start {
    let text = deployed("haproxy/haproxy.cfg");
    let delay = text.split("--stop-delay ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a delay");
    checked(start, network, index).set("stop-delay", delay)
}

/// It is told when it is known that it goes.
fn that_says_a_long_goodbye(start: Start, network: &Network, index: usize) -> Start {
    checked(start, network, index).set("stop-delay", "10m")
}

/// Connections begin with who the client is; those that are no proxies speak HTTP at once.
fn that_expects_a_header(start: Start, network: &Network, index: usize) -> Start {
    checked(start, network, index).set("proxy-protocol-from", network.host(PROXY).address())
}

impl Site {
    /// `None` where there can be no hosts.
    fn behind(proxy: impl FnOnce(&Host) -> Neighbour, settings: Settings) -> Option<Self> {
        let network = Network::of(5)?;
        let labs = (0..HOSTS.len()).map(|index| lab(&network, index, settings)).collect();
        let site = Self { labs, proxy: proxy(network.host(PROXY)), network, settings };
        site.until_all_serve();
        Some(site)
    }

    fn at_clients<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.network.host(CLIENT).run(work)
    }

    fn until_all_serve(&self) {
        let who = |_| client::get(FRONT, "/whoami").ok().filter(|it| it.status == 200)?.whoami().build;
        wait::until("every host serves", || {
            self.proxy.assert_runs();
            let found: Vec<String> = self.at_clients(|| (0..9).filter_map(who).collect());
            HOSTS.iter().all(|name| found.iter().any(|it| it == name)).then_some(())
        });
    }

    fn upgrade_and_reload(&self, index: usize, clients: &Clients) {
        let lab = &self.labs[index];
        let generation = lab.generation().expect("a master");
        lab.upgrade();
        assert_eq!(lab.generation(), Some(generation + 1));
        clients.more();
        let before = lab.ready();
        lab.signal(Signal::SIGHUP);
        lab.until_logged(log::RELOAD_DONE, 1);
        lab.until("every worker is new", || lab.ready().is_disjoint(&before) && lab.ready().len() == 2);
        clients.more();
    }

    /// `told` returns when everybody knows whom an order to stop has come to.
    fn restart(&mut self, index: usize, clients: &Clients, told: impl FnOnce(&Lab)) {
        let old = &self.labs[index];
        let master = old.serving();
        old.signal(Signal::SIGTERM);
        told(old);
        assert_eq!(old.end_of(master), End::Code(0));
        old.assert_gone();
        clients.more();
        self.labs[index] = lab(&self.network, index, self.settings);
        self.until_all_serve();
    }

    /// Operates one host after the other, and asserts that no client has noticed.
    fn operated(mut self, operate: impl Fn(&mut Self, usize, &Clients)) {
        let clients = Clients::of(&self);
        for index in 0..HOSTS.len() {
            clients.more();
            operate(&mut self, index, &clients);
        }
        clients.finish_without_failure();
        self.stop();
    }

    fn stop(self) {
        for lab in self.labs {
            lab.signal(Signal::SIGINT);
            assert_eq!(lab.end_of(lab.serving()), End::Code(0));
            lab.assert_gone();
        }
    }
}

/// Clients of the kinds that there are, none of which sends a request twice.
struct Clients(Vec<Load>);

impl Clients {
    fn of(site: &Site) -> Self {
        site.at_clients(|| {
            let (busy, thinking) = (Duration::ZERO, Duration::from_millis(15));
            Self(vec![Load::fresh(FRONT, 2), Load::keep_alive(FRONT, 2, busy), Load::keep_alive(FRONT, 6, thinking)])
        })
    }

    fn more(&self) {
        self.0.iter().for_each(|load| load.more(30));
    }

    fn finish_without_failure(self) {
        self.more();
        self.0.into_iter().for_each(Load::finish_without_failure);
    }
}

fn haproxy(host: &Host, runtime: &Path, words: &[(&str, &str)]) -> Neighbour {
    let text = with(&deployed("haproxy/haproxy.cfg"), &[("/run/haproxy/admin.sock", &runtime.display().to_string())]);
    Neighbour::haproxy(&host.launcher(), &with(&text, words), None)
}

/// Asks over haproxy's runtime socket.
fn ask(runtime: &Path, command: &str) -> String {
    let mut socket = UnixStream::connect(runtime).expect("haproxy's socket");
    writeln!(socket, "{command}").expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    answer
}

/// Whether haproxy sends clients to a host: `srv_op_state`, in its management guide.
fn is_up(runtime: &Path, name: &str) -> bool {
    let servers = ask(runtime, "show servers state app");
    let fields = servers.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let state = fields.filter(|fields| fields.get(3) == Some(&name)).map(|fields| fields[5].to_owned()).next();
    state.unwrap_or_else(|| panic!("no {name} in:\n{servers}")) != "0"
}

const HAPROXY_RETRIES: [(&str, &str); 2] =
    [("retries 3", "retries 0"), ("retry-on conn-failure empty-response", "retry-on none")];

#[test]
fn behind_haproxy_without_retries_nothing_fails_where_hosts_say_that_they_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = folder.path().join("admin.sock");
    let proxy = |host: &Host| haproxy(host, &runtime, &HAPROXY_RETRIES);
    let Some(site) = Site::behind(proxy, that_says_a_long_goodbye) else { return };
    site.operated(|site, index, clients| {
        site.upgrade_and_reload(index, clients);
        assert!(is_up(&runtime, HOSTS[index]));
        site.restart(index, clients, |old| {
            wait::until("haproxy looks elsewhere", || (!is_up(&runtime, HOSTS[index])).then_some(()));
            // What was on its way has come, and was served.
            clients.more();
            old.signal(Signal::SIGTERM);
        });
    });
}

#[test]
fn behind_haproxy_as_it_is_configured_a_restart_costs_nothing_either() {
    let folder = tempfile::tempdir().expect("a folder");
    let proxy = |host: &Host| haproxy(host, &folder.path().join("admin.sock"), &[]);
    let Some(site) = Site::behind(proxy, that_says_goodbye) else { return };
    site.operated(|site, index, clients| site.restart(index, clients, |_| {}));
}

fn nginx(host: &Host, retries: &str) -> Neighbour {
    let text = with(&deployed("nginx/hosts.conf"), &[("proxy_next_upstream error timeout;", retries)]);
    Neighbour::nginx(&host.launcher(), &text, None)
}

#[test]
fn behind_nginx_without_retries_upgrades_and_reloads_cost_nothing() {
    let Some(site) = Site::behind(|host| nginx(host, "proxy_next_upstream off;"), unchecked) else { return };
    site.operated(|site, index, clients| site.upgrade_and_reload(index, clients));
}

#[test]
fn behind_nginx_as_it_is_configured_a_restart_costs_nothing_either() {
    let proxy = |host: &Host| nginx(host, "proxy_next_upstream error timeout;");
    let Some(site) = Site::behind(proxy, unchecked) else { return };
    site.operated(|site, index, clients| site.restart(index, clients, |_| {}));
}

#[test]
fn behind_a_plain_relay_clients_keep_their_connections_through_upgrades_and_reloads() {
    let relay = |host: &Host| Neighbour::haproxy(&host.launcher(), &deployed("haproxy/proxy-protocol.cfg"), None);
    let Some(site) = Site::behind(relay, that_expects_a_header) else { return };
    let clients = Clients::of(&site);
    for index in 0..HOSTS.len() {
        clients.more();
        site.upgrade_and_reload(index, &clients);
    }
    clients.more();
    for load in clients.0 {
        let tally = load.finish();
        assert!(tally.failures.is_empty() && tally.answered > 0, "clients paid for it: {tally}");
        assert_eq!((tally.announced, tally.closed_idle), (0, 0), "nobody was sent away");
    }
    site.stop();
}
