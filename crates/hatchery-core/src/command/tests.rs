use std::time::Duration;

use super::*;
use crate::event::Event;
use crate::ids::{Pid, Slot};
use crate::lineage::Readiness;
use crate::testing::{NOW, booting, check, name, serving, settings, short};
use crate::upgrade::{Link, Patience};

const STATES: [&str; 17] = [
    "serving",
    "told later",
    "preparing, told later",
    "lame duck",
    "one worker",
    "resting",
    "two drain behind",
    "booting",
    "rereading",
    "rolling",
    "preparing",
    "committed",
    "clearing up",
    "awaiting",
    "probation",
    "stopping",
    "giving up",
];
const COMMANDS: [&str; 10] =
    ["stop", "stop at once", "reload", "upgrade", "reopen", "rest", "more", "fewer", "scale", "recycle"];

/// A master with workers 1 and 2, busy with each thing that it can be busy with.
fn in_state(state: &str) -> Master {
    let mut master = serving(2);
    let successor = Pid(9);
    let later = NOW + Duration::from_secs(1);
    match state {
        "serving" => {}
        "told later" => master.policy.stop_delay = Duration::from_secs(10),
        "preparing, told later" => {
            master.policy.stop_delay = Duration::from_secs(10);
            master.postponed.insert(Command::Reload);
            master.upgrade = Upgrade::Preparing { successor, deadline: later, link: Link::Open };
        }
        "lame duck" => {
            master.policy.stop_delay = Duration::from_secs(10);
            drop(master.step(NOW, Event::Command(Command::Stop)));
        }
        "one worker" => master = serving(1),
        "resting" => {
            master = booting(2);
            master.life = Life::Resting;
        }
        "two drain behind" => master.lineage = Lineage::Released { older: 1 },
        "booting" => {
            master = booting(2);
            drop(master.step(NOW, Event::Begin));
            drop(master.step(NOW, Event::Spawned { slot: Slot(0), pid: Pid(1) }));
            drop(master.step(NOW, Event::Spawned { slot: Slot(1), pid: Pid(2) }));
        }
        "rereading" => master.rollout = Rollout::Rereading,
        "rolling" => {
            drop(master.step(NOW, Event::Command(Command::Reload)));
            drop(master.step(NOW, settings(master.policy().clone())));
            drop(master.step(NOW, Event::Spawned { slot: Slot(0), pid: Pid(3) }));
        }
        "preparing" => master.upgrade = Upgrade::Preparing { successor, deadline: later, link: Link::Open },
        "committed" => master.upgrade = Upgrade::Committed { successor, deadline: later },
        "clearing up" => {
            let patience = Patience::Kill { at: later };
            master.upgrade = Upgrade::Aborting { successor: Some(successor), link: Link::Open, patience };
        }
        "awaiting" => {
            master.life = Life::Booting;
            master.lineage = Lineage::Awaiting(Readiness::Ready);
            drop(master.queues.withdraw());
        }
        "probation" => {
            master.upgrade = Upgrade::Probation { successor, until: later };
            drop(master.queues.withdraw());
        }
        "stopping" => drop(master.step(NOW, Event::Command(Command::Stop))),
        "giving up" => {
            master.lineage = Lineage::Backed { older: 0 };
            master.give_up(String::new(), NOW, &mut Vec::new());
        }
        _ => unreachable!(),
    }
    master
}

fn command(name: &str) -> Command {
    match name {
        "stop" => Command::Stop,
        "stop at once" => Command::StopAtOnce,
        "reload" => Command::Reload,
        "upgrade" => Command::Upgrade,
        "reopen" => Command::Reopen,
        "rest" => Command::Rest,
        "more" => Command::More,
        "fewer" => Command::Fewer,
        "scale" => Command::Scale(3),
        "recycle" => Command::Recycle(Slot(0)),
        _ => unreachable!(),
    }
}

#[test]
fn every_state_and_command() {
    check(TABLE, &STATES, &COMMANDS, |state, said| {
        let mut master = in_state(state);
        let actions = master.step(NOW, Event::Command(command(said)));
        format!("{} | {}", name(&master.life).to_lowercase(), short(&actions))
    });
}

#[test]
fn nobody_scales_past_the_most() {
    let mut master = serving(1);
    master.target = MAX_WORKERS;
    let mut out = Vec::new();
    master.more(&mut out);
    assert_eq!(short(&out), "Refused");
}

const TABLE: &str = "
serving               | stop         | stopping | StopBegun, 1: finish, 2: finish
serving               | stop at once | stopping | StopBegun, 1: finish, 2: finish
serving               | reload       | serving  | ReloadBegun, reread
serving               | upgrade      | serving  | UpgradeBegun, start successor
serving               | reopen       | serving  | reopen, Reopened, 1: reopen, 2: reopen
serving               | rest         | resting  | Resting, 1: drain as last, 2: drain as last, shut relay
serving               | more         | serving  | Scaled, fork 2
serving               | fewer        | serving  | Scaled, 2: drain to own
serving               | scale        | serving  | Scaled, fork 2
serving               | recycle      | serving  | RecycleBegun, fork 0

