//! The builder: what a program says about its server.

use std::ffi::OsString;
use std::fmt;

use hatchery_core::Slot;
use hatchery_net::{AddressError, Bind};
use hatchery_sys::origin::Origin as Start;
use hatchery_worker::TLS;

use crate::cli::ServerArgs;
use crate::error::{BoxError, Error};
use crate::hooks::{Hooks, WorkerExit};
use crate::settings::sources::{Given, Named, Sources};
use crate::settings::{self, Settings};

mod companions;
mod setters;

pub(crate) use companions::{Companions, Declared, Duty, Job, Life, Make};

/// What is loaded once a generation, before its first worker.
pub(crate) type Preload<P> = Box<dyn FnOnce() -> Result<P, BoxError>>;

/// A server that is about to be run: a master, and workers that it forks.
///
/// The methods that bear the name of a setting say what the program wants by
/// default. With [`Server::from_args`] the file, the environment and the
/// command line outrank them; with [`Server::new`] they stand. What cannot be is
/// said when the server runs, as an error with exit code 1.
///
/// `P` is what [`preload`](Server::preload) returns.
///
/// ```no_run
/// use std::convert::Infallible;
/// use std::time::Duration;
///
/// use hatchery::{Exit, Server, http};
///
/// fn main() -> Exit {
///     Server::new()
///         .bind("127.0.0.1:8080")
///         .workers(4)
///         .drain_timeout(Duration::from_secs(10))
///         .run(http::serve_fn(async |_request| Ok::<_, Infallible>(http::text("Hello, World!"))))
/// }
/// ```
#[must_use = "a server does nothing until it runs"]
pub struct Server<P: 'static = ()> {
    pub(crate) sources: Sources,
    pub(crate) preload: Preload<P>,
    pub(crate) hooks: Hooks,
    pub(crate) companions: Companions<P>,
}

impl Server {
    /// A server that asks neither the command line nor the environment.
    ///
    /// Call it before the working directory changes: this is what an upgrade
    /// will start from.
    ///
    /// ```
    /// let server = hatchery::Server::new().bind("[::1]:0");
    /// assert_eq!(server.settings()?.bind[0].to_string(), "[::1]:0");
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn new() -> Self {
        // Where this fails, `run` says so.
        let start = Start::capture().map(|start| start.dir).unwrap_or_default();
        Self {
            sources: Sources { start, ..Sources::default() },
            preload: Box::new(|| Ok(())),
            hooks: Hooks::default(),
            companions: Companions::default(),
        }
    }

