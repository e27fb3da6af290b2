//! What the program has beside its workers: jobs, sidecars, and descriptors that it keeps.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

use hatchery_core::CompanionKind;
use hatchery_core::companion::MAX_COMPANIONS;
use hatchery_net::{JobConfig, Kept};
use hatchery_worker::Sidecar;
use hatchery_worker::error::one_line;

use super::Server;
use crate::error::BoxError;

/// A job: input and what is preloaded, to output, or an error in one line.
pub(crate) type Job<P> = dyn Fn(&[u8], &'static P) -> Result<Vec<u8>, String>;

/// The rest of a sidecar's life, to its exit code.
pub(crate) type Life<P> = dyn FnOnce(hatchery_worker::Seed, String, &'static P) -> i32;

/// Makes a descriptor that is not there yet.
pub(crate) type Make = dyn FnOnce() -> io::Result<OwnedFd>;

/// Everything that the program has declared, in its order.
pub(crate) struct Companions<P: 'static> {
    pub(crate) declared: Vec<Declared<P>>,
    pub(crate) keeps: Vec<(String, Box<Make>)>,
}

/// A process of the program's own.
pub(crate) struct Declared<P: 'static> {
    pub(crate) name: String,
    pub(crate) duty: Duty<P>,
}

/// What it is there for.
pub(crate) enum Duty<P: 'static> {
    Jobs { config: JobConfig, job: Box<Job<P>> },
    Sidecar(Box<Life<P>>),
}

