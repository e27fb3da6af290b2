//! Where operators ask, and what they read.

use std::path::Path;

use crate::Server;
use crate::settings::LogFormat;

/// Where operators ask, and what they read.
impl<P: 'static> Server<P> {
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

    /// The file that standard output and standard error are appended to, in the
    /// master and every worker. SIGUSR1 opens it again; a reload goes over to another one.
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
}
