use std::collections::BTreeSet;

use super::*;
use crate::event::{Command, Ending, Event};
use crate::ids::Slot;
use crate::testing::{NOW, add, booting, check, name, says, serving, short};
use crate::wire::worker::WorkerSays;
use crate::worker::Standing;

const STATES: [&str; 13] = [
    "booting",
    "booting, all crash",
    "serving",
    "lame duck",
    "lame duck, one starts",
    "lame duck, all crash",
    "resting",
    "resting, one drains",
    "emptying",
    "settling",
    "draining",
    "killed one",
    "giving up",
];
const EVENTS: [&str; 10] = [
    "stop",
    "1 emptied",
    "1 gone",
    "1 crashed",
    "1 did not boot",
    "forked",
    "not forked",
    "quiet",
    "in 1 s",
    "in 30 s",
];

/// A master with worker 1 in each part of its life.
fn in_state(state: &str) -> Master {
    let mut master = serving(1);
    let stop = Event::Command(Command::Stop);
    match state {
        "booting" | "booting, all crash" => {
            master = booting(1);
            drop(master.step(NOW, Event::Begin));
            drop(master.step(NOW, Event::Spawned { slot: Slot(0), pid: Pid(1) }));
            if state == "booting, all crash" {
                for _ in 1..8 {
                    master.throttle.crashed(Slot(0), Moment(0));
                }
            }
        }
        "serving" => {}
        "lame duck" | "lame duck, one starts" | "lame duck, all crash" => {
            master.policy.stop_delay = Duration::from_secs(30);
            if state == "lame duck, all crash" {
                master.prove_anew(NOW);
                for _ in 1..8 {
                    master.throttle.crashed(Slot(0), Moment(0));
                }
            }
            if state == "lame duck, one starts" {
                drop(master.step(NOW, says(1, WorkerSays::Recycle)));
                drop(master.step(NOW, Event::Spawned { slot: Slot(0), pid: Pid(3) }));
            }
            drop(master.step(NOW, stop));
        }
        "resting" => {
            master = booting(1);
            master.life = Life::Resting;
        }
        "resting, one drains" => drop(master.step(NOW, Event::Command(Command::Rest))),
        "emptying" => drop(master.step(NOW, stop)),
        "settling" => {
            drop(master.step(NOW, stop));
            drop(master.step(NOW, says(1, WorkerSays::Emptied)));
        }
        "draining" => {
            drop(master.step(NOW, stop));
            drop(master.step(NOW, says(1, WorkerSays::Emptied)));
            drop(master.step(NOW, Event::QueuesQuiet));
        }
        "killed one" => {
            drop(master.step(NOW, stop.clone()));
            drop(master.step(NOW, stop));
        }
        "giving up" => {
            master = booting(1);
            add(&mut master, 1, 0, Phase::Ready(Standing::Fresh { steady_at: NOW + Duration::from_secs(1) }));
            master.give_up(String::new(), NOW, &mut Vec::new());
        }
        _ => unreachable!(),
    }
    master
}

fn event(name: &str) -> (Moment, Event) {
    let event = match name {
        "stop" => Event::Command(Command::Stop),
        "1 emptied" => says(1, WorkerSays::Emptied),
        "1 gone" => Event::Exited { pid: Pid(1), ending: Ending::Code(0) },
        "1 crashed" => Event::Exited { pid: Pid(1), ending: Ending::Signal(11) },
        "1 did not boot" => says(1, WorkerSays::BootFailed { text: String::new() }),
        "forked" => Event::Spawned { slot: Slot(0), pid: Pid(2) },
        "not forked" => Event::SpawnFailed { slot: Slot(0), text: String::new() },
        "quiet" => Event::QueuesQuiet,
        "in 1 s" => return (NOW + Duration::from_secs(1), Event::Tick),
        "in 30 s" => return (NOW + Duration::from_secs(30), Event::Tick),
        _ => unreachable!(),
    };
    (NOW, event)
}

#[test]
fn every_life_and_event() {
    check(TABLE, &STATES, &EVENTS, |state, said| {
        let mut master = in_state(state);
        let (now, event) = event(said);
        // An answer needs a question.
        if said.ends_with("forked") {
            master.roster.forking(Slot(0), BTreeSet::new());
        }
        let actions = master.step(now, event);
        format!("{} | {}", name(&master.life).to_lowercase(), short(&actions))
    });
}

/// What follows when the only worker has seen its queues empty.
fn after_emptying(master: &mut Master) -> String {
    drop(master.step(NOW, Event::Command(Command::Stop)));
    short(&master.step(NOW, says(1, WorkerSays::Emptied)))
}

