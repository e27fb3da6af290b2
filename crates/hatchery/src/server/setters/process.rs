//! What the process is to the machine, and as whom it runs.

use std::path::Path;
use std::time::Duration;

use super::switch;
use crate::Server;
use crate::settings::{self, Anchor};

/// What the process is to the machine, and as whom it runs.
impl<P: 'static> Server<P> {
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
        self.set("no-new-privileges", switch(on))
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
        self.set("daemonize", switch(on))
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
        self.set("on-demand", switch(on))
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
        self.set("fd-store", switch(on))
    }
}
