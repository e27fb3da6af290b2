//! The settings of a server, as validated types.
//!
//! [`table`] is the one place that says which settings there are; flags,
//! environment variables, the keys of the file and the builder's methods all go
//! through its parsers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hatchery_core::{ListenMode, Policy};
use hatchery_net::{Address, Bind};
use hatchery_worker::{Limits, Network, Quota};

pub use error::{Origin, SettingsError};
pub(crate) use sources::Sources;
pub(crate) use told::Place;
pub(crate) use value::spell;
pub use value::{AccessLogTo, Anchor, LogFormat, TlsClientAuth, UnknownAnchor, UnknownLogFormat, UnknownTlsClientAuth};

pub(crate) mod asked;
mod contradictions;
mod error;
mod file;
pub(crate) mod sources;
pub(crate) mod table;
mod told;
mod value;

/// What a server runs with: every setting has a value, and the values go together.
///
/// Settings are made by [`Server::settings`](crate::Server::settings), from the
/// command line, the environment, the file and the program's own values, in this
/// order: the first one that names a setting decides.
///
/// ```
/// use std::time::Duration;
///
/// use hatchery::Server;
///
/// let settings = Server::new().workers(4).drain_timeout(Duration::from_secs(10)).settings()?;
/// assert_eq!(settings.workers, 4);
/// assert_eq!(settings.drain_timeout, Duration::from_secs(10));
/// assert_eq!(settings.bind[0].to_string(), "127.0.0.1:8080");
/// # Ok::<(), hatchery::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// The file that was read, and that a reload reads again.
    pub config: Option<PathBuf>,
    /// Where to listen. If no operator has said it, in the file, the environment or on the
    /// command line, sockets that a service manager has passed take the place of this.
    pub bind: Vec<Bind>,
    /// Whether an operator has said where to listen.
    pub(crate) bind_given: bool,
    /// Where to listen for clients that speak TLS.
    pub tls_bind: Vec<Bind>,
    /// Certificates with their chains, in PEM; the first one is for clients that ask for no other's name.
    pub tls_certificate: Vec<PathBuf>,
    /// The key of each certificate, in PEM.
    pub tls_key: Vec<PathBuf>,
    /// Who may have issued the certificates of clients, in PEM.
    pub tls_client_ca: Option<PathBuf>,
    /// Whether clients are asked for a certificate; they are not by default.
    pub tls_client_auth: TlsClientAuth,
    /// From accept to the end of a TLS handshake; 10 s by default.
    pub tls_handshake_timeout: Duration,
    /// How long a TLS session can be resumed; 12 h by default, zero: not at all.
    pub tls_ticket_lifetime: Duration,
    /// Worker processes: 1 to 512. By default as many as there are CPUs that
    /// this process may use.
    pub workers: u16,
    /// How many accept queues a TCP address has.
    pub listen_mode: ListenMode,
    /// How many connections may wait to be accepted, by default 4096; the
    /// kernel may allow less.
    pub backlog: u32,
    /// The file with the pid of the serving master.
    pub pid_file: Option<PathBuf>,
    /// The socket by which operators ask, and are told.
    pub control: Option<PathBuf>,
    /// Who may connect to it, as mode bits; 0600 by default.
    pub control_mode: u32,
    /// From the start of a worker, or of a successor, to ready; 30 s by default.
    pub boot_timeout: Duration,
    /// From the order to stop, at which `/readyz` begins to fail, to the beginning of the stop;
    /// zero, the default: at once.
    pub stop_delay: Duration,
    /// From the order to drain to SIGKILL; 30 s by default.
    pub drain_timeout: Duration,
    /// For a request's head, from its first byte or from accept; 15 s by default.
    pub header_timeout: Duration,
    /// For a request's body without progress; 30 s by default.
    pub body_timeout: Duration,
    /// For an answer that the client does not read; 30 s by default.
    pub send_timeout: Duration,
    /// For a connection between two requests; 75 s by default.
    pub keep_alive_timeout: Duration,
    /// Open connections that a worker takes before it stops accepting; 0, the
    /// default: as many as its limit of open files allows.
    pub max_connections: usize,
    /// Open connections that a worker takes from one address before it closes others
    /// at once; 0, the default: any number.
    pub max_connections_per_peer: usize,
    /// The longest request head, in bytes; 64 KiB by default.
    pub max_header_size: usize,
    /// The longest request body, in bytes; 64 MiB by default, 0: any.
    pub max_body_size: u64,
    /// How many bytes a second of a request body are expected, behind which a client
    /// may fall by `body_timeout`; 500 by default, 0: any byte is progress.
    pub min_body_rate: u32,
    /// The peers that say who their client is, by the PROXY protocol; none by default.
    pub proxy_protocol_from: Vec<Network>,
    /// How long the loop of a worker may stand still before the worker is aborted
    /// and replaced; 30 s by default, zero: it may for ever.
    pub heartbeat_timeout: Duration,
    /// Requests after which a worker is replaced; 0, the default: never.
    pub max_requests: u64,
    /// Up to so many requests more, by chance; by default a tenth of `max_requests`.
    pub max_requests_jitter: Option<u64>,
    /// The age at which a worker is replaced; zero, the default: never.
    pub max_lifetime: Duration,
    /// The resident memory, in bytes, above which a worker is replaced; 0, the default: never.
    pub max_memory: u64,
    /// Whether a worker with clearly more connections than the others hands idle
    /// ones over; on by default.
    pub balance: bool,
    /// Whether the service manager stores the sockets for the next start; off by default.
    pub fd_store: bool,
    /// Whether nothing but the sockets is held until the first connection; off by default.
    pub on_demand: bool,
    /// How long a server on demand waits without connections and jobs before
    /// it lets everything go again; by default for ever.
    pub idle_timeout: Option<Duration>,
    /// Crashes in a row, of workers that did not stay ready for a second, before
    /// the master gives up; 8 by default.
    pub crash_limit: u32,
    /// How long the workers of a predecessor wait, serving what they have,
    /// before they drain; 2 s by default.
    pub upgrade_probation: Duration,
    /// The file that standard output and standard error go to.
    pub log: Option<PathBuf>,
    /// What a log line looks like.
    pub log_format: LogFormat,
    /// Where a line for each request goes; nowhere by default.
    pub access_log: AccessLogTo,
    /// The folder that the server works in.
    pub working_dir: Option<PathBuf>,
    /// The mode bits that new files do not get.
    pub umask: Option<u32>,
    /// Whether the server detaches from the terminal and the shell that have
    /// started it; off by default.
    pub daemonize: bool,
    /// The user that workers run as: a name or a number.
    pub user: Option<String>,
    /// The group that workers run as: a name or a number; by default the one of `user`.
    pub group: Option<String>,
    /// Whether workers, and programs that they start, can gain no privileges; off by default.
    pub no_new_privileges: bool,
    /// Whether a process whose pid never changes stands before the master.
    pub anchor: Anchor,
    /// Where operators and their programs can look at the server, over HTTP.
    pub admin: Option<Address>,
}

