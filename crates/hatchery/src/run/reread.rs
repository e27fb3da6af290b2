//! Settings that are read again at a reload, or kept across an upgrade.

use std::cell::RefCell;

use hatchery_core::Policy;
use hatchery_master::Predecessor;
use tracing::{info, warn};

use crate::settings::Sources;
use crate::{Error, Settings};

/// Resolves the settings again; on success they are the current ones.
pub(super) fn again(sources: &Sources, current: &RefCell<Settings>) -> Result<Policy, String> {
    let settings = sources.resolve().map_err(|error| Error::from(error).one_line())?;
    for (setting, when) in fixed_ones_that_differ(&current.borrow(), &settings) {
        warn!("`{setting}` has changed: it takes effect at {when}, not at a reload");
    }
    let policy = settings.policy();
    current.replace(settings);
    Ok(policy)
}

/// Whether this program would find what it has if it began anew now; else why not.
pub(super) fn is_unchanged(sources: &Sources, current: &RefCell<Settings>) -> Result<(), String> {
    let settings = sources.resolve().map_err(|error| Error::from(error).one_line())?;
    match fixed_ones_that_differ(&current.borrow(), &settings).first() {
        Some((setting, when)) => Err(format!("`{setting}` has changed, which takes effect at {when}")),
        None => Ok(()),
    }
}

/// An operator's scaling survives an upgrade, as long as the setting is the one that was scaled.
pub(super) fn kept_scale(predecessor: &Predecessor, settings: &Settings) -> Option<u16> {
    let (workers, configured) = predecessor.scaled?;
    if configured != settings.workers {
        return None;
    }
    info!("{workers} workers, as the predecessor was scaled to");
    Some(workers)
}

const UPGRADE: &str = "the next upgrade (SIGUSR2)";
/// Queues that are handed over stay as many as they are, and so does what a process inherits.
const START: &str = "the next start";

/// What a master cannot change once it runs.
fn fixed_ones_that_differ(old: &Settings, new: &Settings) -> Vec<(&'static str, &'static str)> {
    [
        ("bind", UPGRADE, old.binds() != new.binds()),
        ("listen-mode", START, old.listen_mode != new.listen_mode),
        ("backlog", UPGRADE, old.backlog != new.backlog),
        ("pid-file", UPGRADE, old.pid_file != new.pid_file),
        ("log-format", UPGRADE, old.log_format != new.log_format),
        ("on-demand", UPGRADE, old.on_demand != new.on_demand),
        ("daemonize", START, old.daemonize != new.daemonize),
        ("anchor", START, old.anchor != new.anchor),
        ("umask", START, old.umask != new.umask),
        ("user", UPGRADE, old.user != new.user),
        ("group", UPGRADE, old.group != new.group),
        ("no-new-privileges", UPGRADE, old.no_new_privileges != new.no_new_privileges),
        ("working-dir", UPGRADE, old.working_dir != new.working_dir),
    ]
    .into_iter()
    .filter_map(|(name, when, differs)| differs.then_some((name, when)))
    .collect()
}