#[test]
fn newcomers_are_kept_out_where_nobody_else_may_come_to_serve() {
    use crate::lineage::Lineage;
    use crate::upgrade::{Link, Patience, Upgrade};
    let later = NOW + Duration::from_secs(10);
    let aborting =
        |successor| Upgrade::Aborting { successor, link: Link::Open, patience: Patience::Kill { at: later } };
    let table = [
        (Lineage::First, Upgrade::Idle, "bar"),
        (Lineage::Alone, Upgrade::Idle, "bar"),
        (Lineage::Backed { older: 0 }, Upgrade::Idle, "shut"),
        (Lineage::Released { older: 0 }, Upgrade::Idle, "shut"),
        (Lineage::First, Upgrade::Preparing { successor: Pid(9), deadline: later, link: Link::Open }, "shut"),
        (Lineage::First, Upgrade::Committed { successor: Pid(9), deadline: later }, "shut"),
        (Lineage::First, aborting(Some(Pid(9))), "shut"),
        (Lineage::First, aborting(None), "shut"),
    ];
    for (lineage, upgrade, then) in table {
        let mut master = serving(1);
        (master.lineage, master.upgrade) = (lineage, upgrade);
        assert_eq!(after_emptying(&mut master), then, "{lineage:?}, {upgrade:?}");
    }
}

#[test]
fn those_who_are_half_way_in_have_a_part_of_the_time_for_draining() {
    for (timeout, settling) in [(30_000, 500), (400, 100)] {
        let mut master = serving(1);
        master.policy.drain_timeout = Duration::from_millis(timeout);
        assert_eq!(after_emptying(&mut master), "bar");
        let until = NOW + Duration::from_millis(settling);
        assert_eq!(master.life, Life::Stopping { closing: Closing::Settling { until } });
        assert_eq!(short(&master.step(until, Event::Tick)), "shut");
    }
}

#[test]
fn a_worker_that_is_late_is_waited_for_no_longer_than_the_others() {
    let mut master = serving(2);
    drop(master.step(NOW, Event::Command(Command::Stop)));
    assert_eq!(short(&master.step(NOW, says(1, WorkerSays::Emptied))), "");
    let late = NOW + EMPTYING;
    assert_eq!(short(&master.step(late, Event::Tick)), "bar");
    assert_eq!(short(&master.step(late + SETTLING, Event::Tick)), "shut");
    assert!(master.roster.iter().all(|worker| matches!(worker.phase, Phase::Draining { .. })));
}

const TABLE: &str = "
booting               | stop           | stopping | StopBegun, kill 1, shut
booting               | 1 emptied      | booting  |
booting               | 1 gone         | booting  | WorkerExited
booting               | 1 crashed      | booting  | WorkerExited
booting               | 1 did not boot | givingup | BootFailed, GaveUp, shut
booting               | forked         | booting  |
booting               | not forked     | booting  | WorkerNotForked
booting               | quiet          | booting  |
booting               | in 1 s         | booting  |
booting               | in 30 s        | givingup | kill 1, GaveUp, shut

booting, all crash    | stop           | stopping | StopBegun, kill 1, shut
booting, all crash    | 1 emptied      | booting  |
booting, all crash    | 1 gone         | over     | WorkerExited, GaveUp, shut, Stopped, exit 3
booting, all crash    | 1 crashed      | over     | WorkerExited, GaveUp, shut, Stopped, exit 3
booting, all crash    | 1 did not boot | givingup | BootFailed, GaveUp, shut
booting, all crash    | forked         | booting  |
booting, all crash    | not forked     | givingup | WorkerNotForked, GaveUp, shut, kill 1
booting, all crash    | quiet          | booting  |
booting, all crash    | in 1 s         | booting  |
booting, all crash    | in 30 s        | givingup | kill 1, GaveUp, shut

serving               | stop           | stopping | StopBegun, 1: finish
serving               | 1 emptied      | serving  |
serving               | 1 gone         | serving  | WorkerExited, fork 0
serving               | 1 crashed      | serving  | WorkerExited, fork 0
serving               | 1 did not boot | serving  |
serving               | forked         | serving  |
serving               | not forked     | serving  | WorkerNotForked
serving               | quiet          | serving  |
serving               | in 1 s         | serving  |
serving               | in 30 s        | serving  |

lame duck             | stop           | stopping | StopBegun, 1: finish
lame duck             | 1 emptied      | lameduck |
lame duck             | 1 gone         | lameduck | WorkerExited, fork 0
lame duck             | 1 crashed      | lameduck | WorkerExited, fork 0
lame duck             | 1 did not boot | lameduck |
lame duck             | forked         | lameduck |
lame duck             | not forked     | lameduck | WorkerNotForked
lame duck             | quiet          | lameduck |
lame duck             | in 1 s         | lameduck |
lame duck             | in 30 s        | stopping | StopBegun, 1: finish