impl<P: 'static> Server<P> {
    /// Adds jobs: work that takes long or may crash, each done in a child process of its own.
    ///
    /// A worker orders one with [`Worker::jobs`](crate::Worker::jobs). A server for
    /// these jobs, one single-threaded process a generation that is supervised as
    /// a worker is, forks a child for each: so it begins with the memory as it was
    /// before the first worker, and whatever it does to itself, by a crash, a leak
    /// or a hang, is an error value for who has ordered it.
    ///
    /// The function is the one of the program that the worker runs: an upgrade
    /// brings its own. It may capture anything, and reads what is preloaded with
    /// [`jobs_with`](Self::jobs_with). A job has none of the server's sockets,
    /// other than what is [kept](Self::keep). Its error, and its panic, is what the
    /// caller gets as [`JobError`](crate::JobError). Programs that a job starts are
    /// its own affair: they are not killed with it.
    ///
    /// How an awaited job ends is not logged: the caller has the error. What the
    /// server has accepted is done when it drains, within `drain-timeout`: choose a
    /// `time_limit`, and a `queue`, that fit into it.
    ///
    /// A name has up to 64 ASCII letters, digits, `-`, `_` or `.`.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use hatchery::{Exit, JobConfig, JobError, Server, http};
    ///
    /// fn main() -> Exit {
    ///     let config = JobConfig { concurrency: 2, time_limit: Duration::from_secs(2), ..JobConfig::default() };
    ///     Server::new()
    ///         .jobs("sort", config, |input: &[u8]| {
    ///             let mut lines: Vec<&str> = std::str::from_utf8(input)?.lines().collect();
    ///             lines.sort_unstable();
    ///             Ok::<_, std::str::Utf8Error>(lines.join("\n").into_bytes())
    ///         })
    ///         .run(async |worker: hatchery::Worker, _: &'static ()| {
    ///             let jobs = worker.jobs("sort");
    ///             let sorted = http::serve_fn(async move |_request: http::Request| {
    ///                 let output = jobs.run("b\na\n").await?;
    ///                 Ok::<_, JobError>(http::text(output))
    ///             });
    ///             sorted(worker, &()).await
    ///         })
    /// }
    /// ```
    pub fn jobs<E>(
        self,
        name: impl Into<String>,
        config: JobConfig,
        job: impl Fn(&[u8]) -> Result<Vec<u8>, E> + 'static,
    ) -> Self
    where
        E: Into<BoxError>,
    {
        self.jobs_with(name, config, move |input, _| job(input))
    }

    /// Adds [jobs](Self::jobs) that use what was [preloaded](Server::preload): it
    /// is shared with them, copy-on-write, and costs nothing of their memory limit.
    ///
    /// They come after `preload`: jobs that were added before it get `()`.
    ///
    /// ```no_run
    /// use hatchery::{Conn, Exit, JobConfig, Server, Worker};
    ///
    /// fn main() -> Exit {
    ///     Server::new()
    ///         .preload(|| std::fs::read("dictionary"))
    ///         .jobs_with("count", JobConfig::default(), |word: &[u8], dictionary: &'static Vec<u8>| {
    ///             let count = dictionary.split(|byte| *byte == b'\n').filter(|line| *line == word).count();
    ///             Ok::<_, std::io::Error>(count.to_string().into_bytes())
    ///         })
    ///         .run(async |worker: Worker, _: &'static Vec<u8>| worker.serve(async |conn: Conn| drop(conn)).await)
    /// }
    /// ```
    pub fn jobs_with<E>(
        self,
        name: impl Into<String>,
        config: JobConfig,
        job: impl Fn(&[u8], &'static P) -> Result<Vec<u8>, E> + 'static,
    ) -> Self
    where
        E: Into<BoxError>,
    {
        let name = name.into();
        let checked = config.check();
        let job = move |input: &[u8], preloaded| job(input, preloaded).map_err(|error| one_line(&*error.into()));
        self.declare(name, "jobs", checked, Duty::Jobs { config, job: Box::new(job) })
    }

    /// Adds a sidecar: a process of the program's own with a runtime and no
    /// listener, for what the service needs once and not in each worker, such as a
    /// consumer of a queue or a pusher of metrics.
    ///
    /// It is supervised as a worker is: it boots until it calls
    /// [`Sidecar::ready`](crate::Sidecar::ready), which the server's own readiness
    /// waits for, under `boot-timeout`; if it crashes or returns, it is started
    /// again, ever slower; `heartbeat-timeout` applies; a reload, an upgrade and a
    /// TERM to it replace it, the new one first. While it is being replaced there
    /// are two of them. A server [on demand](Self::on_demand) has it only while it
    /// has workers.
    ///
    /// **At a stop, and where a generation leaves, it goes after the last worker**:
    /// [`Sidecar::draining`](crate::Sidecar::draining) completes when all of them
    /// have gone, so what their last requests have sent it is there by then. It has
    /// what the workers have left of the `drain-timeout`, and at the least 5 s or
    /// the whole `drain-timeout`, whichever is less.
    ///
    /// It gets what was preloaded; one that was added before `preload` gets `()`.
    /// A name is as for [`jobs`](Self::jobs).
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use hatchery::{Conn, Exit, Server, Sidecar, Worker};
    ///
    /// fn main() -> Exit {
    ///     Server::new()
    ///         .sidecar("clock", async |sidecar: Sidecar, _: &'static ()| {
    ///             sidecar.ready();
    ///             while !sidecar.is_draining() {
    ///                 tokio::select! {
    ///                     () = sidecar.draining() => {}
    ///                     () = tokio::time::sleep(Duration::from_secs(1)) => println!("tick"),
    ///                 }
    ///             }
    ///             Ok::<_, std::io::Error>(())
    ///         })
    ///         .run(async |worker: Worker, _: &'static ()| worker.serve(async |conn: Conn| drop(conn)).await)
    /// }
    /// ```
    pub fn sidecar<A, E>(self, name: impl Into<String>, app: A) -> Self
    where
        A: AsyncFn(Sidecar, &'static P) -> Result<(), E> + 'static,
        E: Into<BoxError>,
    {
        let life = move |seed, name, preloaded| hatchery_worker::sidecar::run(seed, name, preloaded, app);
        self.declare(name.into(), "sidecar", Ok(()), Duty::Sidecar(Box::new(life)))
    }

    /// Keeps a descriptor of the program's own open across upgrades: a socket
    /// for another protocol, a connection to a device, a locked file.
    ///
    /// `make` is a function, and not the descriptor itself, because it is called in
    /// the first generation alone: after an upgrade the descriptor is there
    /// already, and making another one would fail, as binding the same port does, or
    /// lose what it stands for. So the new program gets what the old one has kept
    /// under the same name, and an error in `make` ends a first start with code 1.
    /// It runs in the master, before anything is loaded. What changes in it is not
    /// seen while the name stays: another address needs another name, or a restart.
    ///
    /// Reach it with [`Worker::kept`](crate::Worker::kept),
    /// [`Sidecar::kept`](crate::Sidecar::kept) or [`kept`](crate::kept()), in every
    /// process. What a new program does not keep any more is closed in it; the old
    /// one has its copy until it is gone, and serves on with it if the upgrade
    /// fails. A name is as for [`jobs`](Self::jobs).
    ///
    /// ```no_run
    /// use std::net::UdpSocket;
    ///
    /// use hatchery::{Exit, Server, Worker};
    ///
    /// fn main() -> Exit {
    ///     Server::new()
    ///         .keep("statistics", || UdpSocket::bind("0.0.0.0:8125"))
    ///         .run(async |worker: Worker, _: &'static ()| {
    ///             let socket = UdpSocket::from(worker.kept("statistics")?);
    ///             socket.set_nonblocking(true)?;
    ///             let socket = tokio::net::UdpSocket::from_std(socket)?;
    ///             worker.ready();
    ///             let mut datagram = [0; 1500];
    ///             loop {
    ///                 tokio::select! {
    ///                     () = worker.draining() => return Ok::<_, std::io::Error>(()),
    ///                     received = socket.recv(&mut datagram) => println!("{} bytes", received?),
    ///                 }
    ///             }
    ///         })
    /// }
    /// ```
    pub fn keep<T>(mut self, name: impl Into<String>, make: impl FnOnce() -> io::Result<T> + 'static) -> Self
    where
        T: Into<OwnedFd>,
    {
        let name = name.into();
        let is_taken = self.companions.keeps.iter().any(|(taken, _)| *taken == name);
        match Kept::check_name(&name).and_then(|()| if is_taken { Err(TAKEN.to_owned()) } else { Ok(()) }) {
            Ok(()) => self.companions.keeps.push((name, Box::new(|| make().map(Into::into)))),
            Err(reason) => self.refuse("keep", &name, reason),
        }
        self
    }

    fn declare(mut self, name: String, method: &str, checked: Result<(), String>, duty: Duty<P>) -> Self {
        let kind = duty.kind();
        let declared = &self.companions.declared;
        let is_taken = declared.iter().any(|taken| taken.name == name && taken.duty.kind() == kind);
        let checked = match Kept::check_name(&name).and(checked) {
            Ok(()) if is_taken => Err(TAKEN.to_owned()),
            Ok(()) if declared.len() >= usize::from(MAX_COMPANIONS) => {
                Err(format!("jobs and sidecars together are at most {MAX_COMPANIONS}"))
            }
            checked => checked,
        };
        match checked {
            Ok(()) => self.companions.declared.push(Declared { name, duty }),
            Err(reason) => self.refuse(method, &name, reason),
        }
        self
    }

    fn refuse(&mut self, method: &str, name: &str, reason: String) {
        self.sources.refused.get_or_insert((format!("{method} {name:?}"), reason));
    }
}

const TAKEN: &str = "the name is taken already";

impl Companions<()> {
    /// The same, beside something that was preloaded.
    pub(crate) fn beside<P: 'static>(self) -> Companions<P> {
        let beside = |Declared { name, duty }| {
            let duty = match duty {
                Duty::Jobs { config, job } => {
                    Duty::Jobs { config, job: Box::new(move |input: &[u8], _: &'static P| job(input, &())) }
                }
                Duty::Sidecar(life) => Duty::Sidecar(Box::new(|seed, name, _: &'static P| life(seed, name, &()))),
            };
            Declared { name, duty }
        };
        Companions { declared: self.declared.into_iter().map(beside).collect(), keeps: self.keeps }
    }
}

impl<P: 'static> Duty<P> {
    fn kind(&self) -> CompanionKind {
        match self {
            Self::Jobs { .. } => CompanionKind::Jobs,
            Self::Sidecar(_) => CompanionKind::Sidecar,
        }
    }
}

impl<P: 'static> Default for Companions<P> {
    fn default() -> Self {
        Self { declared: Vec::new(), keeps: Vec::new() }
    }
}

impl<P: 'static> fmt::Debug for Companions<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keeps: Vec<&str> = self.keeps.iter().map(|(name, _)| name.as_str()).collect();
        let declared: Vec<(CompanionKind, &str)> =
            self.declared.iter().map(|it| (it.duty.kind(), it.name.as_str())).collect();
        f.debug_struct("Companions").field("declared", &declared).field("keeps", &keeps).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn error<P: 'static>(server: &Server<P>) -> String {
        server.settings().map_or_else(|error| error.one_line(), |_| "no error".to_owned())
    }

    fn echo(input: &[u8]) -> io::Result<Vec<u8>> {
        Ok(input.to_vec())
    }

    async fn nothing(_: Sidecar, _: &'static ()) -> io::Result<()> {
        Ok(())
    }

    #[test]
    fn what_cannot_be_is_said_by_name_when_the_server_runs() {
        let (server, config) = (Server::new, JobConfig::default);
        assert_eq!(error(&server().jobs("a", config(), echo).sidecar("a", nothing)), "no error");
        for (server, words) in [
            (server().jobs("a b", config(), echo), ["jobs \"a b\"", "a name has 1 to 64 letters"]),
            (server().sidecar("", nothing), ["sidecar \"\"", "a name has 1 to 64 letters"]),
            (server().keep("a#1", || File::open("/dev/null")), ["keep \"a#1\"", "a name has 1 to 64 letters"]),
            (server().jobs("a", config(), echo).jobs("a", config(), echo), ["jobs \"a\"", "taken already"]),
            (server().jobs("a", JobConfig { concurrency: 0, ..config() }, echo), ["jobs \"a\"", "`concurrency` is 0"]),
            (
                (0..65).fold(server(), |server, number| server.sidecar(number.to_string(), nothing)),
                ["sidecar \"64\"", "at most 64"],
            ),
        ] {
            let said = error(&server);
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        }
    }

    #[test]
    fn those_that_were_added_before_preload_stay() {
        let server = Server::new().jobs("a", JobConfig::default(), echo).sidecar("b", nothing);
        let server = server.preload(|| Ok::<_, io::Error>(7)).jobs_with(
            "c",
            JobConfig::default(),
            |_: &[u8], seven: &'static i32| Ok::<_, io::Error>(seven.to_string().into_bytes()),
        );
        let declared = &server.companions.declared;
        assert_eq!(declared.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        let outputs: Vec<_> = declared
            .iter()
            .filter_map(|it| match &it.duty {
                Duty::Jobs { job, .. } => Some(job(b"x", &7)),
                Duty::Sidecar(_) => None,
            })
            .collect();
        assert_eq!(outputs, [Ok(b"x".to_vec()), Ok(b"7".to_vec())]);
    }
}
