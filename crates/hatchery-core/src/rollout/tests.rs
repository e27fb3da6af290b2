use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::event::{Ending, Event};
use crate::testing::{NOW, add, check, name, says, serving, settings, short};
use crate::wire::worker::WorkerSays;
use crate::worker::{Phase, Standing};

const STATES: [&str; 7] =
    ["idle", "rereading", "rolling", "rolling, then one more", "recycling", "last one", "last one, 2 is old"];
const EVENTS: [&str; 10] = [
    "settings",
    "3 workers",
    "1 worker",
    "refused",
    "3 ready",
    "3 did not boot",
    "3 crashed",
    "not forked",
    "1 crashed",
    "2 recycles",
];

/// Workers 1 and 2, and where they are being replaced, 3 on its way into the slot of 1.
fn in_state(state: &str) -> Master {
    let mut master = serving(2);
    let starting = |master: &mut Master| {
        drop(master.step(NOW, Event::Command(Command::Reload)));
        drop(master.step(NOW, settings(master.policy().clone())));
        drop(master.step(NOW, Event::Spawned { slot: Slot(0), pid: Pid(3) }));
    };
    match state {
        "idle" => {}
        "rereading" => drop(master.step(NOW, Event::Command(Command::Reload))),
        "rolling" => starting(&mut master),
        "rolling, then one more" => {
            starting(&mut master);
            drop(master.step(NOW, Event::Command(Command::Reload)));
        }
        "recycling" => {
            drop(master.step(NOW, says(1, WorkerSays::Recycle)));
            drop(master.step(NOW, Event::Spawned { slot: Slot(0), pid: Pid(3) }));
        }
        // Worker 2 is new already.
        "last one" => {
            starting(&mut master);
            master.roster.get_mut(Pid(2)).unwrap().renewal = Renewal::None;
        }
        // It is new, and is to be replaced already.
        "last one, 2 is old" => {
            starting(&mut master);
            master.roster.get_mut(Pid(2)).unwrap().renewal = Renewal::Due;
        }
        _ => unreachable!(),
    }
    master
}

fn event(name: &str, master: &Master) -> Event {
    let policy = |workers| Policy { workers, ..master.policy().clone() };
    match name {
        "settings" => settings(policy(2)),
        "3 workers" => settings(policy(3)),
        "1 worker" => settings(policy(1)),
        "refused" => Event::SettingsRefused { text: String::new() },
        "3 ready" => says(3, crate::testing::ready()),
        "3 did not boot" => says(3, WorkerSays::BootFailed { text: String::new() }),
        "3 crashed" => Event::Exited { pid: Pid(3), ending: Ending::Signal(11) },
        "not forked" => Event::SpawnFailed { slot: Slot(0), text: String::new() },
        "1 crashed" => Event::Exited { pid: Pid(1), ending: Ending::Signal(11) },
        "2 recycles" => says(2, WorkerSays::Recycle),
        _ => unreachable!(),
    }
}

#[test]
fn every_state_and_event() {
    check(TABLE, &STATES, &EVENTS, |state, said| {
        let mut master = in_state(state);
        // The fork was asked for, but has failed.
        if said == "not forked" && master.roster.get_mut(Pid(3)).is_some() {
            assert!(master.roster.reaped(Pid(3)).is_some());
            master.roster.forking(Slot(0), BTreeSet::new());
        }
        let event = event(said, &master);
        let actions = master.step(NOW, event);
        format!("{} | {}", name(&master.rollout).to_lowercase(), short(&actions))
    });
}

const TABLE: &str = "
idle                   | settings       | idle      |
idle                   | 3 workers      | idle      | fork 2
idle                   | 1 worker       | idle      | 2: drain to own
idle                   | refused        | idle      |
idle                   | 3 ready        | idle      |
idle                   | 3 did not boot | idle      |
idle                   | 3 crashed      | idle      |
idle                   | not forked     | idle      | WorkerNotForked
idle                   | 1 crashed      | idle      | WorkerExited, fork 0
idle                   | 2 recycles     | idle      | RecycleBegun, fork 1

