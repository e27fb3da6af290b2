//! `Server::run`: where the roles come together.
//!
//! The master's wing returns what this process has become, by value: a worker
//! that was forked a moment ago, or a master that is done. The worker's wing
//! runs the one, and [`Exit`] carries the code of the other.

use std::cell::RefCell;
use std::mem;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::rc::Rc;

use hatchery_core::Outcome;
use hatchery_core::companion::MAX_COMPANIONS;
use hatchery_core::policy::MAX_WORKERS;
use hatchery_master::{Driver, Dumps, Hooks, Newborn, Notify, Predecessor, Role, Setup, commands, notify};
use hatchery_net::Passed;
use hatchery_sys::origin::Origin;
use hatchery_sys::{limits, process, signals, streams};
use hatchery_worker::Worker;
use tracing::{error, warn};

use crate::error::BoxError;
use crate::hooks::{ExitHook, Hooks as Callbacks, SlotHook};
use crate::settings::Sources;
use crate::{Error, Exit, Server, Settings, logging, starter};
use companions::{Share, Staff};
use ground::{Ground, Lain};
use listeners::Left;
use place::Held;
use tls::Tls;
use warning::Warning;

mod alone;
mod companions;
mod ground;
mod listeners;
mod place;
mod preload;
mod relays;
mod reread;
#[cfg_attr(not(feature = "tls"), path = "run/no_tls.rs")]
mod tls;
mod warning;

#[cfg(test)]
pub(crate) use reread::takes_effect_at;

