//! Settings that are read again at a reload, or kept across an upgrade.

use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};

use hatchery_master::{Predecessor, Reread};
use hatchery_net::Listeners;
use hatchery_sys::origin::Origin;
use tracing::info;

use crate::settings::Sources;
use crate::{Error, Settings, logging};

use super::listeners::Left;
use super::place;
use super::tls::{self, Tls};
use super::warning::Warning;

/// Resolves the settings again, and has listeners for them; on success they are the current ones.
///
/// So are the certificates that they name: one that cannot be used leaves everything as it was.
pub(super) fn again(
    sources: &Sources,
    left: &Left,
    current: &RefCell<Settings>,
    tls: &Tls,
    listeners: &mut Listeners,
) -> Result<Reread, String> {
    let settings = sources.resolve().map_err(|error| Error::from(error).one_line())?;
    let renewed = tls.reread(&settings, sources).map_err(|error| error.one_line())?;
    let workers_to_be = with_fixed_ones_of(&current.borrow(), settings.clone());
    logging::check_access(&workers_to_be, sources).map_err(|error| Error::from(error).one_line())?;
    let log_is_gone = current.borrow().log.is_some() && settings.log.is_none();
    let waiting = fixed_ones_that_differ(&current.borrow(), &settings).into_iter();
    let waiting = waiting.chain(log_is_gone.then_some(("log", START)));
    let mut warnings: Vec<_> = waiting.map(|(setting, when)| Warning::Waits { setting, when }.logged()).collect();
    let settings = with_fixed_ones_of(&current.borrow(), settings);
    let log = log_to_be(&current.borrow(), &settings).map_err(|error| error.one_line())?;
    let refused = |error| super::listeners::blamed(error, sources, &settings).one_line();
    let specs = super::listeners::wanted_anew(&settings, &sources.named, listeners).map_err(refused)?;
    let queues = settings.queues();
    let listeners = listeners
        .revise(&specs, settings.listen_mode, queues, settings.backlog)
        .map_err(|error| refused(left.explains(error)))?;
    let policy = settings.policy();
    warnings.extend(sources.strays.iter().map(|stray| Warning::Stray(stray.clone()).logged()));
    warnings.extend(tls.adopt(&settings, renewed));
    if let (Some(path), Some(log)) = (&settings.log, log) {
        logging::go_on_with(path, log.as_fd());
    }
    current.replace(settings);
    Ok(Reread { policy, listeners, warnings })
}

/// Another log than the one that is written to, opened. New workers are forked with it; those
/// that drain end with the old one.
fn log_to_be(old: &Settings, new: &Settings) -> Result<Option<OwnedFd>, Error> {
    match &new.log {
        Some(path) if new.log != old.log => logging::open(path).map(Some),
        Some(_) | None => Ok(None),
    }
}

/// Whether this program would find what it has if it began anew now; else why not.
pub(super) fn could_begin_anew(sources: &Sources, current: &RefCell<Settings>, origin: &Origin) -> Result<(), String> {
    let settings = sources.resolve().map_err(|error| Error::from(error).one_line())?;
    if let Some((setting, when)) = fixed_ones_that_differ(&current.borrow(), &settings).first() {
        return Err(format!("`{setting}` has changed, which takes effect at {when}"));
    }
    if current.borrow().bind != settings.bind {
        return Err("`bind` has changed, which takes effect at a reload".to_owned());
    }
    if current.borrow().tls_bind != settings.tls_bind {
        return Err("`tls-bind` has changed, which takes effect at a reload".to_owned());
    }
    tls::check(&settings, sources).map_err(|error| error.one_line())?;
    place::privileges(&settings, sources).map_err(|error| error.one_line())?;
    if let Some(dir) = settings.working_dir.iter().chain([&origin.dir]).find(|dir| !dir.is_dir()) {
        return Err(format!("the folder {} is not there", dir.display()));
    }
    logging::check_access(&settings, sources).map_err(|error| Error::from(error).one_line())?;
    match &settings.log {
        Some(log) => logging::open(log).map(drop).map_err(|error| error.one_line()),
        None => Ok(()),
    }
}

/// An operator's scaling survives an upgrade, as long as the setting is the one that was scaled.
pub(super) fn kept_scale(predecessor: &Predecessor, settings: &Settings) -> Option<u16> {
    let (workers, configured) = predecessor.scaled?;
    if configured != settings.workers {
        return None;
    }
    info!(target: "hatchery", "{workers} workers, as the predecessor was scaled to");
    Some(workers)
}

const UPGRADE: &str = "the next upgrade (SIGUSR2)";
/// Queues that are handed over stay as many as they are, and so does what a process inherits.
const START: &str = "the next start";

/// The new settings, but for what stays as it was: later comparisons are with what runs.
fn with_fixed_ones_of(old: &Settings, new: Settings) -> Settings {
    let old = old.clone();
    Settings {
        // What the streams were before nobody knows any more.
        log: new.log.or(old.log),
        listen_mode: old.listen_mode,
        pid_file: old.pid_file,
        control: old.control,
        control_mode: old.control_mode,
        log_format: old.log_format,
        on_demand: old.on_demand,
        daemonize: old.daemonize,
        anchor: old.anchor,
        admin: old.admin,
        fd_store: old.fd_store,
        umask: old.umask,
        user: old.user,
        group: old.group,
        no_new_privileges: old.no_new_privileges,
        working_dir: old.working_dir,
        ..new
    }
}

/// What a master cannot change once it runs; [`with_fixed_ones_of`] keeps each of them.
fn fixed_ones_that_differ(old: &Settings, new: &Settings) -> Vec<(&'static str, &'static str)> {
    fixed_ones(old, new).into_iter().filter_map(|(name, when, differs)| differs.then_some((name, when))).collect()
}

/// When a change of this setting takes effect.
#[cfg(test)]
pub(crate) fn takes_effect_at(name: &str) -> &'static str {
    let same = Settings::blank();
    match fixed_ones(&same, &same).into_iter().find(|(fixed, ..)| *fixed == name) {
        Some((_, UPGRADE, _)) => "an upgrade",
        Some((_, _, _)) => "a start",
        // Nothing but the command line and the environment can name the file.
        None if name == "config" => "a start",
        None => "a reload",
    }
}

fn fixed_ones(old: &Settings, new: &Settings) -> Vec<(&'static str, &'static str, bool)> {
    vec![
        ("listen-mode", START, old.listen_mode != new.listen_mode),
        ("pid-file", UPGRADE, old.pid_file != new.pid_file),
        ("control", UPGRADE, old.control != new.control),
        ("control-mode", UPGRADE, old.control_mode != new.control_mode),
        ("log-format", UPGRADE, old.log_format != new.log_format),
        ("on-demand", UPGRADE, old.on_demand != new.on_demand),
        ("daemonize", START, old.daemonize != new.daemonize),
        ("anchor", START, old.anchor != new.anchor),
        ("admin", UPGRADE, old.admin != new.admin),
        ("fd-store", UPGRADE, old.fd_store != new.fd_store),
        ("umask", START, old.umask != new.umask),
        ("user", UPGRADE, old.user != new.user),
        ("group", UPGRADE, old.group != new.group),
        ("no-new-privileges", UPGRADE, old.no_new_privileges != new.no_new_privileges),
        ("working-dir", UPGRADE, old.working_dir != new.working_dir),
    ]
}
