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

struct Site {
    labs: Vec<Lab>,
    proxy: Neighbour,
    network: Network,
}

fn lab(network: &Network, index: usize) -> Lab {
    let host = network.host(index);
    let start = Start::lab().set("bind", &format!("{}:8080", host.address())).variable("LAB_BUILD", HOSTS[index]);
    start.launcher(host.launcher()).ready()
}

impl Site {
    /// `None` where there can be no hosts.
    fn behind(proxy: impl FnOnce(&Host) -> Neighbour) -> Option<Self> {
        let network = Network::of(5)?;
        let labs = (0..HOSTS.len()).map(|index| lab(&network, index)).collect();
        let site = Self { labs, proxy: proxy(network.host(PROXY)), network };
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
        lab.until("every worker is new", || lab.ready().len() == 2 && lab.ready().is_disjoint(&before));
        clients.more();
    }

    fn restart(&mut self, index: usize, clients: &Clients) {
        let old = &self.labs[index];
        let master = old.serving();
        old.signal(Signal::SIGTERM);
        assert_eq!(old.end_of(master), End::Code(0));
        old.assert_gone();
        clients.more();
        self.labs[index] = lab(&self.network, index);
    }

    fn stop(self) {
        self.labs.into_iter().for_each(Lab::stop);
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

/// A command over haproxy's runtime socket, which answers nothing when it is done.
fn tell(runtime: &Path, command: &str) {
    let mut socket = UnixStream::connect(runtime).expect("haproxy's socket");
    writeln!(socket, "{command}").expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    assert_eq!(answer.trim(), "", "{command}");
}

const HAPROXY_RETRIES: [(&str, &str); 2] =
    [("retries 3", "retries 0"), ("retry-on conn-failure empty-response", "retry-on none")];

#[test]
fn behind_haproxy_without_retries_nothing_fails_where_hosts_are_drained_before_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = folder.path().join("admin.sock");
    let Some(mut site) = Site::behind(|host| haproxy(host, &runtime, &HAPROXY_RETRIES)) else { return };
    let clients = Clients::of(&site);
    for (index, name) in HOSTS.into_iter().enumerate() {
        clients.more();
        site.upgrade_and_reload(index, &clients);
        tell(&runtime, &format!("set server app/{name} state drain"));
        // What was on its way has come.
        clients.more();
        site.restart(index, &clients);
        tell(&runtime, &format!("set server app/{name} state ready"));
        site.until_all_serve();
    }
    clients.finish_without_failure();
    site.stop();
}

#[test]
fn behind_haproxy_as_it_is_configured_a_restart_costs_nothing_either() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(mut site) = Site::behind(|host| haproxy(host, &folder.path().join("admin.sock"), &[])) else { return };
    let clients = Clients::of(&site);
    for index in 0..HOSTS.len() {
        clients.more();
        site.restart(index, &clients);
        site.until_all_serve();
    }
    clients.finish_without_failure();
    site.stop();
}

fn nginx(host: &Host, retries: &str) -> Neighbour {
    let text = with(&deployed("nginx/hosts.conf"), &[("proxy_next_upstream error timeout;", retries)]);
    Neighbour::nginx(&host.launcher(), &text, None)
}

#[test]
fn behind_nginx_without_retries_upgrades_and_reloads_cost_nothing() {
    let Some(site) = Site::behind(|host| nginx(host, "proxy_next_upstream off;")) else { return };
    let clients = Clients::of(&site);
    for index in 0..HOSTS.len() {
        clients.more();
        site.upgrade_and_reload(index, &clients);
    }
    clients.finish_without_failure();
    site.stop();
}

#[test]
fn behind_nginx_as_it_is_configured_a_restart_costs_nothing_either() {
    let Some(mut site) = Site::behind(|host| nginx(host, "proxy_next_upstream error timeout;")) else { return };
    let clients = Clients::of(&site);
    for index in 0..HOSTS.len() {
        clients.more();
        site.restart(index, &clients);
        site.until_all_serve();
    }
    clients.finish_without_failure();
    site.stop();
}
