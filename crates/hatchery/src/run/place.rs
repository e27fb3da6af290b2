//! Where a master stands among the other processes: detached or not, behind an anchor or not, and who its workers are.

use std::io::{self, Write};

use hatchery_core::wire::worker::WorkerSays;
use hatchery_master::anchor::{self, Line};
use hatchery_master::daemon::{self, Fate};
use hatchery_master::{Dumps, Notify, Predecessor, Privileges};
use hatchery_net::Passed;
use hatchery_sys::channel::Channel;
use hatchery_sys::user::{self, Identity};
use hatchery_sys::wait::Status;
use hatchery_sys::{process, streams};

use super::{alone, tls};
use crate::settings::asked::{self, Asked};
use crate::settings::{Anchor, Sources};
use crate::{Error, Settings, exit, logging, starter};

/// What workers give up: looked up, and tried, before anything is started.
pub(super) fn privileges(settings: &Settings, sources: &Sources) -> Result<Privileges, Error> {
    let none_to_gain = settings.no_new_privileges;
    let (name, identity) = match (&settings.user, &settings.group) {
        (None, None) if !none_to_gain => return Ok(Privileges::default()),
        (None, None) => ("no-new-privileges", None),
        (user, group) => {
            let name = if user.is_some() { "user" } else { "group" };
            if !user::is_root() {
                let reason = format!(
                    "only root can start workers as somebody else, and this is user {}; expected a start as root, or none of user and group",
                    user::effective()
                );
                return Err(sources.wrong(name, reason).into());
            }
            let found = Identity::find(user.as_deref(), group.as_deref());
            let identity = found.map_err(|error| {
                let name = if matches!(error, user::AccountError::NoGroup(_)) { "group" } else { name };
                sources.wrong(name, hatchery_worker::error::one_line(&error))
            })?;
            (name, Some(identity))
        }
    };
    let privileges = Privileges { identity, none_to_gain };
    alone::check()?;
    privileges.rehearse().map_err(|error| sources.wrong(name, format!("it does not work here: {error}")))?;
    Ok(privileges)
}

/// Answers a question of the command line instead of serving. Nothing is bound or opened for good.
pub(super) fn answer(asked: Asked, sources: &Sources) -> Result<(), Error> {
    let text = match asked {
        Asked::Sample => asked::sample(),
        Asked::Check => {
            // Who only looks at the exit code reads what is said beside it.
            sources.strays.iter().for_each(|stray| exit::warn(stray));
            let (settings, mut report) = (sources.resolve()?, asked::report(sources)?);
            for warning in tls::check(&settings, sources)? {
                report.extend(["# tls_certificate: ", &warning, "\n"]);
            }
            privileges(&settings, sources)?;
            if let Some(dir) = settings.working_dir.as_ref().filter(|dir| !dir.is_dir()) {
                return Err(sources.wrong("working-dir", format!("{} is not a folder", dir.display())).into());
            }
            logging::check_access(&settings, sources)?;
            if let Some(log) = &settings.log {
                logging::check(log)?;
            }
            report
        }
    };
    // A reader that has gone has read what it wanted.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(())
}

/// Lets go of the terminal, if that is wanted. The process that was started never
/// returns from here: it waits until the workers are ready.
pub(super) fn detach(settings: &Settings, sources: &Sources) -> Result<(), Error> {
    if !settings.daemonize {
        return Ok(());
    }
    if process::pid().as_raw() == 1 {
        let reason = "pid 1 must not end, and this is it; expected a server that does not detach itself";
        return Err(sources.wrong("daemonize", reason).into());
    }
    alone::check()?;
    match daemon::detach().map_err(Error::Detach)? {
        daemon::Side::Daemon(command) => {
            starter::waits(command);
            Ok(())
        }
        daemon::Side::Starter(wait) => {
            let code = match wait.fate() {
                Ok(fate) => code_of(fate),
                Err(failure) => told(&format!("cannot wait for the server: {failure}"), 1),
            };
            // What stands on the frames above is the daemon's.
            streams::flush();
            process::exit_now(code)
        }
    }
}

/// What the process that was started first has been given, by its number.
pub(super) struct Held {
    /// For the master alone.
    pub(super) passed: Passed,
    /// The anchor's as well.
    pub(super) notify: Notify,
}

/// Puts an anchor before the first master, if there is to be one. It never returns from here.
pub(super) fn moor(
    settings: &Settings,
    predecessor: Option<&Predecessor>,
    held: Held,
) -> Result<(Option<Line>, Held), Error> {
    let is_wanted = match settings.anchor {
        Anchor::Always => true,
        Anchor::Never => false,
        Anchor::Auto => !settings.daemonize && anchor::is_called_for(),
    };
    if !is_wanted || predecessor.is_some() {
        return Ok((None, held));
    }
    alone::check()?;
    match anchor::cast().map_err(Error::Anchor)? {
        anchor::Side::Master(line) => Ok((Some(line), held)),
        anchor::Side::Anchor(anchor) => {
            drop(held.passed);
            starter::forget();
            let code = anchor.hold(held.notify, || logging::reopen(settings));
            streams::flush();
            process::exit_now(code)
        }
    }
}

/// Gives up what a forked child must not have, or ends it.
pub(super) fn give_up(privileges: &Privileges, dumps: Dumps, channel: &Channel) {
    if let Err(failure) = privileges.give_up(dumps) {
        let text = format!("cannot give up privileges: {failure}");
        let _ = channel.send(&WorkerSays::BootFailed { text }.encode(), &[]);
        process::exit_now(1)
    }
}

/// The starter's exit code, after it has said what there is to say.
fn code_of(fate: Fate) -> i32 {
    match fate {
        Fate::Ready => 0,
        Fate::Failed { code, text } => told(&text, code.into()),
        Fate::Died(status) => {
            let (how, code) = match status {
                Some(status @ Status::Exited(code)) => (format!(": it {status}"), if code == 0 { 1 } else { code }),
                Some(status @ Status::Killed { signal, .. }) => (format!(": it {status}"), 128 + signal),
                None => (String::new(), 1),
            };
            told(&format!("the server ended before it was ready{how}"), code)
        }
    }
}

fn told(text: &str, code: i32) -> i32 {
    exit::complain(text);
    code
}
