//! The settings of supervision and of the process itself, as the program wants them.

use std::time::Duration;

use super::Server;
use crate::settings::{self, Anchor};

/// What the program wants by default; see [`Settings`](crate::Settings).
impl<P: 'static> Server<P> {
    /// How long the loop of a worker may stand still before the worker is
    /// aborted, with a dump of what it was doing, and replaced; by default 30 s.
    /// Zero: it may for ever.
    ///
    /// A request that takes long without blocking the loop is no such case.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let settings = hatchery::Server::new().heartbeat_timeout(Duration::from_secs(5)).settings()?;
    /// assert_eq!(settings.heartbeat_timeout, Duration::from_secs(5));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn heartbeat_timeout(self, timeout: Duration) -> Self {
        self.set("heartbeat-timeout", settings::spell(timeout))
    }

    /// The age at which a worker is replaced, and up to a tenth more by chance;
    /// by default none.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let settings = hatchery::Server::new().max_lifetime(Duration::from_secs(3600)).settings()?;
    /// assert_eq!(settings.max_lifetime, Duration::from_secs(3600));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn max_lifetime(self, age: Duration) -> Self {
        self.set("max-lifetime", settings::spell(age))
    }

    /// The resident memory, in bytes, above which a worker is replaced; by default none.
    ///
    /// What workers share with their master counts as well.
    ///
    /// ```
    /// let settings = hatchery::Server::new().max_memory(300 << 20).settings()?;
    /// assert_eq!(settings.max_memory, 300 << 20);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn max_memory(self, bytes: u64) -> Self {
        self.set("max-memory", format!("{bytes}B"))
    }

    /// Whether the service manager stores the sockets that the server binds, for the next
    /// start. Off by default.
    ///
    /// With systemd 254 or later and `FileDescriptorStoreMax=` clients then wait over a
    /// restart, and over the death of every process. Without those a line of the log says so,
    /// and nothing else changes. `FDSTORE` in `sd_notify(3)`.
    ///
    /// ```
    /// assert!(hatchery::Server::new().fd_store(true).settings()?.fd_store);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn fd_store(self, on: bool) -> Self {
        self.set("fd-store", spell_switch(on))
    }

    /// Whether nothing but the sockets is held until the first connection: it
    /// loads the application, forks the workers, and is answered. Off by default.
    ///
    /// Sidecars and job servers come and go with the workers. What wakes it is a
    /// connection to an address that it listens on, and nothing that arrives at
    /// a [kept](Self::keep) socket: that waits in the socket until somebody reads.
    ///
    /// ```
    /// assert!(hatchery::Server::new().on_demand(true).settings()?.on_demand);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn on_demand(self, on: bool) -> Self {
        self.set("on-demand", spell_switch(on))
    }

    /// How long a server [on demand](Self::on_demand) waits without connections,
    /// and without jobs that wait or run, before it lets everything go again; by default for ever.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let server = hatchery::Server::new().on_demand(true).idle_timeout(Duration::from_secs(60));
    /// assert_eq!(server.settings()?.idle_timeout, Some(Duration::from_secs(60)));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn idle_timeout(self, timeout: Duration) -> Self {
        self.set("idle-timeout", settings::spell(timeout))
    }

    /// Whether the server detaches from the terminal and the shell that have
    /// started it; off by default. The command ends when the workers are ready,
    /// with the error and its code if they do not get there.
    ///
    /// ```
    /// assert!(hatchery::Server::new().daemonize(true).settings()?.daemonize);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn daemonize(self, on: bool) -> Self {
        self.set("daemonize", spell_switch(on))
    }

    /// The user that workers run as, by name or number. The master stays who it is.
    ///
    /// ```
    /// let settings = hatchery::Server::new().user("root").settings()?;
    /// assert_eq!(settings.user.as_deref(), Some("root"));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn user(self, user: impl Into<String>) -> Self {
        self.set("user", user.into())
    }

    /// The group that workers run as, by name or number; by default the one of
    /// the [`user`](Self::user).
    ///
    /// ```
    /// let settings = hatchery::Server::new().group("0").settings()?;
    /// assert_eq!(settings.group.as_deref(), Some("0"));
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn group(self, group: impl Into<String>) -> Self {
        self.set("group", group.into())
    }

    /// Whether workers, and programs that they start, can gain no privileges, as
    /// by a set-user-ID program; off by default.
    ///
    /// ```
    /// assert!(hatchery::Server::new().no_new_privileges(true).settings()?.no_new_privileges);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn no_new_privileges(self, on: bool) -> Self {
        self.set("no-new-privileges", spell_switch(on))
    }

    /// Whether a process whose pid never changes stands before the master; by
    /// default as pid 1 only.
    ///
    /// ```
    /// use hatchery::Anchor;
    ///
    /// assert_eq!(hatchery::Server::new().anchor(Anchor::Never).settings()?.anchor, Anchor::Never);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn anchor(self, mode: Anchor) -> Self {
        self.set("anchor", mode.to_string())
    }
}

/// As the table's rows read it.
fn spell_switch(on: bool) -> String {
    if on { "on" } else { "off" }.to_owned()
}
