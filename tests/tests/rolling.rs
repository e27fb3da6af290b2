//! Several hosts behind haproxy, or nginx, with the configurations in
//! `examples/deploy`: each host in turn is operated, and no client notices.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use hatchery_tests::client;
use hatchery_tests::load::Load;
use hatchery_tests::neighbour::{Neighbour, deployed, with};
use hatchery_tests::network::Network;
use hatchery_tests::{End, Lab, Start, log, wait};
use nix::sys::signal::Signal;

const HOSTS: usize = 3;
const PROXY: usize = 3;
const CLIENT: usize = 4;

/// Where the proxy listens.
const FRONT: &str = "10.0.0.14:80";

struct Site {
    labs: Vec<Lab>,
    proxy: Neighbour,
    /// haproxy's runtime socket.
    runtime: PathBuf,
    _folder: tempfile::TempDir,
    network: Network,
}

fn lab(network: &Network, index: usize) -> Lab {
    let host = network.host(index);
    let start = Start::lab().set("bind", &format!("{}:8080", host.address())).variable("LAB_BUILD", &index.to_string());
    start.launcher(host.launcher()).ready()
}

impl Site {
    fn start(configuration: impl FnOnce(&str) -> String) -> Option<Self> {
        let network = Network::of(5)?;
        let labs = (0..HOSTS).map(|index| lab(&network, index)).collect();
        let folder = tempfile::TempDir::with_prefix("haproxy-").expect("a folder");
        let runtime = folder.path().join("admin.sock");
        let text = configuration(&runtime.display().to_string());
        let proxy = Neighbour::haproxy(&network.host(PROXY).launcher(), &text, None);
        let site = Self { labs, proxy, runtime, _folder: folder, network };
        site.until_all_serve();
        Some(site)
    }

    fn haproxy() -> Option<Self> {
        let text = deployed("haproxy/haproxy.cfg");
        Self::start(|runtime| with(&text, &[("/run/haproxy/admin.sock", runtime)]))
    }

    fn from_clients<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.network.host(CLIENT).run(work)
    }

    fn builds(&self) -> Vec<Option<String>> {
        let build = |_| client::get(FRONT, "/whoami").ok().filter(|it| it.status == 200).map(|it| it.whoami().build);
        self.from_clients(|| (0..2 * HOSTS).filter_map(build).collect())
    }

    fn until_all_serve(&self) {
        wait::until("every host serves", || {
            self.proxy.assert_runs();
            let builds = self.builds();
            (0..HOSTS).all(|index| builds.contains(&Some(index.to_string()))).then_some(())
        });
    }

    /// A command over haproxy's runtime socket, and its answer.
    fn tell(&self, command: &str) -> String {
        let mut socket = UnixStream::connect(&self.runtime).expect("haproxy's socket");
        writeln!(socket, "{command}").expect("sent");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("an answer");
        answer
    }
}

/// Clients of the kinds that there are.
struct Clients(Vec<Load>);

impl Clients {
    fn start(site: &Site) -> Self {
        site.from_clients(|| {
            Self(vec![
                Load::fresh(FRONT, 2),
                Load::keep_alive(FRONT, 2, Duration::ZERO),
                Load::keep_alive(FRONT, 6, Duration::from_millis(15)),
            ])
        })
    }

    fn more(&self) {
        self.0.iter().for_each(|load| load.more(30));
    }

    fn finish(self) {
        self.0.into_iter().for_each(Load::finish_without_failure);
    }
}

fn upgrade(lab: &Lab) {
    let generation = lab.generation().expect("a master");
    lab.upgrade();
    assert_eq!(lab.generation(), Some(generation + 1));
}

fn reload(lab: &Lab) {
    let before = lab.ready();
    lab.signal(Signal::SIGHUP);
    lab.until_logged(log::RELOAD_DONE, 1);
    lab.until("every worker is new", || lab.ready().len() == 2 && lab.ready().is_disjoint(&before));
}

#[test]
fn each_host_in_turn_is_upgraded_reloaded_and_restarted_and_no_request_fails() {
    let Some(mut site) = Site::haproxy() else { return };
    let clients = Clients::start(&site);
    for index in 0..HOSTS {
        clients.more();
        upgrade(&site.labs[index]);
        clients.more();
        reload(&site.labs[index]);
        clients.more();
        let name = ["a", "b", "c"][index];
        site.tell(&format!("set server app/{name} state drain"));
        clients.more();
        let old = &site.labs[index];
        let master = old.serving();
        old.signal(Signal::SIGTERM);
        assert_eq!(old.end_of(master), End::Code(0));
        old.assert_gone();
        clients.more();
        site.labs[index] = lab(&site.network, index);
        site.tell(&format!("set server app/{name} state ready"));
        site.until_all_serve();
    }
    clients.more();
    clients.finish();
    site.labs.into_iter().for_each(Lab::stop);
    drop(site.proxy);
}
