//! The settings, as the program itself wants them.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use hatchery_core::ListenMode;

use super::Server;
use crate::settings::sources::Given;
use crate::settings::table::Setting;
use crate::settings::{self, LogFormat, Origin};

/// What the program wants by default; see [`Settings`](crate::Settings).
impl<P: 'static> Server<P> {
    /// How many worker processes to run: 1 to 512. By default as many as there
    /// are CPUs that this process may use.
    ///
    /// ```
    /// let settings = hatchery::Server::new().workers(4).settings()?;
    /// assert_eq!(settings.workers, 4);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn workers(self, count: u16) -> Self {
        self.set("workers", count.to_string())
    }

    /// How many accept queues a TCP address has; by default one that all workers share.
    ///
    /// ```
    /// let settings = hatchery::Server::new().listen_mode(hatchery::ListenMode::Reuseport).settings()?;
    /// assert_eq!(settings.listen_mode.to_string(), "reuseport");
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn listen_mode(self, mode: ListenMode) -> Self {
        self.set("listen-mode", mode.to_string())
    }

    /// How many connections may wait to be accepted; by default 4096.
    ///
    /// ```
    /// let settings = hatchery::Server::new().backlog(1024).settings()?;
    /// assert_eq!(settings.backlog, 1024);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn backlog(self, connections: u32) -> Self {
        self.set("backlog", connections.to_string())
    }

    /// Where to write the pid of the serving master. While a predecessor
    /// drains, its own stands in a file of the same name with `.oldbin` added.
    ///
    /// ```
    /// let settings = hatchery::Server::new().pid_file("/run/app.pid").settings()?;
    /// assert_eq!(settings.pid_file, Some("/run/app.pid".into()));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn pid_file(self, path: impl AsRef<Path>) -> Self {
        self.set("pid-file", path.as_ref())
    }

    /// Where the socket is by which operators ask for the server's status, and for
    /// reloads, upgrades and the like: with the `hatchery` command, or in JSON.
    ///
    /// ```
    /// let settings = hatchery::Server::new().control("/run/app.ctl").settings()?;
    /// assert_eq!(settings.control, Some("/run/app.ctl".into()));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn control(self, path: impl AsRef<Path>) -> Self {
        self.set("control", path.as_ref())
    }

    /// Who may connect to the [control socket](Self::control), as mode bits; by default
    /// 0600. Root and the user of the master may ask in any case.
    ///
    /// ```
    /// let settings = hatchery::Server::new().control_mode(0o660).settings()?;
    /// assert_eq!(settings.control_mode, 0o660);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn control_mode(self, mode: u32) -> Self {
        self.set("control-mode", format!("{mode:03o}"))
    }

    /// Where operators can look at the server over HTTP: a status page, `/metrics` for
    /// Prometheus, `/livez` and `/readyz`. Nobody is asked for a password there.
    ///
    /// ```
    /// let settings = hatchery::Server::new().admin("127.0.0.1:9100").settings()?;
    /// assert_eq!(settings.admin, Some("127.0.0.1:9100".parse()?));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn admin(self, address: impl Into<String>) -> Self {
        self.set("admin", address.into())
    }

    /// From the start of a worker, or of a successor, to ready; by default 30 s.
    ///
    /// Timeouts are kept in milliseconds, rounded up.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let settings = hatchery::Server::new().boot_timeout(Duration::from_secs(60)).settings()?;
    /// assert_eq!(settings.boot_timeout, Duration::from_secs(60));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn boot_timeout(self, timeout: Duration) -> Self {
        self.set("boot-timeout", settings::spell(timeout))
    }

    /// From the order to stop to the beginning of the stop; by default none.
    ///
    /// Meanwhile the server accepts and serves as before, and `/readyz` at the [admin](Self::admin)
    /// address answers 503: load balancers that look there send new clients elsewhere, before the
    /// first one is refused. SIGTERM, SIGQUIT and `hatchery stop` wait for it; SIGINT does not,
    /// and a second signal begins the stop at once.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let settings = hatchery::Server::new().stop_delay(Duration::from_secs(10)).settings()?;
    /// assert_eq!(settings.stop_delay, Duration::from_secs(10));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn stop_delay(self, delay: Duration) -> Self {
        self.set("stop-delay", settings::spell(delay))
    }

    /// From the order to drain to SIGKILL; by default 30 s.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let settings = hatchery::Server::new().drain_timeout(Duration::from_secs(120)).settings()?;
    /// assert_eq!(settings.drain_timeout, Duration::from_secs(120));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn drain_timeout(self, timeout: Duration) -> Self {
        self.set("drain-timeout", settings::spell(timeout))
    }

    /// For a request's head, from its first byte or from accept, never
    /// refreshed; by default 15 s.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let settings = hatchery::Server::new().header_timeout(Duration::from_secs(5)).settings()?;
    /// assert_eq!(settings.header_timeout, Duration::from_secs(5));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn header_timeout(self, timeout: Duration) -> Self {
        self.set("header-timeout", settings::spell(timeout))
    }

    /// For a request's body without progress; by default 30 s.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let settings = hatchery::Server::new().body_timeout(Duration::from_secs(10)).settings()?;
    /// assert_eq!(settings.body_timeout, Duration::from_secs(10));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn body_timeout(self, timeout: Duration) -> Self {
        self.set("body-timeout", settings::spell(timeout))
    }

    /// For an answer that the client does not read; by default 30 s.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let settings = hatchery::Server::new().send_timeout(Duration::from_secs(10)).settings()?;
    /// assert_eq!(settings.send_timeout, Duration::from_secs(10));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn send_timeout(self, timeout: Duration) -> Self {
        self.set("send-timeout", settings::spell(timeout))
    }

    /// For a connection between two requests; by default 75 s.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let settings = hatchery::Server::new().keep_alive_timeout(Duration::from_secs(20)).settings()?;
    /// assert_eq!(settings.keep_alive_timeout, Duration::from_secs(20));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn keep_alive_timeout(self, timeout: Duration) -> Self {
        self.set("keep-alive-timeout", settings::spell(timeout))
    }

    /// How many open connections a worker takes before it stops accepting; 0,
    /// the default: as many as its limit of open files allows.
    ///
    /// ```
    /// let settings = hatchery::Server::new().max_connections(1000).settings()?;
    /// assert_eq!(settings.max_connections, 1000);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn max_connections(self, connections: u32) -> Self {
        self.set("max-connections", connections.to_string())
    }

    /// How many open connections a worker takes from one address, or from one IPv6
    /// network of 64 bits, before it closes others at once; 0, the default: any number.
    ///
    /// ```
    /// let settings = hatchery::Server::new().max_connections_per_peer(100).settings()?;
    /// assert_eq!(settings.max_connections_per_peer, 100);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn max_connections_per_peer(self, connections: u32) -> Self {
        self.set("max-connections-per-peer", connections.to_string())
    }

    /// The longest request head, in bytes, 8 KiB at least and by default 64 KiB: a
    /// longer one is answered with 431.
    ///
    /// ```
    /// let settings = hatchery::Server::new().max_header_size(16 << 10).settings()?;
    /// assert_eq!(settings.max_header_size, 16 << 10);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn max_header_size(self, bytes: u32) -> Self {
        self.set("max-header-size", format!("{bytes}B"))
    }

    /// The longest request body, in bytes, by default 64 MiB: a longer one is answered
    /// with 413; 0: any.
    ///
    /// ```
    /// let settings = hatchery::Server::new().max_body_size(1 << 30).settings()?;
    /// assert_eq!(settings.max_body_size, 1 << 30);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn max_body_size(self, bytes: u64) -> Self {
        self.set("max-body-size", format!("{bytes}B"))
    }

    /// How many bytes a second of a request body are expected, by default 500; 0: any
    /// byte is progress. A client may fall behind that by the body timeout.
    ///
    /// ```
    /// let settings = hatchery::Server::new().min_body_rate(1000).settings()?;
    /// assert_eq!(settings.min_body_rate, 1000);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn min_body_rate(self, bytes: u32) -> Self {
        self.set("min-body-rate", bytes.to_string())
    }

    /// Peers that say who their client is before anything else, by the PROXY protocol:
    /// addresses, networks, or `unix`, with commas between them; nobody by default.
    ///
    /// Connections from there have to begin with such a header, version 1 or 2; from
    /// elsewhere none is read.
    ///
    /// ```
    /// let settings = hatchery::Server::new().proxy_protocol_from("10.0.0.0/8, unix").settings()?;
    /// assert_eq!(settings.proxy_protocol_from[0].to_string(), "10.0.0.0/8");
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn proxy_protocol_from(self, networks: &str) -> Self {
        self.set("proxy-protocol-from", networks)
    }

    /// Where a line for each request goes: `on` for standard output, the path of a file,
    /// or `off`, the default.
    ///
    /// Workers open the file, as the user that they run as, and again at a SIGUSR1.
    ///
    /// ```
    /// use hatchery::AccessLogTo;
    ///
    /// let settings = hatchery::Server::new().access_log("on").settings()?;
    /// assert_eq!(settings.access_log, AccessLogTo::On);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn access_log(self, to: &str) -> Self {
        self.set("access-log", to)
    }

    /// After how many requests a worker is replaced; 0, the default: never.
    ///
    /// Its connections move to the others, and a worker is never taken away
    /// before its replacement is ready.
    ///
    /// ```
    /// let settings = hatchery::Server::new().max_requests(100_000).settings()?;
    /// assert_eq!(settings.max_requests, 100_000);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn max_requests(self, requests: u64) -> Self {
        self.set("max-requests", requests.to_string())
    }

    /// Up to how many requests more, by chance, so that workers are not replaced
    /// together; by default a tenth of [`max_requests`](Self::max_requests).
    ///
    /// ```
    /// let settings = hatchery::Server::new().max_requests(100_000).max_requests_jitter(0).settings()?;
    /// assert_eq!(settings.max_requests_jitter, Some(0));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn max_requests_jitter(self, requests: u64) -> Self {
        self.set("max-requests-jitter", requests.to_string())
    }

    /// Whether a worker with clearly more connections than the others hands idle
    /// ones over; on by default.
    ///
    /// ```
    /// let settings = hatchery::Server::new().balance(false).settings()?;
    /// assert!(!settings.balance);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn balance(self, on: bool) -> Self {
        self.set("balance", if on { "on" } else { "off" }.to_owned())
    }

    /// How many crashes in a row, of workers that did not stay ready for a
    /// second, make the master give up; by default 8.
    ///
    /// ```
    /// let settings = hatchery::Server::new().crash_limit(3).settings()?;
    /// assert_eq!(settings.crash_limit, 3);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn crash_limit(self, crashes: u32) -> Self {
        self.set("crash-limit", crashes.to_string())
    }

    /// How long the workers of a predecessor wait, serving what they have but
    /// not accepting, before they drain; by default 2 s. As long as they wait,
    /// a successor that dies is taken back from at no cost.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let settings = hatchery::Server::new().upgrade_probation(Duration::from_secs(10)).settings()?;
    /// assert_eq!(settings.upgrade_probation, Duration::from_secs(10));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn upgrade_probation(self, probation: Duration) -> Self {
        self.set("upgrade-probation", settings::spell(probation))
    }

    /// The file that standard output and standard error are appended to, in the
    /// master and every worker. SIGUSR1 opens it again.
    ///
    /// ```
    /// let settings = hatchery::Server::new().log("/var/log/app.log").settings()?;
    /// assert_eq!(settings.log, Some("/var/log/app.log".into()));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn log(self, path: impl AsRef<Path>) -> Self {
        self.set("log", path.as_ref())
    }

    /// What a log line looks like; by default text.
    ///
    /// ```
    /// let settings = hatchery::Server::new().log_format(hatchery::LogFormat::Json).settings()?;
    /// assert_eq!(settings.log_format, hatchery::LogFormat::Json);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn log_format(self, format: LogFormat) -> Self {
        self.set("log-format", format.to_string())
    }

    /// The folder to work in. Relative paths of other settings begin in the
    /// folder that the program was started in, whatever this one is.
    ///
    /// ```
    /// let settings = hatchery::Server::new().working_dir("/srv/app").settings()?;
    /// assert_eq!(settings.working_dir, Some("/srv/app".into()));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn working_dir(self, path: impl AsRef<Path>) -> Self {
        self.set("working-dir", path.as_ref())
    }

    /// The mode bits that new files do not get, for example `0o027`.
    ///
    /// ```
    /// let settings = hatchery::Server::new().umask(0o027).settings()?;
    /// assert_eq!(settings.umask, Some(0o027));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn umask(self, mask: u32) -> Self {
        self.set("umask", format!("{mask:03o}"))
    }

    /// Adds to a list that the program wants.
    pub(super) fn add(mut self, name: &str, value: impl Into<OsString>) -> Self {
        let value = value.into();
        match self.sources.program.iter_mut().find(|given| given.setting.name == name) {
            Some(given) => given.values.push(value),
            None => self = self.set(name, value),
        }
        self
    }

    /// Stores what the program wants as if it had been written somewhere: one parser for all.
    pub(super) fn set(mut self, name: &str, value: impl Into<OsString>) -> Self {
        let given = Given { setting: Setting::named(name), values: vec![value.into()], origin: Origin::Program };
        self.sources.program.push(given);
        self
    }
}

