//! Which settings there are: the one table that flags, environment variables,
//! the keys of the file and the program's own values are read by.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use hatchery_core::policy::MAX_WORKERS;
use hatchery_net::{Address, AddressError, Bind};
use hatchery_worker::Network;

use super::Settings;
use super::value;

/// One setting.
pub(crate) struct Setting {
    /// The flag without its dashes.
    pub(crate) name: &'static str,
    /// What stands for the value in the help.
    pub(crate) value: &'static str,
    pub(crate) help: &'static str,
    pub(crate) unset: Unset,
    pub(crate) kind: Kind,
    /// Parses the text and stores it, or says what is wrong and what would be right.
    pub(crate) put: fn(&mut Settings, &str) -> Result<(), String>,
}

/// The largest number that TOML can write.
const LARGEST: u64 = i64::MAX.unsigned_abs();

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// What a setting is when nobody gives it.
#[derive(Debug)]
pub(crate) enum Unset {
    /// Nothing: what it is for is not done.
    Off,
    /// The same as if this had been given.
    Text(&'static str),
    /// As many as the process may use CPUs.
    Cpus,
}

/// How a setting is written in TOML, and whether it may be given more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A string.
    Text,
    /// An integer.
    Number,
    /// An array of strings.
    List,
    /// A truth value; on the command line the flag alone means yes.
    Switch,
    /// A string: the path of the settings file, which cannot name itself.
    File,
}