impl Settings {
    /// What the master decides by.
    pub(crate) fn policy(&self) -> Policy {
        Policy {
            workers: self.workers,
            boot_timeout: self.boot_timeout,
            stop_delay: self.stop_delay,
            drain_timeout: self.drain_timeout,
            crash_limit: self.crash_limit,
            probation: self.upgrade_probation,
            balance: self.balance,
            heartbeat_timeout: self.heartbeat_timeout,
            max_lifetime: self.max_lifetime,
            max_memory: self.max_memory,
            idle_timeout: self.idle_timeout.filter(|_| self.on_demand),
        }
    }

    /// What the workers enforce.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            handshake: self.tls_handshake_timeout,
            head: self.header_timeout,
            body: self.body_timeout,
            send: self.send_timeout,
            idle: self.keep_alive_timeout,
            max_connections: self.max_connections,
            max_connections_per_peer: self.max_connections_per_peer,
            max_head_size: self.max_header_size,
            max_body_size: self.max_body_size,
            min_body_rate: self.min_body_rate,
            // Once in the life of a worker, in its own process.
            proxies: self.proxy_protocol_from.clone().leak(),
        }
    }

    /// When workers want to be replaced.
    pub(crate) fn quota(&self) -> Option<Quota> {
        let (requests, jitter) = (self.max_requests, self.max_requests_jitter);
        (requests > 0).then(|| Quota { requests, jitter: jitter.unwrap_or(requests / 10) })
    }

    /// How many queues a TCP address has that is bound now.
    pub(crate) fn queues(&self) -> u16 {
        match self.listen_mode {
            ListenMode::Shared => 1,
            ListenMode::Reuseport => self.workers,
        }
    }

    /// Nothing is set; [`table`] fills in the defaults.
    pub(crate) fn blank() -> Self {
        Self {
            config: None,
            bind: Vec::new(),
            bind_given: false,
            tls_bind: Vec::new(),
            tls_certificate: Vec::new(),
            tls_key: Vec::new(),
            tls_client_ca: None,
            tls_client_auth: TlsClientAuth::Off,
            tls_handshake_timeout: Duration::ZERO,
            tls_ticket_lifetime: Duration::ZERO,
            workers: 1,
            listen_mode: ListenMode::default(),
            backlog: 1,
            pid_file: None,
            control: None,
            control_mode: 0o600,
            boot_timeout: Duration::ZERO,
            stop_delay: Duration::ZERO,
            drain_timeout: Duration::ZERO,
            header_timeout: Duration::ZERO,
            body_timeout: Duration::ZERO,
            send_timeout: Duration::ZERO,
            keep_alive_timeout: Duration::ZERO,
            max_connections: 0,
            max_connections_per_peer: 0,
            max_header_size: 0,
            max_body_size: 0,
            min_body_rate: 0,
            proxy_protocol_from: Vec::new(),
            heartbeat_timeout: Duration::ZERO,
            max_requests: 0,
            max_requests_jitter: None,
            max_lifetime: Duration::ZERO,
            max_memory: 0,
            balance: false,
            fd_store: false,
            on_demand: false,
            idle_timeout: None,
            crash_limit: 1,
            upgrade_probation: Duration::ZERO,
            log: None,
            log_format: LogFormat::Text,
            access_log: AccessLogTo::Off,
            working_dir: None,
            umask: None,
            daemonize: false,
            user: None,
            group: None,
            no_new_privileges: false,
            anchor: Anchor::Auto,
            admin: None,
        }
    }

    /// Makes every path absolute, so that neither `working-dir` nor a later
    /// master changes what it means.
    fn make_absolute(&mut self, start: &Path) {
        if let AccessLogTo::File(path) = &mut self.access_log {
            *path = start.join(&*path);
        }
        let paths = [&mut self.config, &mut self.pid_file, &mut self.control, &mut self.log, &mut self.working_dir];
        for path in paths.into_iter().flatten() {
            *path = start.join(&*path);
        }
        for path in self.tls_certificate.iter_mut().chain(&mut self.tls_key).chain(&mut self.tls_client_ca) {
            *path = start.join(&*path);
        }
        if let Some(Address::Unix(path)) = &mut self.admin {
            *path = start.join(&*path);
        }
        for bind in self.bind.iter_mut().chain(&mut self.tls_bind) {
            absolute(bind, start);
        }
    }
}

/// The address with its path, if it has one, made absolute.
pub(crate) fn absolute(bind: &mut Bind, start: &Path) {
    match bind {
        Bind::Address(Address::Unix(path)) => *path = start.join(&*path),
        Bind::Address(Address::Tcp(_)) | Bind::Passed(_) => {}
    }
}

#[cfg(test)]
mod tests;