/// A board has cells for every process of the four generations that there may be, and for as many that drain.
const BOARD_CELLS: usize = 8 * (MAX_WORKERS + MAX_COMPANIONS) as usize;

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
    /// frame is dropped twice. The same holds for the processes that `daemonize` and
    /// `anchor` leave behind: what returns is always the master.
    ///
    /// Until the master's loop begins, which is after `preload`, signals keep their
    /// default action: TERM, INT, QUIT, but also HUP, USR1 and USR2 end it. With
    /// `on_demand` there is somebody who waits already, so they wait for the loop. So do HUP,
    /// USR1, USR2, TTIN and TTOU in the program of an upgrade, which may be meant for the one
    /// that serves: before `run` is called they are blocked there, also for programs
    /// that `main` starts by then.
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
        let exit = match self.start(predecessor, app) {
            Ok(outcome) => outcome.into(),
            Err(error) => {
                if let Some(link) = link {
                    hatchery_master::predecessor::failed(&link, &error.one_line());
                }
                error.into()
            }
        };
        starter::ended(&exit);
        exit
    }

    fn start<A, E>(self, predecessor: Option<Predecessor>, app: A) -> Result<Outcome, Error>
    where
        A: AsyncFn(Worker, &'static P) -> Result<(), E>,
        E: Into<BoxError>,
    {
        let is_first = predecessor.as_ref().is_none_or(|before| before.asleep.is_some());
        let origin = if is_first { notify::Origin::Started } else { notify::Origin::Successor };
        // Before any code of the application: the mask would be inherited by programs that it starts.
        let mut caught = if is_first { None } else { Some(commands::listen_early().map_err(Error::Signals)?) };
        let mut held = Held { passed: Passed::from_env()?, notify: Notify::from_env(origin) };
        alone::refuse_runtime()?;
        // Before it slept, this process had noted its own.
        let slept = predecessor.as_ref().and_then(|before| before.asleep.as_ref());
        let startup = predecessor.as_ref().map_or_else(signals::Startup::capture, |before| before.startup);
        let mut origin = Origin::capture().map_err(Error::Origin)?;
        if let Some(slept) = slept {
            // Where it was found at first: what has that name now may be another file.
            origin.program.clone_from(&slept.program);
        }
        origin.forget(&Passed::VARIABLES);
        if let Some(asked) = self.sources.asked {
            return place::answer(asked, &self.sources).map(|()| Outcome::Drained);
        }
        if !held.notify.is_watched() {
            // Meant for somebody else: not for a successor either.
            origin.forget(&Notify::WATCHDOG);
        }
        let settings = self.sources.resolve()?;
        let mut companions = self.companions;
        tls::check(&settings, &self.sources)?;
        let privileges = place::privileges(&settings, &self.sources)?;
        logging::check_access(&settings, &self.sources)?;
        if predecessor.is_none() {
            place::detach(&settings, &self.sources)?;
            if settings.daemonize {
                held.notify.introduce();
            }
        }
        enter(&settings, &self.sources)?;
        let (moored, Held { passed, mut notify }) = place::moor(&settings, predecessor.as_ref(), held)?;
        let mut keeps = mem::take(&mut companions.keeps);
        tls::keep_keys(&mut keeps);
        let stores = settings.fd_store && notify.can_store();
        let mut ground = Ground::claim(&settings, &self.sources, keeps, predecessor, passed, stores)?;
        notify.take_out(mem::take(&mut ground.leaving));
        ground.anchor = ground.anchor.take().or(moored);
        ground.anchor.iter().for_each(|line| notify.go_by(line));
        let mut asked = None;
        if settings.on_demand && is_first {
            match ground.lie_low(&settings, &startup, &mut notify)? {
                Lain::Woken(command, signals) => (asked, caught) = (command, Some(signals)),
                Lain::Stopped => return Ok(Outcome::Drained),
            }
        }
        if let Some(link) = &ground.link {
            hatchery_master::predecessor::phase(link, "preloading");
        }
        notify.busy("preloading");
        let preloaded = preload::once(self.preload).and_then(|preloaded| {
            alone::check()?;
            ground.reserve()?;
            Ok(preloaded)
        });
        let preloaded: &'static P = match preloaded {
            Ok(preloaded) => preloaded,
            // It has served, so the next try may well go better.
            Err(error) if ground.slept.is_some() => {
                error!(target: "hatchery", "{}: whoever waits goes on waiting for the next try", error.one_line());
                ground.control.cannot_wake(&error.one_line());
                return ground.sleep_on(&settings, &origin, &startup, caught.as_mut()).map(|()| Outcome::Drained);
            }
            Err(error) => {
                notify.failed(&error.one_line());
                ground.abandon();
                return Err(error);
            }
        };

        // Read once more: time may have passed since they were checked.
        let tls = match Tls::load(&settings, &self.sources, &ground.kept) {
            Ok(tls) => Rc::new(tls),
            Err(error) => {
                ground.abandon();
                return Err(error);
            }
        };
        let staff = Staff::gather(companions, &ground.kept, ground.admin.is_some())?;
        let current = Rc::new(RefCell::new(settings));
        let Callbacks { before_fork, after_fork, on_worker_exit } = self.hooks;
        let hooks = hooks((before_fork, on_worker_exit), self.sources, ground.left, &current, &tls, origin.clone());
        let setup = Setup {
            policy: current.borrow().policy(),
            scaled: ground.scaled,
            generation: ground.generation,
            listeners: ground.listeners,
            listen_mode: current.borrow().listen_mode,
            relays: ground.relays,
            board: ground.board,
            origin,
            startup,
            pid_file: ground.pid_file,
            predecessor: ground.link,
            asked,
            has_served: ground.slept.is_some(),
            signals: caught,
            anchor: ground.anchor,
            control: ground.control,
            kept: ground.kept,
            notify,
            stores: ground.stores,
            admin: ground.admin,
            hooks,
            companions: staff.list(),
        };
        let driver = Driver::new(setup).map_err(Error::Signals)?;
        starter::settle();
        match driver.run() {
            Role::Done(outcome) => Ok(outcome),
            Role::Worker(newborn) => {
                starter::forget();
                let dumps = if tls.is_secret() { Dumps::Forbidden } else { Dumps::Allowed };
                // While nobody but root can look at this process.
                match newborn.slot.as_companion() {
                    None => tls.only_read(),
                    Some(_) => tls.forget(),
                }
                place::give_up(&privileges, dumps, &newborn.channel);
                let settings = current.borrow().clone();
                match newborn.slot.as_companion() {
                    None => work(*newborn, &settings, after_fork, staff, &tls, preloaded, app),
                    Some(index) => staff.work(index, *newborn, &settings, after_fork, preloaded),
                }
            }
        }
    }
}