told later            | stop         | lameduck | StopAnnounced
told later            | stop at once | stopping | StopBegun, 1: finish, 2: finish
told later            | reload       | serving  | ReloadBegun, reread
told later            | upgrade      | serving  | UpgradeBegun, start successor
told later            | reopen       | serving  | reopen, Reopened, 1: reopen, 2: reopen
told later            | rest         | resting  | Resting, 1: drain as last, 2: drain as last, shut relay
told later            | more         | serving  | Scaled, fork 2
told later            | fewer        | serving  | Scaled, 2: drain to own
told later            | scale        | serving  | Scaled, fork 2
told later            | recycle      | serving  | RecycleBegun, fork 0

preparing, told later | stop         | lameduck | StopAnnounced, ABORT, term 9
preparing, told later | stop at once | stopping | StopBegun, ABORT, term 9, 1: finish, 2: finish
preparing, told later | reload       | serving  | Refused
preparing, told later | upgrade      | serving  | Refused
preparing, told later | reopen       | serving  | reopen, Reopened, 1: reopen, 2: reopen
preparing, told later | rest         | serving  | Refused
preparing, told later | more         | serving  | Refused
preparing, told later | fewer        | serving  | Refused
preparing, told later | scale        | serving  | Refused
preparing, told later | recycle      | serving  | Refused

lame duck             | stop         | stopping | StopBegun, 1: finish, 2: finish
lame duck             | stop at once | stopping | StopBegun, 1: finish, 2: finish
lame duck             | reload       | lameduck | Refused
lame duck             | upgrade      | lameduck | Refused
lame duck             | reopen       | lameduck | reopen, Reopened, 1: reopen, 2: reopen
lame duck             | rest         | lameduck | Refused
lame duck             | more         | lameduck | Refused
lame duck             | fewer        | lameduck | Refused
lame duck             | scale        | lameduck | Refused
lame duck             | recycle      | lameduck | Refused

one worker            | stop         | stopping | StopBegun, 1: finish
one worker            | stop at once | stopping | StopBegun, 1: finish
one worker            | reload       | serving  | ReloadBegun, reread
one worker            | upgrade      | serving  | UpgradeBegun, start successor
one worker            | reopen       | serving  | reopen, Reopened, 1: reopen
one worker            | rest         | resting  | Resting, 1: drain as last, shut relay
one worker            | more         | serving  | Scaled, fork 1
one worker            | fewer        | serving  | Refused
one worker            | scale        | serving  | Scaled, fork 1, fork 2
one worker            | recycle      | serving  | RecycleBegun, fork 0

resting               | stop         | over     | StopBegun, shut, Stopped, exit 0
resting               | stop at once | over     | StopBegun, shut, Stopped, exit 0
resting               | reload       | resting  | ReloadBegun, reread
resting               | upgrade      | resting  | UpgradeBegun, start successor
resting               | reopen       | resting  | reopen, Reopened
resting               | rest         | resting  | Refused
resting               | more         | serving  | Woken, fork 0, fork 1
resting               | fewer        | resting  | Refused
resting               | scale        | serving  | Woken, Scaled, fork 0, fork 1, fork 2
resting               | recycle      | resting  | Refused

two drain behind      | stop         | stopping | StopBegun, 1: finish, 2: finish
two drain behind      | stop at once | stopping | StopBegun, 1: finish, 2: finish
two drain behind      | reload       | serving  | ReloadBegun, reread
two drain behind      | upgrade      | serving  | Refused
two drain behind      | reopen       | serving  | reopen, Reopened, 1: reopen, 2: reopen
two drain behind      | rest         | resting  | Resting, 1: drain as last, 2: drain as last, shut relay
two drain behind      | more         | serving  | Scaled, fork 2
two drain behind      | fewer        | serving  | Scaled, 2: drain to own
two drain behind      | scale        | serving  | Scaled, fork 2
two drain behind      | recycle      | serving  | RecycleBegun, fork 0

booting               | stop         | stopping | StopBegun, kill 1, kill 2, shut
booting               | stop at once | stopping | StopBegun, kill 1, kill 2, shut
booting               | reload       | booting  | Postponed
booting               | upgrade      | booting  | Postponed
booting               | reopen       | booting  | reopen, Reopened, 1: reopen, 2: reopen
booting               | rest         | booting  | Refused
booting               | more         | booting  | Scaled, fork 2
booting               | fewer        | booting  | Scaled
booting               | scale        | booting  | Scaled, fork 2
booting               | recycle      | booting  | Refused

rereading             | stop         | stopping | StopBegun, 1: finish, 2: finish
rereading             | stop at once | stopping | StopBegun, 1: finish, 2: finish
rereading             | reload       | serving  | Postponed
rereading             | upgrade      | serving  | Postponed
rereading             | reopen       | serving  | reopen, Reopened, 1: reopen, 2: reopen
rereading             | rest         | resting  | Resting, 1: drain as last, 2: drain as last, shut relay
rereading             | more         | serving  | Scaled
rereading             | fewer        | serving  | Scaled, 2: drain to own
rereading             | scale        | serving  | Scaled
rereading             | recycle      | serving  |