lame duck, one starts | stop           | stopping | StopBegun, 1: finish, kill 3
lame duck, one starts | 1 emptied      | lameduck |
lame duck, one starts | 1 gone         | lameduck | WorkerExited
lame duck, one starts | 1 crashed      | lameduck | WorkerExited
lame duck, one starts | 1 did not boot | lameduck |
lame duck, one starts | forked         | lameduck |
lame duck, one starts | not forked     | lameduck | WorkerNotForked, RecycleFailed
lame duck, one starts | quiet          | lameduck |
lame duck, one starts | in 1 s         | lameduck |
lame duck, one starts | in 30 s        | stopping | kill 3, RecycleFailed, StopBegun, 1: finish

lame duck, all crash  | stop           | stopping | StopBegun, 1: finish
lame duck, all crash  | 1 emptied      | lameduck |
lame duck, all crash  | 1 gone         | over     | WorkerExited, StopHurried, StopBegun, shut, Stopped, exit 0
lame duck, all crash  | 1 crashed      | over     | WorkerExited, StopHurried, StopBegun, shut, Stopped, exit 0
lame duck, all crash  | 1 did not boot | lameduck |
lame duck, all crash  | forked         | lameduck |
lame duck, all crash  | not forked     | lameduck | WorkerNotForked
lame duck, all crash  | quiet          | lameduck |
lame duck, all crash  | in 1 s         | lameduck |
lame duck, all crash  | in 30 s        | stopping | StopBegun, 1: finish

resting               | stop           | over     | StopBegun, shut, Stopped, exit 0
resting               | 1 emptied      | resting  |
resting               | 1 gone         | resting  |
resting               | 1 crashed      | resting  |
resting               | 1 did not boot | resting  |
resting               | forked         | resting  | kill 2
resting               | not forked     | resting  | WorkerNotForked
resting               | quiet          | resting  |
resting               | in 1 s         | resting  |
resting               | in 30 s        | resting  |

resting, one drains   | stop           | stopping | StopBegun, bar
resting, one drains   | 1 emptied      | resting  |
resting, one drains   | 1 gone         | resting  | WorkerExited
resting, one drains   | 1 crashed      | resting  | WorkerExited
resting, one drains   | 1 did not boot | resting  |
resting, one drains   | forked         | resting  | kill 2
resting, one drains   | not forked     | resting  | WorkerNotForked
resting, one drains   | quiet          | resting  |
resting, one drains   | in 1 s         | resting  |
resting, one drains   | in 30 s        | resting  | kill 1

emptying              | stop           | stopping | StopNow, kill 1, shut
emptying              | 1 emptied      | stopping | bar
emptying              | 1 gone         | over     | WorkerExited, shut, Stopped, exit 0
emptying              | 1 crashed      | over     | WorkerExited, shut, Stopped, exit 0
emptying              | 1 did not boot | stopping |
emptying              | forked         | stopping | kill 2
emptying              | not forked     | stopping | WorkerNotForked
emptying              | quiet          | stopping |
emptying              | in 1 s         | stopping | bar
emptying              | in 30 s        | stopping | kill 1, shut

settling              | stop           | stopping | StopNow, kill 1, shut
settling              | 1 emptied      | stopping |
settling              | 1 gone         | over     | WorkerExited, shut, Stopped, exit 0
settling              | 1 crashed      | over     | WorkerExited, shut, Stopped, exit 0
settling              | 1 did not boot | stopping |
settling              | forked         | stopping | kill 2
settling              | not forked     | stopping | WorkerNotForked
settling              | quiet          | stopping | shut
settling              | in 1 s         | stopping | shut
settling              | in 30 s        | stopping | kill 1, shut

draining              | stop           | stopping | StopNow, kill 1
draining              | 1 emptied      | stopping |
draining              | 1 gone         | over     | WorkerExited, Stopped, exit 0
draining              | 1 crashed      | over     | WorkerExited, Stopped, exit 0
draining              | 1 did not boot | stopping |
draining              | forked         | stopping | kill 2
draining              | not forked     | stopping | WorkerNotForked
draining              | quiet          | stopping |
draining              | in 1 s         | stopping |
draining              | in 30 s        | stopping | kill 1

killed one            | stop           | stopping | StopNow
killed one            | 1 emptied      | stopping |
killed one            | 1 gone         | over     | WorkerExited, Stopped, exit 2
killed one            | 1 crashed      | over     | WorkerExited, Stopped, exit 2
killed one            | 1 did not boot | stopping |
killed one            | forked         | stopping | kill 2
killed one            | not forked     | stopping | WorkerNotForked
killed one            | quiet          | stopping |
killed one            | in 1 s         | stopping |
killed one            | in 30 s        | stopping |

giving up             | stop           | givingup | StopNow, kill 1
giving up             | 1 emptied      | givingup |
giving up             | 1 gone         | over     | WorkerExited, Stopped, exit 3
giving up             | 1 crashed      | over     | WorkerExited, Stopped, exit 3
giving up             | 1 did not boot | givingup |
giving up             | forked         | givingup | kill 2
giving up             | not forked     | givingup | WorkerNotForked
giving up             | quiet          | givingup |
giving up             | in 1 s         | givingup |
giving up             | in 30 s        | givingup | kill 1
";
