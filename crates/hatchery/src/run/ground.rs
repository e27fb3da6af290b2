//! What a master stands on before anything is loaded: sockets, a board, and who came before.

use hatchery_core::{Command, Generation, Outcome};
use hatchery_master::anchor::Line;
use hatchery_master::control::Dormant;
use hatchery_master::dormant::{self, Wake};
use hatchery_master::successor::Legacy;
use hatchery_master::{Control, Endpoint, Notify, PidFile, Predecessor, Relays};
use hatchery_net::{Kept, Listener, Listeners, Passed};
use hatchery_sys::Signal;
use hatchery_sys::board::Board;
use hatchery_sys::channel::Channel;
use hatchery_sys::origin::Origin;
use hatchery_sys::signals::{self, SelfPipe, Startup};
use tracing::info;

use super::listeners::{Claimed, Left};
use super::{BOARD_CELLS, companions, listeners, relays, reread};
use crate::server::Make;
use crate::settings::Sources;
use crate::{Error, Settings, logging, starter};

/// Nothing here is the program's own.
pub(super) struct Ground {
    pub(super) generation: Generation,
    /// How many workers to run, where an operator has scaled the predecessor.
    pub(super) scaled: Option<u16>,
    pub(super) board: Board,
    pub(super) listeners: Listeners,
    pub(super) relays: Relays,
    /// The link to a predecessor that serves.
    pub(super) link: Option<Channel>,
    pub(super) pid_file: Option<PidFile>,
    /// It has served before, and slept: how often in a row it could not load since.
    pub(super) slept: Option<u32>,
    /// The line to the anchor.
    pub(super) anchor: Option<Line>,
    /// What the program keeps open across upgrades.
    pub(super) kept: Kept,
    /// Who asks over the control socket.
    pub(super) control: Control,
    /// Where operators look at the server.
    pub(super) admin: Option<Listener>,
    /// Whether the service manager stores the listeners.
    pub(super) stores: bool,
    /// Names of what it need not store any more.
    pub(super) leaving: Vec<String>,
    /// What the predecessor goes on serving.
    pub(super) left: Left,
}

/// What follows from waiting for somebody.
pub(super) enum Lain {
    /// There is something to do: for a client, or for an operator as well.
    Woken(Option<Command>, SelfPipe),
    /// It was stopped before anybody came.
    Stopped,
}

impl Ground {
    /// Binds, or takes from the predecessor, what is to be had.
    pub(super) fn claim(
        settings: &Settings,
        sources: &Sources,
        keeps: Vec<(String, Box<Make>)>,
        mut predecessor: Option<Predecessor>,
        passed: Passed,
        stores: bool,
    ) -> Result<Self, Error> {
        let mut pid_file = settings.pid_file.clone().map(PidFile::at);
        // This very process, before it had let everything go.
        let slept = predecessor.as_mut().and_then(|before| before.asleep.take());
        let is_anew = slept.is_some();
        let failures = slept.as_ref().map(|slept| slept.failures);
        if let Some((pid_file, lock)) = pid_file.as_mut().zip(slept.and_then(|slept| slept.pid_file)) {
            pid_file.go_on_with(lock);
        }
        let has_predecessor = predecessor.is_some() && !is_anew;
        if let Some(pid_file) = pid_file.as_ref().filter(|pid_file| !has_predecessor && !pid_file.is_held()) {
            pid_file.check()?;
        }
        let control = control(settings, predecessor.as_mut(), is_anew)?;
        let generation = predecessor.as_ref().map_or(Generation::FIRST, |before| before.generation);
        let scaled = predecessor.as_ref().and_then(|before| reread::kept_scale(before, settings));
        let handed = predecessor.as_mut().and_then(|before| before.board.take());
        let board = handed.map_or_else(|| Board::create(BOARD_CELLS), |fd| Board::inherit(fd, BOARD_CELLS));
        let board = board.map_err(Error::Board)?;
        let relays = relays::claim(predecessor.as_mut()).map_err(Error::Relay)?;
        let anchor = predecessor.as_mut().and_then(|before| before.anchor.take());
        let admin = listeners::admin(settings, sources, predecessor.as_mut())?;
        let kept = companions::keep(keeps, predecessor.as_mut())?;
        let Claimed { listeners, link, leaving, left } =
            listeners::claim(settings, sources, predecessor, passed, stores)?;
        // Nobody listens at the other end of a link to oneself.
        let link = link.filter(|_| !is_anew);
        Ok(Self {
            generation,
            scaled,
            board,
            listeners,
            relays,
            link,
            pid_file,
            slept: failures,
            anchor,
            kept,
            control,
            admin,
            stores,
            leaving,
            left,
        })
    }