/// What the settings say about the process itself.
fn enter(settings: &Settings, sources: &Sources) -> Result<(), Error> {
    if let Some(mask) = settings.umask {
        process::set_umask(mask);
    }
    let root = settings.daemonize.then(|| PathBuf::from("/"));
    if let Some(dir) = settings.working_dir.as_ref().or(root.as_ref()) {
        process::set_working_dir(dir).map_err(|source| Error::WorkingDir { path: dir.clone(), source })?;
    }
    logging::install(settings)?;
    for stray in &sources.strays {
        Warning::Stray(stray.clone()).logged();
    }
    // The most connections of a worker follow from it. The hard limit stays, so
    // the next program in line finds what this one has found.
    if let Err(reason) = limits::raise_open_files() {
        warn!(target: "hatchery", "cannot raise the limit of open files: {reason}");
    }
    Ok(())
}

fn hooks(
    (mut before_fork, mut on_worker_exit): (Vec<SlotHook>, Vec<ExitHook>),
    sources: Sources,
    left: Left,
    current: &Rc<RefCell<Settings>>,
    tls: &Rc<Tls>,
    origin: Origin,
) -> Hooks {
    let (rereading, reopening, comparing) = (Rc::clone(current), Rc::clone(current), Rc::clone(current));
    let same_sources = sources.clone();
    let (rotating, by, renewing) = (Rc::clone(tls), Rc::clone(current), Rc::clone(tls));
    Hooks {
        may_begin_anew: Box::new(move || reread::could_begin_anew(&same_sources, &comparing, &origin)),
        reread: Box::new(move |listeners| reread::again(&sources, &left, &rereading, &renewing, listeners)),
        reopen: Box::new(move || logging::reopen(&reopening.borrow())),
        serving: Box::new(starter::ready),
        upkeep: Box::new(move || rotating.rotate(&by.borrow())),
        before_fork: Box::new(move |slot| before_fork.iter_mut().for_each(|hook| hook(slot))),
        worker_exited: Box::new(move |exit| on_worker_exit.iter_mut().for_each(|hook| hook(exit))),
    }
}

/// The rest of a worker's life. The frames above this one are copies of the
/// master's: whatever happens, they are not returned to.
fn work<A, P, E>(
    newborn: Newborn,
    settings: &Settings,
    after_fork: Vec<SlotHook>,
    staff: Staff<P>,
    tls: &Tls,
    preloaded: &'static P,
    app: A,
) -> !
where
    A: AsyncFn(Worker, &'static P) -> Result<(), E>,
    E: Into<BoxError>,
    P: 'static,
{
    let ran = catch_unwind(AssertUnwindSafe(move || {
        let _for_life = logging::this_process("", newborn.slot, newborn.generation).entered();
        let mut after_fork = after_fork;
        after_fork.iter_mut().for_each(|hook| hook(newborn.slot));
        let secret = tls.for_worker();
        let (seed, _presence) = seed(newborn, settings, staff.share());
        let seed = hatchery_worker::Seed { secret, ..seed };
        logging::begin_access(settings);
        hatchery_worker::run(seed, preloaded, app)
    }));
    streams::flush();
    process::exit_now(ran.unwrap_or(PANICKED))
}

/// What the worker's wing needs, and the link that nobody uses: see [`Newborn::presence`].
fn seed(newborn: Newborn, settings: &Settings, share: Share) -> (hatchery_worker::Seed, Vec<OwnedFd>) {
    let log = settings.clone();
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
        secret: None,
        limits: log.limits(),
        measure: settings.admin.is_some(),
        boot_timeout: newborn.boot_timeout,
        drain_timeout: newborn.drain_timeout,
        blocked: newborn.blocked,
        jobs: share.jobs,
        kept: share.kept,
        sidecar: None,
        reopen: Box::new(move |sent| logging::take(&log, sent)),
    };
    (seed, newborn.presence)
}