rereading              | settings       | rolling   | fork 0
rereading              | 3 workers      | rolling   | fork 2, fork 0
rereading              | 1 worker       | rolling   | 2: drain to own, fork 0
rereading              | refused        | idle      | ReloadFailed
rereading              | 3 ready        | rereading |
rereading              | 3 did not boot | rereading |
rereading              | 3 crashed      | rereading |
rereading              | not forked     | rereading | WorkerNotForked
rereading              | 1 crashed      | rereading | WorkerExited
rereading              | 2 recycles     | rereading |

rolling                | settings       | rolling   |
rolling                | 3 workers      | rolling   | fork 2
rolling                | 1 worker       | rolling   | 2: drain to own
rolling                | refused        | rolling   |
rolling                | 3 ready        | rolling   | WorkerReady, 3: 1 queues, 1: drain to own, fork 1
rolling                | 3 did not boot | idle      | BootFailed, ReloadFailed
rolling                | 3 crashed      | idle      | WorkerExited, ReloadFailed
rolling                | not forked     | idle      | WorkerNotForked, ReloadFailed
rolling                | 1 crashed      | rolling   | WorkerExited, fork 1
rolling                | 2 recycles     | rolling   |

rolling, then one more | settings       | rolling   |
rolling, then one more | 3 workers      | rolling   | fork 2
rolling, then one more | 1 worker       | rolling   | 2: drain to own
rolling, then one more | refused        | rolling   |
rolling, then one more | 3 ready        | rolling   | WorkerReady, 3: 1 queues, 1: drain to own, fork 1
rolling, then one more | 3 did not boot | rereading | BootFailed, ReloadFailed, ReloadBegun, reread
rolling, then one more | 3 crashed      | rereading | WorkerExited, ReloadFailed, ReloadBegun, reread
rolling, then one more | not forked     | rereading | WorkerNotForked, ReloadFailed, ReloadBegun, reread
rolling, then one more | 1 crashed      | rolling   | WorkerExited, fork 1
rolling, then one more | 2 recycles     | rolling   |

recycling              | settings       | idle      |
recycling              | 3 workers      | idle      | fork 2
recycling              | 1 worker       | idle      | 2: drain to own
recycling              | refused        | idle      |
recycling              | 3 ready        | idle      | WorkerReady, 3: 1 queues, 1: drain to own
recycling              | 3 did not boot | idle      | BootFailed, RecycleFailed
recycling              | 3 crashed      | idle      | WorkerExited, RecycleFailed
recycling              | not forked     | idle      | WorkerNotForked, RecycleFailed
recycling              | 1 crashed      | idle      | WorkerExited
recycling              | 2 recycles     | idle      |

last one               | settings       | rolling   |
last one               | 3 workers      | rolling   | fork 2
last one               | 1 worker       | rolling   | 2: drain to own
last one               | refused        | rolling   |
last one               | 3 ready        | idle      | WorkerReady, 3: 1 queues, 1: drain to own, ReloadDone
last one               | 3 did not boot | idle      | BootFailed, ReloadFailed
last one               | 3 crashed      | idle      | WorkerExited, ReloadFailed
last one               | not forked     | idle      | WorkerNotForked, ReloadFailed
last one               | 1 crashed      | rolling   | WorkerExited
last one               | 2 recycles     | rolling   |