    /// On demand: waits for the first connection with nothing but this.
    pub(super) fn lie_low(
        &mut self,
        settings: &Settings,
        startup: &Startup,
        notify: &mut Notify,
    ) -> Result<Lain, Error> {
        let failures = self.slept.unwrap_or(0);
        if let Some(pid_file) = self.pid_file.as_mut().filter(|pid_file| !pid_file.is_held()) {
            pid_file.reserve()?;
            pid_file.take_first()?;
        }
        if let Some(endpoint) = self.control.endpoint().filter(|endpoint| !endpoint.is_held()) {
            endpoint.take(None)?;
        }
        hatchery_sys::title::set(&format!("hatchery: master gen {} on demand", self.generation));
        for listener in &self.listeners {
            info!(target: "hatchery", "listening on {}", listener.bound());
        }
        starter::settle();
        starter::ready();
        self.anchor.iter().for_each(Line::serving);
        notify.store(&mut self.listeners);
        let (generation, listeners, board) = (self.generation, &self.listeners, &self.board);
        let asks = (&mut self.control, &Dormant { generation, listeners, board });
        match dormant::lie_low(startup, self.anchor.as_ref(), asks, failures, notify, || logging::reopen(settings)) {
            Ok((Wake::Connection | Wake::Asked, signals)) => Ok(Lain::Woken(None, signals)),
            Ok((Wake::Command(command), signals)) => Ok(Lain::Woken(Some(command), signals)),
            Ok((Wake::Stop, _)) => {
                self.leave();
                info!(target: "hatchery", "stopped");
                Ok(Lain::Stopped)
            }
            Err(failure) => {
                self.leave();
                Err(Error::Signals(failure))
            }
        }
    }

    /// Goes to sleep once more, since what was to be loaded could not be: who waits goes
    /// on waiting. Returns only if it cannot, or if it was stopped meanwhile.
    pub(super) fn sleep_on(
        &mut self,
        settings: &Settings,
        origin: &Origin,
        startup: &Startup,
        caught: Option<&mut SelfPipe>,
    ) -> Result<(), Error> {
        let _until_there_are_handlers = signals::block_all().map_err(Error::Signals)?;
        let outlives_terminal = startup.ignores(Signal::SIGHUP);
        let caught = caught.map(SelfPipe::take).unwrap_or_default();
        if dormant::heed(&caught, outlives_terminal, &mut || logging::reopen(settings)) == Some(Wake::Stop) {
            self.leave();
            info!(target: "hatchery", "stopped");
            return Ok(());
        }
        let (workers, configured) = (self.scaled.unwrap_or(settings.workers), settings.workers);
        let legacy = Legacy {
            origin,
            startup,
            listeners: &self.listeners,
            relays: &self.relays,
            board: &self.board,
            kept: &self.kept,
            admin: self.admin.as_ref(),
            anchor: self.anchor.as_ref(),
            control: &self.control,
            generation: self.generation,
            workers,
            configured,
        };
        let lock = self.pid_file.as_ref().and_then(PidFile::lock_fd);
        let failures = self.slept.unwrap_or(0).saturating_add(1);
        Err(Error::Anew(legacy.sleep(lock, failures)))
    }

    /// Keeps others from starting with the same pid file, and makes what it will have
    /// the control socket's name. Last of all: only the driver's end removes it.
    pub(super) fn reserve(&mut self) -> Result<(), Error> {
        if let Some(endpoint) = self.control.endpoint().filter(|endpoint| !endpoint.is_held()) {
            endpoint.prepare()?;
        }
        match &mut self.pid_file {
            Some(pid_file) if pid_file.is_held() => {}
            Some(pid_file) if self.link.is_none() => pid_file.reserve()?,
            Some(pid_file) => pid_file.prepare()?,
            None => {}
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.listeners.shut_all();
        self.listeners.remove_files();
        if let Some(pid_file) = &mut self.pid_file {
            pid_file.remove();
        }
        self.control.farewell(&Outcome::Drained, false);
        self.control.endpoint().into_iter().for_each(Endpoint::remove);
    }

    /// What was loaded cannot be used: nothing of this was ever served.
    pub(super) fn abandon(&mut self) {
        self.listeners.abandon();
        if let Some(pid_file) = self.pid_file.as_mut().filter(|pid_file| pid_file.is_held()) {
            pid_file.remove();
        }
        self.control.endpoint().into_iter().for_each(Endpoint::remove);
    }
}

/// The control socket's end: not made yet, or kept over a sleep; and whoever waits there.
fn control(settings: &Settings, predecessor: Option<&mut Predecessor>, is_anew: bool) -> Result<Control, Error> {
    let mut endpoint = settings.control.clone().map(|path| Endpoint::at(path, settings.control_mode));
    let Some(predecessor) = predecessor else {
        endpoint.iter().try_for_each(Endpoint::check)?;
        return Ok(Control::new(endpoint));
    };
    if let Some((endpoint, socket)) = endpoint.as_mut().zip(predecessor.control.take()) {
        endpoint.go_on_with(socket);
    }
    let clients = std::mem::take(&mut predecessor.clients);
    let control = predecessor
        .before
        .iter()
        .fold(Control::new(endpoint), |control, (pid, generation)| control.behind(*pid, *generation));
    Ok(if is_anew { control.with_clients(clients) } else { control.entrusted_with(clients) })
}