/// Every setting, in the order of the help.
pub(crate) const TABLE: &[Setting] = &[
    Setting {
        name: "config",
        value: "FILE",
        help: "TOML file with any of these settings (pid_file = \"...\"), read again on reload; \
               each is also an environment variable (HATCHERY_PID_FILE)",
        unset: Unset::Off,
        kind: Kind::File,
        put: |settings, text| value::path(text).map(|path| settings.config = Some(path)),
    },
    Setting {
        name: "bind",
        value: "ADDR",
        help: "Address to listen on: 127.0.0.1:8080, [::1]:8080, unix:/run/x.sock, or fd:NAME, what a service \
               manager has passed by that name; may be repeated",
        unset: Unset::Text("127.0.0.1:8080"),
        kind: Kind::List,
        put: |settings, text| {
            let bind: Bind = text.parse().map_err(|error: AddressError| error.to_string())?;
            settings.bind.push(bind);
            Ok(())
        },
    },
    Setting {
        name: "tls-bind",
        value: "ADDR",
        help: "Address to listen on for clients that speak TLS, as in bind; may be repeated",
        unset: Unset::Off,
        kind: Kind::List,
        put: |settings, text| {
            let bind: Bind = text.parse().map_err(|error: AddressError| error.to_string())?;
            settings.tls_bind.push(bind);
            Ok(())
        },
    },
    Setting {
        name: "tls-certificate",
        value: "FILE",
        help: "Certificate with its chain, in PEM; repeated, each is for the names in it, and the first one for all others",
        unset: Unset::Off,
        kind: Kind::List,
        put: |settings, text| value::path(text).map(|path| settings.tls_certificate.push(path)),
    },
    Setting {
        name: "tls-key",
        value: "FILE",
        help: "Key of the certificate, in PEM, readable by the master; as often as tls-certificate",
        unset: Unset::Off,
        kind: Kind::List,
        put: |settings, text| value::path(text).map(|path| settings.tls_key.push(path)),
    },
    Setting {
        name: "tls-client-ca",
        value: "FILE",
        help: "Who may have issued the certificates of clients, in PEM",
        unset: Unset::Off,
        kind: Kind::Text,
        put: |settings, text| value::path(text).map(|path| settings.tls_client_ca = Some(path)),
    },
    Setting {
        name: "tls-client-auth",
        value: "MODE",
        help: "Whether clients are asked for a certificate: off, optional or required",
        unset: Unset::Text("off"),
        kind: Kind::Text,
        put: |settings, text| parsed(text, &mut settings.tls_client_auth),
    },
    Setting {
        name: "tls-handshake-timeout",
        value: "DUR",
        help: "From accept to the end of a TLS handshake",
        unset: Unset::Text("10s"),
        kind: Kind::Text,
        put: |settings, text| span(text, &mut settings.tls_handshake_timeout),
    },
    Setting {
        name: "tls-ticket-lifetime",
        value: "DUR",
        help: "How long a TLS session can be resumed, in any worker and across upgrades; 0: not at all",
        unset: Unset::Text("12h"),
        kind: Kind::Text,
        put: |settings, text| value::span_or_zero(text).map(|span| settings.tls_ticket_lifetime = span),
    },
    Setting {
        name: "workers",
        value: "N",
        help: "Worker processes",
        unset: Unset::Cpus,
        kind: Kind::Number,
        put: |settings, text| number(text, 1, MAX_WORKERS, &mut settings.workers),
    },
    Setting {
        name: "listen-mode",
        value: "MODE",
        help: "shared: one queue that all workers accept from; reuseport: one queue a worker",
        unset: Unset::Text("shared"),
        kind: Kind::Text,
        put: |settings, text| parsed(text, &mut settings.listen_mode),
    },
    Setting {
        name: "backlog",
        value: "N",
        help: "Connections that may wait to be accepted",
        unset: Unset::Text("4096"),
        kind: Kind::Number,
        put: |settings, text| number(text, 1, i32::MAX.unsigned_abs(), &mut settings.backlog),
    },
    Setting {
        name: "pid-file",
        value: "PATH",
        help: "File for the pid of the serving master",
        unset: Unset::Off,
        kind: Kind::Text,
        put: |settings, text| value::path(text).map(|path| settings.pid_file = Some(path)),
    },
    Setting {
        name: "control",
        value: "PATH",
        help: "Socket for the `hatchery` command: status, upgrade, reload, scale, stop",
        unset: Unset::Off,
        kind: Kind::Text,
        put: |settings, text| value::path(text).map(|path| settings.control = Some(path)),
    },
    Setting {
        name: "control-mode",
        value: "MODE",
        help: "Who may connect to the control socket, as mode bits in octal; root and the server's own user always may",
        unset: Unset::Text("0600"),
        kind: Kind::Text,
        put: |settings, text| value::mode(text).map(|mode| settings.control_mode = mode),
    },
    Setting {
        name: "admin",
        value: "ADDR",
        help: "Address of the status page, /metrics, /livez and /readyz; not for the public",
        unset: Unset::Off,
        kind: Kind::Text,
        put: |settings, text| {
            let address: Address = text.parse().map_err(|error: AddressError| error.to_string())?;
            settings.admin = Some(address);
            Ok(())
        },
    },
    Setting {
        name: "boot-timeout",
        value: "DUR",
        help: "From the start of a worker, or of a successor, to ready",
        unset: Unset::Text("30s"),
        kind: Kind::Text,
        put: |settings, text| span(text, &mut settings.boot_timeout),
    },
    Setting {
        name: "stop-delay",
        value: "DUR",
        help: "From the order to stop to its beginning: connections are accepted as before, and /readyz at the admin \
               address says no, so that load balancers look elsewhere; SIGINT, and a second order, begin at once",
        unset: Unset::Text("0"),
        kind: Kind::Text,
        put: |settings, text| value::span_or_zero(text).map(|span| settings.stop_delay = span),
    },
    Setting {
        name: "drain-timeout",
        value: "DUR",
        help: "From the order to drain to SIGKILL",
        unset: Unset::Text("30s"),
        kind: Kind::Text,
        put: |settings, text| span(text, &mut settings.drain_timeout),
    },
    Setting {
        name: "header-timeout",
        value: "DUR",
        help: "For a request's head, from its first byte or from accept",
        unset: Unset::Text("15s"),
        kind: Kind::Text,
        put: |settings, text| span(text, &mut settings.header_timeout),
    },
    Setting {
        name: "body-timeout",
        value: "DUR",
        help: "For a request's body without progress",
        unset: Unset::Text("30s"),
        kind: Kind::Text,
        put: |settings, text| span(text, &mut settings.body_timeout),
    },
    Setting {
        name: "send-timeout",
        value: "DUR",
        help: "For an answer that the client does not read",
        unset: Unset::Text("30s"),
        kind: Kind::Text,
        put: |settings, text| span(text, &mut settings.send_timeout),
    },
    Setting {
        name: "keep-alive-timeout",
        value: "DUR",
        help: "For a connection between two requests",
        unset: Unset::Text("75s"),
        kind: Kind::Text,
        put: |settings, text| span(text, &mut settings.keep_alive_timeout),
    },
    Setting {
        name: "max-connections",
        value: "N",
        help: "Open connections that a worker takes; 0: as many as its limit of open files allows",
        unset: Unset::Text("0"),
        kind: Kind::Number,
        put: |settings, text| number(text, 0, u32::MAX, &mut settings.max_connections),
    },
    Setting {
        name: "max-connections-per-peer",
        value: "N",
        help: "Open connections that a worker takes from one address (IPv6: from one /64); 0: any number",
        unset: Unset::Text("0"),
        kind: Kind::Number,
        put: |settings, text| number(text, 0, u32::MAX, &mut settings.max_connections_per_peer),
    },
    Setting {
        name: "max-header-size",
        value: "SIZE",
        help: "Longest request head: 8KiB at least; a longer one is answered with 431",
        unset: Unset::Text("64KiB"),
        kind: Kind::Text,
        put: |settings, text| {
            let bytes = value::size(text)?;
            if !(8 << 10..=16 << 20).contains(&bytes) {
                return Err(value::expected(text, "from 8KiB to 16MiB"));
            }
            settings.max_header_size = usize::try_from(bytes).unwrap_or(usize::MAX);
            Ok(())
        },
    },
    Setting {
        name: "max-body-size",
        value: "SIZE",
        help: "Longest request body; a longer one is answered with 413; 0: any",
        unset: Unset::Text("64MiB"),
        kind: Kind::Text,
        put: |settings, text| value::size(text).map(|bytes| settings.max_body_size = bytes),
    },
    Setting {
        name: "min-body-rate",
        value: "N",
        help: "Bytes a second of a request body, behind which a client may fall by body-timeout; 0: any byte is progress",
        unset: Unset::Text("500"),
        kind: Kind::Number,
        put: |settings, text| number(text, 0, u32::MAX, &mut settings.min_body_rate),
    },
    Setting {
        name: "proxy-protocol-from",
        value: "NET",
        help: "Peers whose HTTP connections begin with a PROXY protocol header, with commas between them: 10.0.0.0/8, 192.0.2.7, fd00::/8, unix",
        unset: Unset::Off,
        kind: Kind::Text,
        put: |settings, text| {
            let network = |text: &str| text.trim().parse().map_err(|error| format!("`{text}`: {error}"));
            settings.proxy_protocol_from = text.split(',').map(network).collect::<Result<Vec<Network>, _>>()?;
            Ok(())
        },
    },
    Setting {
        name: "heartbeat-timeout",
        value: "DUR",
        help: "How long a worker's loop may stand still before it is aborted and replaced; 0: for ever",
        unset: Unset::Text("30s"),
        kind: Kind::Text,
        put: |settings, text| value::span_or_zero(text).map(|span| settings.heartbeat_timeout = span),
    },
    Setting {
        name: "max-requests",
        value: "N",
        help: "Requests after which a worker is replaced; 0: never",
        unset: Unset::Text("0"),
        kind: Kind::Number,
        put: |settings, text| number(text, 0, LARGEST, &mut settings.max_requests),
    },
    Setting {
        name: "max-requests-jitter",
        value: "N",
        help: "Up to so many requests more, by chance, so that workers are not replaced together; \
               10 % of max-requests if it is not given",
        unset: Unset::Off,
        kind: Kind::Number,
        put: |settings, text| number(text, 0, LARGEST, settings.max_requests_jitter.insert(0)),
    },
    Setting {
        name: "max-lifetime",
        value: "DUR",
        help: "Age at which a worker is replaced, and up to a tenth more by chance; 0: never",
        unset: Unset::Text("0"),
        kind: Kind::Text,
        put: |settings, text| value::span_or_zero(text).map(|span| settings.max_lifetime = span),
    },
    Setting {
        name: "max-memory",
        value: "SIZE",
        help: "Resident memory above which a worker is replaced: 512KiB, 300MiB, 1GiB; 0: never",
        unset: Unset::Text("0"),
        kind: Kind::Text,
        put: |settings, text| value::size(text).map(|bytes| settings.max_memory = bytes),
    },
    Setting {
        name: "balance",
        value: "on|off",
        help: "Whether a worker with clearly more connections than the others hands idle ones over",
        unset: Unset::Text("on"),
        kind: Kind::Switch,
        put: |settings, text| value::switch(text).map(|on| settings.balance = on),
    },
    Setting {
        name: "fd-store",
        value: "on|off",
        help: "Whether systemd stores the sockets, so that clients wait in them for the next start",
        unset: Unset::Text("off"),
        kind: Kind::Switch,
        put: |settings, text| value::switch(text).map(|on| settings.fd_store = on),
    },
    Setting {
        name: "on-demand",
        value: "on|off",
        help: "Hold nothing but the sockets until the first connection",
        unset: Unset::Text("off"),
        kind: Kind::Switch,
        put: |settings, text| value::switch(text).map(|on| settings.on_demand = on),
    },
    Setting {
        name: "idle-timeout",
        value: "DUR",
        help: "With on-demand: let everything go again after so long without connections",
        unset: Unset::Off,
        kind: Kind::Text,
        put: |settings, text| value::span(text).map(|span| settings.idle_timeout = Some(span)),
    },
    Setting {
        name: "crash-limit",
        value: "N",
        help: "Crashes in a row, of workers that did not stay ready for 1 s, before the master gives up",
        unset: Unset::Text("8"),
        kind: Kind::Number,
        put: |settings, text| number(text, 1, u32::MAX, &mut settings.crash_limit),
    },
    Setting {
        name: "upgrade-probation",
        value: "DUR",
        help: "How long a predecessor's workers wait before they drain; 0: not at all",
        unset: Unset::Text("2s"),
        kind: Kind::Text,
        put: |settings, text| value::span_or_zero(text).map(|span| settings.upgrade_probation = span),
    },
    Setting {
        name: "log",
        value: "FILE",
        help: "File that standard output and standard error are appended to",
        unset: Unset::Off,
        kind: Kind::Text,
        put: |settings, text| value::path(text).map(|path| settings.log = Some(path)),
    },
    Setting {
        name: "log-format",
        value: "FORMAT",
        help: "text or json",
        unset: Unset::Text("text"),
        kind: Kind::Text,
        put: |settings, text| parsed(text, &mut settings.log_format),
    },
    Setting {
        name: "access-log",
        value: "on|off|FILE",
        help: "A line for each request, to standard output or to a file that workers append to, in log-format: \
               text is the combined format and the seconds that it took",
        unset: Unset::Text("off"),
        kind: Kind::Text,
        put: |settings, text| value::access_log(text).map(|to| settings.access_log = to),
    },
    Setting {
        name: "working-dir",
        value: "PATH",
        help: "Folder to work in",
        unset: Unset::Off,
        kind: Kind::Text,
        put: |settings, text| value::path(text).map(|path| settings.working_dir = Some(path)),
    },
    Setting {
        name: "umask",
        value: "MODE",
        help: "Mode bits that new files do not get, in octal: 027",
        unset: Unset::Off,
        kind: Kind::Text,
        put: |settings, text| value::mode(text).map(|mode| settings.umask = Some(mode)),
    },
    Setting {
        name: "daemonize",
        value: "on|off",
        help: "Detach from the terminal; the command ends when the workers are ready",
        unset: Unset::Text("off"),
        kind: Kind::Switch,
        put: |settings, text| value::switch(text).map(|on| settings.daemonize = on),
    },
    Setting {
        name: "user",
        value: "NAME",
        help: "User that workers run as: a name or a number",
        unset: Unset::Off,
        kind: Kind::Text,
        put: |settings, text| value::account(text).map(|user| settings.user = Some(user)),
    },
    Setting {
        name: "group",
        value: "NAME",
        help: "Group that workers run as: a name or a number; the user's own if it is not given",
        unset: Unset::Off,
        kind: Kind::Text,
        put: |settings, text| value::account(text).map(|group| settings.group = Some(group)),
    },
    Setting {
        name: "no-new-privileges",
        value: "on|off",
        help: "Workers, and programs that they start, can gain no privileges",
        unset: Unset::Text("off"),
        kind: Kind::Switch,
        put: |settings, text| value::switch(text).map(|on| settings.no_new_privileges = on),
    },
    Setting {
        name: "anchor",
        value: "MODE",
        help: "A process before the master whose pid stays across upgrades: always, never, or auto: as pid 1, or under one that is not systemd",
        unset: Unset::Text("auto"),
        kind: Kind::Text,
        put: |settings, text| parsed(text, &mut settings.anchor),
    },
];