last one, 2 is old     | settings       | rolling   |
last one, 2 is old     | 3 workers      | rolling   | fork 2
last one, 2 is old     | 1 worker       | rolling   | 2: drain to own
last one, 2 is old     | refused        | rolling   |
last one, 2 is old     | 3 ready        | idle      | WorkerReady, 3: 1 queues, 1: drain to own, ReloadDone, RecycleBegun, fork 1
last one, 2 is old     | 3 did not boot | idle      | BootFailed, ReloadFailed
last one, 2 is old     | 3 crashed      | idle      | WorkerExited, ReloadFailed
last one, 2 is old     | not forked     | idle      | WorkerNotForked, ReloadFailed
last one, 2 is old     | 1 crashed      | rolling   | WorkerExited
last one, 2 is old     | 2 recycles     | rolling   |
";

#[test]
fn workers_that_come_of_age_at_once_do_not_keep_a_reload_from_ending() {
    let mut master = serving(2);
    let policy = Policy { max_lifetime: Duration::from_millis(1), ..master.policy.clone() };
    drop(master.step(NOW, Event::Command(Command::Reload)));
    assert_eq!(short(&master.step(NOW, settings(policy))), "fork 0");
    // Each is too old before the next has booted.
    let boots = |master: &mut Master, slot, pid: i32| {
        let (spawned, at) = (NOW + Duration::from_secs(pid.unsigned_abs().into()), Duration::from_millis(500));
        drop(master.step(spawned, Event::Spawned { slot: Slot(slot), pid: Pid(pid) }));
        short(&master.step(spawned + at, says(pid, crate::testing::ready())))
    };
    assert_eq!(boots(&mut master, 0, 3), "WorkerReady, 3: 1 queues, 1: drain to own, fork 1");
    let upgrade = master.step(NOW, Event::Command(Command::Upgrade));
    assert_eq!(short(&upgrade), "Postponed");
    assert_eq!(
        boots(&mut master, 1, 4),
        "WorkerReady, 4: 1 queues, 2: drain to own, ReloadDone, RecycleBegun, fork 0, UpgradeBegun, start successor"
    );
}

#[test]
fn a_worker_that_wants_to_be_replaced_anyway_is_one_of_those_that_a_reload_replaces() {
    for asks in [says(2, WorkerSays::Recycle), Event::Command(Command::Recycle(Slot(1)))] {
        let mut master = in_state("rolling");
        drop(master.step(NOW, asks));
        drop(master.step(NOW, says(3, crate::testing::ready())));
        assert_eq!(master.rollout, Rollout::Rolling);
    }
}

/// As `serving`, with a queue for each of three slots.
fn with_queues_of_their_own() -> Master {
    let mut master = serving(3);
    master.queues = crate::queues::Queues::new(vec![3]);
    master.assign_queues(&mut Vec::new());
    master
}

#[test]
fn a_worker_too_many_leaves_its_queue_to_somebody_before_it_goes() {
    let mut master = with_queues_of_their_own();
    let actions = master.step(NOW, Event::Command(Command::Fewer));
    assert_eq!(short(&actions), "Scaled, 1: 2 queues, 3: drain to own");
    let queue = |index| crate::QueueId { listener: 0, index };
    assert_eq!(master.queues.told(Pid(1)).unwrap().queues, [queue(0), queue(2)]);
}

#[test]
fn a_worker_too_many_stands_in_for_a_slot_that_is_empty() {
    let mut master = with_queues_of_their_own();
    // Fresh, so that its slot has to wait.
    add(&mut master, 1, 0, Phase::Ready(Standing::Fresh { steady_at: Moment(NOW.0 + 1) }));
    let crash = Event::Exited { pid: Pid(1), ending: Ending::Signal(11) };
    assert_eq!(short(&master.step(NOW, crash)), "WorkerExited, 2: 2 queues");
    assert_eq!(short(&master.step(NOW, Event::Command(Command::Fewer))), "Scaled");
    let later = Moment(NOW.0 + 100);
    assert_eq!(short(&master.step(later, Event::Tick)), "sample, fork 0");
    drop(master.step(later, Event::Spawned { slot: Slot(0), pid: Pid(4) }));
    let actions = master.step(later, says(4, crate::testing::ready()));
    assert_eq!(short(&actions), "WorkerReady, 2: 1 queues, 4: 1 queues, 4: 2 queues, 3: drain to own");
}

