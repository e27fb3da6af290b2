//! `Server::run`: where the roles come together.
//!
//! The master's wing returns what this process has become, by value: a worker
//! that was forked a moment ago, or a master that is done. The worker's wing
//! runs the one, and [`Exit`] carries the code of the other.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use hatchery_core::{Generation, Outcome};
use hatchery_master::{Driver, Hooks, Newborn, PidFile, Predecessor, Role, Setup};
use hatchery_sys::board::Board;
use hatchery_sys::origin::Origin;
use hatchery_sys::{process, signals, streams};
use hatchery_worker::Worker;

use crate::error::BoxError;
use crate::hooks::{ExitHook, SlotHook};
use crate::{Error, Exit, Server, Settings, logging};

mod alone;
mod listeners;
mod preload;
mod relays;
mod reread;

/// A board has cells for every worker that may run, and for as many that drain.
const BOARD_CELLS: usize = 2 * hatchery_core::policy::MAX_WORKERS as usize;

/// What an application that fails, or panics, outside of a request ends its worker with.
const PANICKED: i32 = 101;

impl<P: 'static> Server<P> {
    /// Runs the server until it is told to stop.
    ///
    /// In the master this returns when everything is drained, with the exit
    /// code. `app` runs in every worker after the fork, on that worker's own
    /// single-threaded runtime; its futures need not be `Send`. **In a worker
    /// `run` never returns**: the process ends as soon as `app` has returned and
    /// the standard streams are flushed, so nothing that stands on the caller's
    /// frame is dropped twice.
    ///
    /// Until the master's loop begins, which is after `preload`, the signals
    /// TERM, INT and QUIT keep their default action.
    ///
    /// # Errors
    /// They are in the [`Exit`]: bad settings and listeners that cannot be had
    /// are code 1, an application that does not boot is code 3.
    ///
    /// # Example
    /// ```no_run
    /// use hatchery::{Conn, Server, Worker};
    ///
    /// fn main() -> hatchery::Exit {
    ///     Server::new().bind("127.0.0.1:7000").run(async |worker: Worker, _: &'static ()| {
    ///         worker.serve(async |conn: Conn| drop(conn)).await
    ///     })
    /// }
    /// ```
    pub fn run<A, E>(self, app: A) -> Exit
    where
        A: AsyncFn(Worker, &'static P) -> Result<(), E>,
        E: Into<BoxError>,
    {
        let predecessor = match Predecessor::from_env() {
            Ok(predecessor) => predecessor,
            Err(error) => return Error::Handoff(error).into(),
        };
        // Of a successor that cannot start, the predecessor's log has the reason.
        let link = predecessor.as_ref().and_then(|predecessor| predecessor.link.try_clone().ok());
        match self.start(predecessor, app) {
            Ok(outcome) => outcome.into(),
            Err(error) => {
                if let Some(link) = link {
                    hatchery_master::predecessor::failed(&link, &error.one_line());
                }
                error.into()
            }
        }
    }

    fn start<A, E>(self, predecessor: Option<Predecessor>, app: A) -> Result<Outcome, Error>
    where
        A: AsyncFn(Worker, &'static P) -> Result<(), E>,
        E: Into<BoxError>,
    {
        alone::refuse_runtime()?;
        let startup = signals::Startup::capture();
        let origin = Origin::capture().map_err(Error::Origin)?;
        let settings = self.sources.resolve()?;
        enter(&settings)?;
        let mut pid_file = settings.pid_file.clone().map(PidFile::at);
        let is_first = predecessor.is_none();
        if let Some(pid_file) = pid_file.as_ref().filter(|_| is_first) {
            pid_file.check()?;
        }
        let generation = predecessor.as_ref().map_or(Generation::FIRST, |predecessor| predecessor.generation);
        let scaled = predecessor.as_ref().and_then(|predecessor| reread::kept_scale(predecessor, &settings));
        let board = Board::create(BOARD_CELLS).map_err(Error::Board)?;
        let mut predecessor = predecessor;
        let relays = relays::claim(predecessor.as_mut()).map_err(Error::Relay)?;
        let (listeners, link) = listeners::claim(&settings, &self.named, predecessor, &board)?;
        if let Some(link) = &link {
            hatchery_master::predecessor::phase(link, "preloading");
        }
        let preloaded = preload::once(self.preload).and_then(|preloaded| {
            alone::check()?;
            // Last: only the driver's end removes it.
            match &mut pid_file {
                Some(pid_file) if is_first => pid_file.reserve()?,
                Some(pid_file) => pid_file.prepare()?,
                None => {}
            }
            Ok(preloaded)
        });
        let preloaded: &'static P = preloaded.inspect_err(|_| listeners.abandon())?;

        let current = Rc::new(RefCell::new(settings));
        let hooks = hooks(self.hooks.before_fork, self.hooks.on_worker_exit, self.sources, &current);
        let setup = Setup {
            policy: current.borrow().policy(),
            scaled,
            generation,
            listeners,
            listen_mode: current.borrow().listen_mode,
            relays,
            board,
            origin,
            startup,
            pid_file,
            predecessor: link,
            hooks,
        };
        let driver = Driver::new(setup).map_err(Error::Signals)?;
        logging::settle();
        match driver.run() {
            Role::Done(outcome) => Ok(outcome),
            Role::Worker(newborn) => {
                let settings = current.borrow().clone();
                work(*newborn, &settings, self.hooks.after_fork, preloaded, app)
            }
        }
    }
}

/// What the settings say about the process itself.
fn enter(settings: &Settings) -> Result<(), Error> {
    if let Some(mask) = settings.umask {
        process::set_umask(mask);
    }
    if let Some(dir) = &settings.working_dir {
        process::set_working_dir(dir).map_err(|source| Error::WorkingDir { path: dir.clone(), source })?;
    }
    logging::install(settings)
}

fn hooks(
    before_fork: Vec<SlotHook>,
    on_worker_exit: Vec<ExitHook>,
    sources: crate::settings::Sources,
    current: &Rc<RefCell<Settings>>,
) -> Hooks {
    let (mut before_fork, mut on_worker_exit) = (before_fork, on_worker_exit);
    let (rereading, reopening) = (Rc::clone(current), Rc::clone(current));
    Hooks {
        reread: Box::new(move || reread::again(&sources, &rereading)),
        reopen: Box::new(move || logging::reopen(&reopening.borrow())),
        before_fork: Box::new(move |slot| before_fork.iter_mut().for_each(|hook| hook(slot))),
        worker_exited: Box::new(move |exit| on_worker_exit.iter_mut().for_each(|hook| hook(exit))),
    }
}

/// The rest of a worker's life. The frames above this one are copies of the
/// master's: whatever happens, they are not returned to.
fn work<A, P, E>(newborn: Newborn, settings: &Settings, after_fork: Vec<SlotHook>, preloaded: &'static P, app: A) -> !
where
    A: AsyncFn(Worker, &'static P) -> Result<(), E>,
    E: Into<BoxError>,
{
    let log = settings.clone();
    let ran = catch_unwind(AssertUnwindSafe(move || {
        let mut after_fork = after_fork;
        after_fork.iter_mut().for_each(|hook| hook(newborn.slot));
        let _presence = newborn.presence;
        let seed = hatchery_worker::Seed {
            slot: newborn.slot,
            generation: newborn.generation,
            master: newborn.master,
            listeners: newborn.listeners,
            relay: newborn.relay,
            quota: settings.quota(),
            channel: newborn.channel,
            board: newborn.board,
            cell: newborn.cell,
            limits: log.limits(),
            drain_timeout: newborn.drain_timeout,
            blocked: newborn.blocked,
            reopen: Box::new(move || logging::reopen(&log)),
        };
        hatchery_worker::run(seed, preloaded, app)
    }));
    streams::flush();
    process::exit_now(ran.unwrap_or(PANICKED))
}