rolling               | stop         | stopping | StopBegun, 1: finish, 2: finish, kill 3
rolling               | stop at once | stopping | StopBegun, 1: finish, 2: finish, kill 3
rolling               | reload       | serving  | Postponed
rolling               | upgrade      | serving  | Postponed
rolling               | reopen       | serving  | reopen, Reopened, 1: reopen, 2: reopen, 3: reopen
rolling               | rest         | resting  | Resting, 1: drain as last, 2: drain as last, kill 3, shut relay
rolling               | more         | serving  | Scaled, fork 2
rolling               | fewer        | serving  | Scaled, 2: drain to own
rolling               | scale        | serving  | Scaled, fork 2
rolling               | recycle      | serving  |

preparing             | stop         | stopping | StopBegun, ABORT, term 9, 1: finish, 2: finish
preparing             | stop at once | stopping | StopBegun, ABORT, term 9, 1: finish, 2: finish
preparing             | reload       | serving  | Refused
preparing             | upgrade      | serving  | Refused
preparing             | reopen       | serving  | reopen, Reopened, 1: reopen, 2: reopen
preparing             | rest         | serving  | Refused
preparing             | more         | serving  | Refused
preparing             | fewer        | serving  | Refused
preparing             | scale        | serving  | Refused
preparing             | recycle      | serving  | Refused

committed             | stop         | stopping | StopBegun, ABORT, 1: finish, 2: finish
committed             | stop at once | stopping | StopBegun, ABORT, 1: finish, 2: finish
committed             | reload       | serving  | Refused
committed             | upgrade      | serving  | Refused
committed             | reopen       | serving  | reopen, Reopened, 1: reopen, 2: reopen
committed             | rest         | serving  | Refused
committed             | more         | serving  | Refused
committed             | fewer        | serving  | Refused
committed             | scale        | serving  | Refused
committed             | recycle      | serving  | Refused

clearing up           | stop         | stopping | StopBegun, ABORT, 1: finish, 2: finish
clearing up           | stop at once | stopping | StopBegun, ABORT, 1: finish, 2: finish
clearing up           | reload       | serving  | Postponed
clearing up           | upgrade      | serving  | Postponed
clearing up           | reopen       | serving  | reopen, Reopened, 1: reopen, 2: reopen
clearing up           | rest         | serving  | Refused
clearing up           | more         | serving  | Refused
clearing up           | fewer        | serving  | Refused
clearing up           | scale        | serving  | Refused
clearing up           | recycle      | serving  | Refused

awaiting              | stop         | stopping | FAILED, StopBegun, 1: drain as last, 2: drain as last, shut relay
awaiting              | stop at once | stopping | FAILED, StopBegun, 1: drain as last, 2: drain as last, shut relay
awaiting              | reload       | booting  | Refused
awaiting              | upgrade      | booting  | Refused
awaiting              | reopen       | booting  | reopen, Reopened, 1: reopen, 2: reopen
awaiting              | rest         | booting  | Refused
awaiting              | more         | booting  | Refused
awaiting              | fewer        | booting  | Refused
awaiting              | scale        | booting  | Refused
awaiting              | recycle      | booting  | Refused

probation             | stop         | serving  | Refused
probation             | stop at once | serving  | Refused
probation             | reload       | serving  | Refused
probation             | upgrade      | serving  | Refused
probation             | reopen       | serving  | reopen, Reopened, 1: reopen, 2: reopen
probation             | rest         | serving  | Retiring, 1: drain as last, 2: drain as last, shut relay
probation             | more         | serving  | Refused
probation             | fewer        | serving  | Refused
probation             | scale        | serving  | Refused
probation             | recycle      | serving  | Refused

stopping              | stop         | stopping | StopNow, kill 1, kill 2, shut
stopping              | stop at once | stopping | StopNow, kill 1, kill 2, shut
stopping              | reload       | stopping | Refused
stopping              | upgrade      | stopping | Refused
stopping              | reopen       | stopping | reopen, Reopened, 1: reopen, 2: reopen
stopping              | rest         | stopping | Refused
stopping              | more         | stopping | Refused
stopping              | fewer        | stopping | Refused
stopping              | scale        | stopping | Refused
stopping              | recycle      | stopping | Refused

giving up             | stop         | givingup | StopNow, kill 1, kill 2
giving up             | stop at once | givingup | StopNow, kill 1, kill 2
giving up             | reload       | givingup | Refused
giving up             | upgrade      | givingup | Refused
giving up             | reopen       | givingup | reopen, Reopened, 1: reopen, 2: reopen
giving up             | rest         | givingup | Refused
giving up             | more         | givingup | Refused
giving up             | fewer        | givingup | Refused
giving up             | scale        | givingup | Refused
giving up             | recycle      | givingup | Refused
";