#[cfg(test)]
mod tests {
    use hatchery_net::{Address, Bind};
    use hatchery_sys::origin::Origin as Start;

    use super::*;
    use crate::{AccessLogTo, Anchor, Settings};

    #[test]
    fn every_method_has_its_setting() {
        let ms = Duration::from_millis;
        let settings = Server::new()
            .bind("127.0.0.1:1")
            .bind("unix:app.sock")
            .workers(2)
            .listen_mode(ListenMode::Reuseport)
            .backlog(3)
            .pid_file("app.pid")
            .control("app.ctl")
            .control_mode(0o640)
            .boot_timeout(ms(4))
            .stop_delay(ms(23))
            .drain_timeout(ms(5))
            .header_timeout(ms(6))
            .body_timeout(ms(7))
            .send_timeout(ms(8))
            .keep_alive_timeout(ms(9))
            .max_connections(10)
            .max_connections_per_peer(19)
            .max_header_size(20 << 10)
            .max_body_size(21)
            .min_body_rate(22)
            .proxy_protocol_from("10.0.0.0/8,unix")
            .max_requests(13)
            .max_requests_jitter(14)
            .balance(false)
            .crash_limit(11)
            .upgrade_probation(ms(12))
            .log("/var/log/app")
            .log_format(LogFormat::Json)
            .access_log("/var/log/access")
            .working_dir("/")
            .umask(0o7)
            .heartbeat_timeout(ms(15))
            .max_lifetime(ms(16))
            .max_memory(17)
            .fd_store(true)
            .on_demand(true)
            .idle_timeout(ms(18))
            .daemonize(true)
            .user("root")
            .group("0")
            .no_new_privileges(true)
            .anchor(Anchor::Never)
            .tls_handshake_timeout(ms(19))
            .tls_ticket_lifetime(ms(20))
            .admin("127.0.0.1:2")
            .settings()
            .unwrap();
        let start = Start::capture().unwrap().dir;
        let expected = Settings {
            config: None,
            bind: vec!["127.0.0.1:1".parse().unwrap(), Bind::Address(Address::Unix(start.join("app.sock")))],
            bind_given: false,
            tls_bind: Vec::new(),
            tls_certificate: Vec::new(),
            tls_key: Vec::new(),
            tls_client_ca: None,
            tls_client_auth: crate::TlsClientAuth::Off,
            tls_handshake_timeout: ms(19),
            tls_ticket_lifetime: ms(20),
            workers: 2,
            listen_mode: ListenMode::Reuseport,
            backlog: 3,
            pid_file: Some(start.join("app.pid")),
            control: Some(start.join("app.ctl")),
            control_mode: 0o640,
            boot_timeout: ms(4),
            stop_delay: ms(23),
            drain_timeout: ms(5),
            header_timeout: ms(6),
            body_timeout: ms(7),
            send_timeout: ms(8),
            keep_alive_timeout: ms(9),
            max_connections: 10,
            max_connections_per_peer: 19,
            max_header_size: 20 << 10,
            max_body_size: 21,
            min_body_rate: 22,
            proxy_protocol_from: vec!["10.0.0.0/8".parse().unwrap(), hatchery_worker::Network::Unix],
            max_requests: 13,
            max_requests_jitter: Some(14),
            balance: false,
            crash_limit: 11,
            upgrade_probation: ms(12),
            log: Some("/var/log/app".into()),
            log_format: LogFormat::Json,
            access_log: AccessLogTo::File("/var/log/access".into()),
            working_dir: Some("/".into()),
            umask: Some(0o7),
            heartbeat_timeout: ms(15),
            max_lifetime: ms(16),
            max_memory: 17,
            fd_store: true,
            on_demand: true,
            idle_timeout: Some(ms(18)),
            daemonize: true,
            user: Some("root".to_owned()),
            group: Some("0".to_owned()),
            no_new_privileges: true,
            anchor: Anchor::Never,
            admin: Some("127.0.0.1:2".parse().unwrap()),
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn what_cannot_be_is_said_when_the_settings_are_made() {
        let error = |server: Server| server.settings().unwrap_err().to_string();
        assert_eq!(
            error(Server::new().workers(0)),
            "workers (set by the program): `0`: expected a whole number from 1 to 512"
        );
        assert!(
            error(Server::new().boot_timeout(Duration::ZERO)).starts_with("boot_timeout (set by the program): `0ms`: ")
        );
        assert!(error(Server::new().umask(0o1000)).starts_with("umask (set by the program): `1000`: "));
        assert!(
            error(Server::new().bind("nowhere")).starts_with("bind (set by the program): `nowhere` is no address: ")
        );
        assert!(
            error(Server::new().bind_named("raw", "nowhere"))
                .starts_with("bind_named \"raw\" (set by the program): `nowhere` is no address: ")
        );
    }

    #[test]
    fn a_named_address_alone_is_enough() {
        let named = || Server::new().bind_named("raw", "127.0.0.1:1");
        assert!(named().settings().unwrap().bind.is_empty());
        assert_eq!(named().bind("127.0.0.1:2").settings().unwrap().bind.len(), 1);
        let error = named().bind("127.0.0.1:1").settings().unwrap_err().to_string();
        assert_eq!(error, "bind (set by the program): 127.0.0.1:1 is there twice; expected each address once");
    }
}
