//! Tables of state and event, as text: what the tests of the state machines share.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use crate::action::{Action, Outcome};
use crate::event::Event;
use crate::ids::{Generation, Pid, Slot};
use crate::lineage::Lineage;
use crate::master::{Master, Seed};
use crate::policy::{ListenMode, Policy};
use crate::shutdown::Life;
use crate::takes::{Service, Takes};
use crate::time::Moment;
use crate::wire::upgrade::{PredecessorSays, SuccessorSays};
use crate::wire::worker::{MasterSays, WorkerSays};
use crate::worker::{Phase, Renewal, Standing, Worker};

/// When everything in the tables happens.
pub(crate) const NOW: Moment = Moment(100_000);

/// A master with workers 1, 2, … that have stayed ready in slots 0, 1, …, and one queue.
pub(crate) fn serving(workers: u16) -> Master {
    let mut master = booting(workers);
    master.life = Life::Serving;
    for slot in 0..workers {
        add(&mut master, i32::from(slot) + 1, slot, Phase::Ready(Standing::Steady));
    }
    master.kin.own = takes();
    master.throttle.steady(Slot(0));
    master.assign_queues(&mut Vec::new());
    master
}

/// A first master without workers.
pub(crate) fn booting(workers: u16) -> Master {
    Master::new(Seed {
        // Without looks at the board, unless a test asks for them.
        policy: Policy { workers, heartbeat_timeout: Duration::ZERO, ..Policy::default() },
        generation: Generation::FIRST,
        queues: vec![1],
        listen_mode: ListenMode::Shared,
        lineage: Lineage::First,
        scaled: None,
        companions: Vec::new(),
    })
}

pub(crate) fn add(master: &mut Master, pid: i32, slot: u16, phase: Phase) {
    let (pid, slot) = (Pid(pid), Slot(slot));
    master.roster.forked(Worker {
        pid,
        slot,
        phase,
        renewal: Renewal::None,
        takes: takes(),
        expires: None,
        lacks: BTreeSet::new(),
        waits_for: None,
    });
}

/// Settings that ask for the listeners that there are.
pub(crate) fn settings(policy: Policy) -> Event {
    Event::Settings { policy, listeners: None }
}

/// What every worker here takes.
pub(crate) fn takes() -> Takes {
    Takes::these([Service { listener: "127.0.0.1:80".to_owned(), name: "http".to_owned(), state: 0 }])
}

/// What a worker says that has booted.
pub(crate) fn ready() -> WorkerSays {
    WorkerSays::Ready { takes: takes() }
}

pub(crate) fn says(pid: i32, says: WorkerSays) -> Event {
    Event::Worker { pid: Pid(pid), says }
}

/// Compares a table with what really happens. Every pair of `states` and
/// `events` has its line: `state | event | what becomes of it`.
pub(crate) fn check(table: &str, states: &[&str], events: &[&str], outcome: impl Fn(&str, &str) -> String) {
    let mut really = String::new();
    for state in states {
        for event in events {
            writeln!(really, "{state} | {event} | {}", outcome(state, event)).expect("a string takes it");
        }
    }
    let tidy = |text: &str| -> Vec<String> {
        let cells = |line: &str| line.split('|').map(str::trim).collect::<Vec<_>>().join(" | ");
        text.lines().filter(|line| !line.trim().is_empty()).map(cells).collect()
    };
    let (table, really) = (tidy(table), tidy(&really));
    let wrong: Vec<&String> = really.iter().filter(|line| !table.contains(line)).collect();
    assert!(
        wrong.is_empty(),
        "not in the table:\n{}",
        wrong.iter().map(|line| format!("{line}\n")).collect::<String>()
    );
    assert_eq!(table.len(), really.len(), "the table has lines too many");
}

/// Actions in a few words; a log line is the name of its notice.
pub(crate) fn short(actions: &[Action]) -> String {
    actions.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The name of a variant, without its data.
pub(crate) fn name(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}").split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

fn one(action: &Action) -> String {
    match action {
        Action::Spawn { slot } => format!("fork {slot}"),
        Action::Tell { pid, says } => match says {
            MasterSays::Assign { queues, relay: true } => format!("{pid}: {} queues", queues.len()),
            MasterSays::Assign { queues, relay: false } => format!("{pid}: {} queues without the relay", queues.len()),
            MasterSays::Drain { heir, last, .. } => {
                let heir = heir.as_ref().map(|heir| format!(" to {:?}", heir.relay).to_lowercase());
                format!("{pid}: drain{}{}", heir.unwrap_or_default(), if *last { " as last" } else { "" })
            }
            MasterSays::Shed { connections, .. } => format!("{pid}: shed {connections}"),
            MasterSays::Refuge { .. } => format!("{pid}: refuge"),
            MasterSays::Queue { id } => format!("{pid}: queue {id}"),
            MasterSays::Finish { .. } => format!("{pid}: finish"),
            MasterSays::Ask => format!("{pid}: ask"),
            MasterSays::Reopen => format!("{pid}: reopen"),
            MasterSays::Status => format!("{pid}: status"),
        },
        Action::Kill { pid } => format!("kill {pid}"),
        Action::Terminate { pid } => format!("term {pid}"),
        Action::Reread => "reread".to_owned(),
        Action::Reopen => "reopen".to_owned(),
        Action::StartSuccessor { .. } => "start successor".to_owned(),
        Action::TellSuccessor(says) => match says {
            PredecessorSays::Commit { draining, .. } => format!("COMMIT {draining}"),
            PredecessorSays::Abort => "ABORT".to_owned(),
            PredecessorSays::Behind { draining } => format!("BEHIND {draining}"),
            PredecessorSays::Answered { .. } => "ANSWERED".to_owned(),
        },
        Action::CloseSuccessorLink => "close link".to_owned(),
        Action::TellPredecessor(says) => match says {
            SuccessorSays::Phase { .. } => "PHASE".to_owned(),
            SuccessorSays::Ready { .. } => "READY".to_owned(),
            SuccessorSays::Failed { .. } => "FAILED".to_owned(),
            SuccessorSays::Leaves { .. } => "LEAVES".to_owned(),
            SuccessorSays::Taken => "TAKEN".to_owned(),
            SuccessorSays::Released => "RELEASED".to_owned(),
            SuccessorSays::Hurry => "HURRY".to_owned(),
        },
        Action::TakePidFile => "pid file".to_owned(),
        Action::TakeBackPidFile => "pid file back".to_owned(),
        Action::ShutListeners { .. } => "shut some".to_owned(),
        Action::CloseListeners { listeners } => format!("close {listeners:?}"),
        Action::BarQueues => "bar".to_owned(),
        Action::ShutQueues => "shut".to_owned(),
        Action::ShutRelay => "shut relay".to_owned(),
        Action::OpenRelay => "open relay".to_owned(),
        Action::Abort { pid } => format!("abort {pid}"),
        Action::Sample { weigh: false } => "sample".to_owned(),
        Action::Sample { weigh: true } => "sample and weigh".to_owned(),
        Action::AddQueues { each } => format!("queues for {each}"),
        Action::Log(notice) => name(notice),
        Action::Exit(outcome) => match outcome {
            Outcome::Drained => "exit 0".to_owned(),
            Outcome::Killed => "exit 2".to_owned(),
            Outcome::Dormant => "sleep".to_owned(),
            Outcome::BootFailed { .. } => "exit 3".to_owned(),
        },
    }
}