    /// A server that the command line has the last word on, then the
    /// environment (`HATCHERY_WORKERS`), then the file that `--config` names.
    ///
    /// The environment is read here; the file when the server starts, and again
    /// at each reload.
    ///
    /// ```
    /// use clap::Parser;
    /// use hatchery::{Server, cli};
    ///
    /// #[derive(Parser)]
    /// struct Args {
    ///     #[command(flatten)]
    ///     server: cli::ServerArgs,
    /// }
    ///
    /// let args = Args::parse_from(["app", "--workers", "3"]);
    /// let settings = Server::from_args(args.server).workers(8).settings()?;
    /// assert_eq!(settings.workers, 3);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn from_args(args: ServerArgs) -> Self {
        let mut server = Self::new();
        server.sources.command_line = args.given;
        server.sources.asked = args.asked;
        server.sources.environment = Given::in_environment();
        server.sources.strays = settings::sources::strays();
        server
    }

    /// Loads something once a generation, in its master, before the first
    /// worker is forked: all workers share its memory, copy-on-write.
    ///
    /// It runs as the master's user, and before the runtime: it must start no
    /// thread. It does not run again at a reload; new data needs an upgrade, and
    /// the successor loads it while this generation serves. An error ends the
    /// server with code 3. The result lives as long as the process, so handlers
    /// may keep a reference to it.
    ///
    /// ```no_run
    /// use std::fs;
    ///
    /// use hatchery::{Conn, Exit, Server, Worker};
    ///
    /// fn main() -> Exit {
    ///     Server::new().preload(|| fs::read_to_string("quotes.txt")).run(async |worker: Worker, quotes: &'static String| {
    ///         println!("{} bytes, not read again", quotes.len());
    ///         worker.serve(async |conn: Conn| drop(conn)).await
    ///     })
    /// }
    /// ```
    pub fn preload<P: 'static, E>(self, load: impl FnOnce() -> Result<P, E> + 'static) -> Server<P>
    where
        E: Into<BoxError>,
    {
        let preload = Box::new(|| load().map_err(Into::into));
        let companions = self.companions.beside();
        Server { sources: self.sources, preload, hooks: self.hooks, companions }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: 'static> Server<P> {
    /// Adds an address to listen on: `127.0.0.1:8080`, `[::1]:8080` or
    /// `unix:/run/app.sock`; port 0 lets the system choose.
    ///
    /// A list from the command line, the environment or the file replaces all
    /// of these. If nobody binds anything, it is `127.0.0.1:8080`.
    ///
    /// ```
    /// let server = hatchery::Server::new().bind("127.0.0.1:80").bind("unix:/run/app.sock");
    /// assert_eq!(server.settings()?.bind.len(), 2);
    /// # Ok::<(), hatchery::Error>(())
    /// ```
    pub fn bind(self, address: impl AsRef<str>) -> Self {
        let address = OsString::from(address.as_ref());
        self.add("bind", address)
    }

    /// Adds an address with a name, by which the application tells its
    /// listeners apart. It is what [`bind`](Self::bind) takes, port 0 and `unix:PATH` too, or
    /// `fd:NAME`: every socket that a service manager has passed under that name. See [`Worker::only`](crate::Worker::only) and
    /// [`Worker::without`](crate::Worker::without). No setting replaces it: it comes
    /// from the program, and changes with it, at an upgrade or a restart.
    ///
    /// ```no_run
    /// use hatchery::{Conn, Exit, Server, Worker};
    ///
    /// fn main() -> Exit {
    ///     Server::new().bind_named("echo", "127.0.0.1:7").run(async |worker: Worker, _: &'static ()| {
    ///         worker.only("echo").serve(async |conn: Conn| drop(conn)).await
    ///     })
    /// }
    /// ```
    pub fn bind_named(mut self, name: impl Into<String>, address: impl AsRef<str>) -> Self {
        let name = name.into();
        if name == TLS {
            let reason = "addresses that speak TLS have this name: see `tls_bind`".to_owned();
            self.sources.refused.get_or_insert((format!("bind_named {name:?}"), reason));
            return self;
        }
        let bind: Result<Bind, AddressError> = address.as_ref().parse();
        match bind {
            Ok(mut bind) => {
                settings::absolute(&mut bind, &self.sources.start);
                self.sources.named.push(Named { name, bind });
            }
            Err(error) => {
                self.sources.refused.get_or_insert((format!("bind_named {name:?}"), error.to_string()));
            }
        }
        self
    }

    /// Adds a function that runs in the master before each fork of a worker, a
    /// sidecar or a job server; [`Slot::is_companion`] tells the last two.
    ///
    /// A panic in it is logged, and one that takes over 100 ms as well: nobody
    /// is supervised meanwhile.
    ///
    /// ```
    /// let server = hatchery::Server::new().before_fork(|slot| tracing::info!("worker {slot} comes"));
    /// # let _ = server;
    /// ```
    pub fn before_fork(mut self, hook: impl FnMut(Slot) + 'static) -> Self {
        self.hooks.before_fork.push(Box::new(hook));
        self
    }

    /// Adds a function that runs in each worker after its fork, before its
    /// runtime is made: the place to seed random generators anew and to open
    /// what must not be shared with the master. A panic ends the worker.
    ///
    /// It runs in sidecars and job servers too ([`Slot::is_companion`]), and not
    /// again in each job: those that need another seed each have to see to that.
    ///
    /// ```
    /// let server = hatchery::Server::new().after_fork(|slot| println!("worker {slot} is here"));
    /// # let _ = server;
    /// ```
    pub fn after_fork(mut self, hook: impl FnMut(Slot) + 'static) -> Self {
        self.hooks.after_fork.push(Box::new(hook));
        self
    }

    /// Adds a function that runs in the master when a worker is gone, however
    /// it went. As for [`before_fork`](Self::before_fork), it had better be quick.
    ///
    /// ```
    /// let server = hatchery::Server::new().on_worker_exit(|exit| tracing::warn!(?exit));
    /// # let _ = server;
    /// ```
    pub fn on_worker_exit(mut self, hook: impl FnMut(&WorkerExit) + 'static) -> Self {
        self.hooks.on_worker_exit.push(Box::new(hook));
        self
    }

    /// The settings as they are now, from all sources.
    ///
    /// # Errors
    /// [`Error::Settings`], for the first thing that is wrong: what
    /// [`run`](Self::run) would end with.
    pub fn settings(&self) -> Result<Settings, Error> {
        Ok(self.sources.resolve()?)
    }
}

impl<P: 'static> fmt::Debug for Server<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("sources", &self.sources)
            .field("hooks", &self.hooks)
            .field("companions", &self.companions)
            .finish_non_exhaustive()
    }
}