#[test]
fn an_old_worker_that_crashes_early_says_nothing_about_the_new_ones() {
    let mut master = in_state("rolling");
    let fresh = Phase::Ready(Standing::Fresh { steady_at: Moment(NOW.0 + 1) });
    master.roster.get_mut(Pid(1)).unwrap().phase = fresh;
    let actions = master.step(NOW, Event::Exited { pid: Pid(1), ending: Ending::Signal(11) });
    assert_eq!(short(&actions), "WorkerExited, fork 1");
    assert_eq!(master.rollout, Rollout::Rolling);
}

#[test]
fn settings_that_come_after_a_rest_wake_nobody() {
    for answer in [Event::SettingsRefused { text: String::new() }, settings(Policy { workers: 3, ..Policy::default() })]
    {
        let mut master = in_state("rereading");
        drop(master.step(NOW, Event::Command(Command::Rest)));
        assert_eq!(short(&master.step(NOW, answer)), "");
        assert_eq!(master.life, Life::Resting);
    }
}

#[test]
fn a_new_number_of_workers_counts_from_the_moment_they_come_back() {
    let mut master = in_state("rereading");
    drop(master.step(NOW, Event::Command(Command::Rest)));
    drop(master.step(NOW, settings(Policy { workers: 3, ..Policy::default() })));
    assert_eq!(
        short(&master.step(NOW, Event::Command(Command::More))),
        "Woken, open relay, fork 0, fork 1, fork 2, 1: drain to own, 2: drain to own"
    );
}

#[test]
fn what_was_postponed_follows_a_reload_that_fails() {
    let mut master = in_state("rolling");
    drop(master.step(NOW, Event::Command(Command::Upgrade)));
    drop(master.step(NOW, Event::Command(Command::Reload)));
    drop(master.step(NOW, Event::Command(Command::Reload)));
    let crash = Event::Exited { pid: Pid(3), ending: Ending::Signal(11) };
    assert_eq!(short(&master.step(NOW, crash)), "WorkerExited, ReloadFailed, ReloadBegun, reread");
    let refused = Event::SettingsRefused { text: String::new() };
    assert_eq!(short(&master.step(NOW, refused)), "ReloadFailed, UpgradeBegun, start successor");
    assert!(master.postponed.is_empty());
}

#[test]
fn a_stop_ends_a_reload() {
    for state in ["rereading", "rolling, then one more"] {
        let mut master = in_state(state);
        drop(master.step(NOW, Event::Command(Command::Stop)));
        assert_eq!((master.rollout, master.postponed.len()), (Rollout::Idle, 0), "{state}");
    }
}

#[test]
fn a_recycle_waits_until_an_upgrade_has_failed() {
    let mut master = serving(2);
    drop(master.step(NOW, Event::Command(Command::Upgrade)));
    assert_eq!(short(&master.step(NOW, says(1, WorkerSays::Recycle))), "");
    let failed = Event::SuccessorNotStarted { text: String::new() };
    assert_eq!(short(&master.step(NOW, failed)), "UpgradeFailed, RecycleBegun, fork 0");
}

#[test]
fn a_newcomer_of_a_reload_that_failed_elsewhere_still_counts() {
    let mut master = in_state("rolling");
    // In the other slot a new worker has just come up, and crashes.
    let fresh = Phase::Ready(Standing::Fresh { steady_at: Moment(NOW.0 + 1) });
    add(&mut master, 2, 1, fresh);
    let actions = master.step(NOW, Event::Exited { pid: Pid(2), ending: Ending::Signal(11) });
    assert_eq!(short(&actions), "WorkerExited, ReloadFailed");
    assert_eq!(short(&master.step(NOW, says(1, WorkerSays::Recycle))), "", "3 is on its way beside it");
}