impl Setting {
    /// The row of this name.
    ///
    /// # Panics
    /// If there is none: the names are literals of this crate.
    pub(crate) fn named(name: &str) -> &'static Self {
        TABLE.iter().find(|setting| setting.name == name).unwrap_or_else(|| panic!("no setting is called {name}"))
    }

    /// Empties a list: one that is given replaces what was there.
    pub(super) fn clear(&self, settings: &mut Settings) {
        match self.name {
            "bind" => settings.bind.clear(),
            "tls-bind" => settings.tls_bind.clear(),
            "tls-certificate" => settings.tls_certificate.clear(),
            "tls-key" => settings.tls_key.clear(),
            other => debug_assert!(false, "{other} is no list"),
        }
    }

    /// The row of this key of the file.
    pub(super) fn of_key(key: &str) -> Option<&'static Self> {
        TABLE.iter().find(|setting| setting.kind != Kind::File && setting.key() == key)
    }

    /// The key in the file: `pid_file`.
    pub(crate) fn key(&self) -> String {
        self.name.replace('-', "_")
    }

    /// The environment variable: `HATCHERY_PID_FILE`.
    pub(crate) fn variable(&self) -> String {
        format!("HATCHERY_{}", self.key().to_ascii_uppercase())
    }
}

fn number<T: TryFrom<u64>>(text: &str, least: u64, most: impl Into<u64>, place: &mut T) -> Result<(), String> {
    let most = most.into();
    let number = value::number(text, least, most)?;
    *place = T::try_from(number).map_err(|_| value::expected(text, &format!("{most} at most")))?;
    Ok(())
}

fn span(text: &str, place: &mut Duration) -> Result<(), String> {
    value::span(text).map(|span| *place = span)
}

fn parsed<T: FromStr<Err: fmt::Display>>(text: &str, place: &mut T) -> Result<(), String> {
    text.parse().map(|value| *place = value).map_err(|error: T::Err| format!("`{text}`: {error}"))
}
