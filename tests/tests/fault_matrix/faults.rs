//! The faults, and how many requests each may cost.

use std::fs;
use std::time::{Duration, Instant};

use hatchery_tests::client::Client;
use hatchery_tests::limit::{self, Resource};
use hatchery_tests::{Lab, Program, Start, log, procfs};
use nix::sys::signal::Signal;

use crate::cell::{CLIENTS, FRESH, RAW};
use crate::moments::Moment;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    WorkerKilled,
    WorkerStopped,
    WorkerBlocked,
    WorkerAborts,
    WorkerExits,
    WorkerLeaks,
    AllKilled,
    MasterKilled,
    MasterStopped,
    SuccessorKilled,
    PredecessorKilled,
    NoProcesses,
    NoDescriptors,
    ProgramCrashes,
}

/// What a fault may have cost, and what is to be waited for.
#[derive(Debug, Default)]
pub(crate) struct Harm {
    /// Connections of the processes that were killed, at that moment.
    pub(crate) connections: usize,
    /// Processes that have to be gone.
    pub(crate) gone: Vec<i32>,
    /// The server that was started in the place of one that is gone.
    pub(crate) next: Option<Lab>,
}

/// How long a process is stopped, or kept short of something.
const PAUSE: Duration = Duration::from_millis(1000);

impl Fault {
    pub(crate) const ALL: [Self; 15] = [
        Self::None,
        Self::WorkerKilled,
        Self::WorkerStopped,
        Self::WorkerBlocked,
        Self::WorkerAborts,
        Self::WorkerExits,
        Self::WorkerLeaks,
        Self::AllKilled,
        Self::MasterKilled,
        Self::MasterStopped,
        Self::SuccessorKilled,
        Self::PredecessorKilled,
        Self::NoProcesses,
        Self::NoDescriptors,
        Self::ProgramCrashes,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::WorkerKilled => "a worker: SIGKILL",
            Self::WorkerStopped => "a worker: SIGSTOP for 1 s",
            Self::WorkerBlocked => "a worker: blocked, heartbeat-timeout 1 s",
            Self::WorkerAborts => "a worker: SIGABRT",
            Self::WorkerExits => "a worker: exit 7",
            Self::WorkerLeaks => "a worker: over max-memory",
            Self::AllKilled => "all workers: SIGKILL",
            Self::MasterKilled => "master: SIGKILL, and a restart",
            Self::MasterStopped => "master: SIGSTOP for 1 s",
            Self::SuccessorKilled => "successor: SIGKILL",
            Self::PredecessorKilled => "predecessor: SIGKILL",
            Self::NoProcesses => "a worker: SIGKILL, and fork fails for 1 s",
            Self::NoDescriptors => "a worker: no descriptors for 1 s",
            Self::ProgramCrashes => "a new program whose workers crash",
        }
    }

    /// Whether the fault can come at that moment.
    pub(crate) fn makes_sense(self, moment: Moment) -> bool {
        match self {
            Self::None
            | Self::WorkerKilled
            | Self::WorkerStopped
            | Self::WorkerAborts
            | Self::WorkerExits
            | Self::AllKilled
            | Self::MasterStopped
            | Self::NoDescriptors => true,
            // What is slow or short of something when a stop comes is killed at drain-timeout.
            Self::WorkerBlocked | Self::WorkerLeaks | Self::NoProcesses => moment != Moment::Stop,
            Self::MasterKilled => !moment.is_upgrade() && moment != Moment::Stop,
            Self::SuccessorKilled | Self::PredecessorKilled => moment.is_upgrade(),
            Self::ProgramCrashes => moment == Moment::Preparing,
        }
    }

    /// The settings that it needs.
    pub(crate) fn prepare(self, start: Start) -> Start {
        match self {
            Self::WorkerBlocked => start.set("heartbeat-timeout", "1s"),
            Self::WorkerLeaks => start.set("max-memory", "128MiB"),
            Self::NoProcesses => match limit::as_nobody_else(&start.path("")) {
                Some(launcher) => start.launcher(launcher.iter().map(String::as_str)),
                None => start,
            },
            Self::None
            | Self::WorkerKilled
            | Self::WorkerStopped
            | Self::WorkerAborts
            | Self::WorkerExits
            | Self::AllKilled
            | Self::MasterKilled
            | Self::MasterStopped
            | Self::SuccessorKilled
            | Self::PredecessorKilled
            | Self::NoDescriptors
            | Self::ProgramCrashes => start,
        }
    }

    /// Does it; `own` is the number of sockets that a worker has without clients.
    pub(crate) fn strike(self, lab: &Lab, own: usize) -> Harm {
        match self {
            Self::None => Harm::default(),
            Self::WorkerKilled => kill(lab, own, &[victim(lab)], Signal::SIGKILL),
            Self::WorkerAborts => kill(lab, own, &[victim(lab)], Signal::SIGABRT),
            Self::AllKilled => kill(lab, own, &workers(lab), Signal::SIGKILL),
            Self::WorkerStopped => {
                pause(lab, victim(lab));
                Harm::default()
            }
            Self::MasterStopped => {
                pause(lab, lab.serving());
                Harm::default()
            }
            Self::WorkerBlocked => block(lab, own),
            Self::WorkerExits => exit(lab, own),
            Self::WorkerLeaks => leak(lab),
            Self::MasterKilled => restart(lab),
            Self::SuccessorKilled => {
                let successor = lab.masters().into_iter().find(|pid| *pid != lab.first());
                // It may be on its way to becoming one.
                let successor = successor.or_else(|| {
                    let workers = lab.workers_of(lab.first(), |_| true);
                    procfs::children(lab.first()).into_iter().find(|pid| !workers.contains(pid))
                });
                let successor = successor.expect("a successor");
                // Its workers have no way back once the predecessor's drain: see the known gaps.
                let connections = if log::RETIRING.count(&lab.log()) > 0 { RAW } else { 0 };
                lab.signal_to(successor, Signal::SIGKILL);
                Harm { connections, gone: vec![successor], next: None }
            }
            Self::PredecessorKilled => {
                // Until its workers have heard where to go, connections of a protocol that has no
                // word for goodbye are closed, and what a client sends in that moment is lost.
                let connections = if log::RETIRING.count(&lab.log()) > 0 { 0 } else { RAW };
                lab.signal_to(lab.first(), Signal::SIGKILL);
                Harm { connections, gone: vec![lab.first()], ..Harm::default() }
            }
            Self::NoProcesses => {
                let Some(launcher) = limit::as_nobody_else(&lab.path("")) else {
                    eprintln!("SKIPPED: another user cannot reach the lab's program");
                    return Harm::default();
                };
                let master = lab.serving();
                limit::set_through(&launcher, master, Resource::Processes, 1);
                let harm = kill(lab, own, &[victim(lab)], Signal::SIGKILL);
                wait_a_moment(lab);
                limit::set_through(&launcher, master, Resource::Processes, 1000);
                harm
            }
            Self::NoDescriptors => {
                let worker = victim(lab);
                limit::set(worker, Resource::Files, procfs::descriptors(worker).len() as u64);
                wait_a_moment(lab);
                if procfs::Process::read(worker).is_some_and(|process| !process.is_zombie()) {
                    limit::set(worker, Resource::Files, 1024);
                }
                // If it is replaced meanwhile, it has none to spare for moving: see the known gaps.
                Harm { connections: RAW, ..Harm::default() }
            }
            // Each of its workers that has served somebody may take everybody's request along.
            Self::ProgramCrashes => Harm { connections: CLIENTS, ..Harm::default() },
        }
    }

    /// What has to be there before the moment.
    pub(crate) fn before(self, lab: &Lab) {
        if self == Self::ProgramCrashes {
            lab.install(&Program::lab_with("LAB_BOOT=crash"));
        }
    }
}

fn workers(lab: &Lab) -> Vec<i32> {
    lab.workers().into_iter().collect()
}

/// A worker of the master that serves, one that serves if there is one.
fn victim(lab: &Lab) -> i32 {
    let ready = lab.ready().first().copied();
    ready.or_else(|| lab.workers().first().copied()).unwrap_or(0)
}

/// How many connections of clients each of these processes holds.
///
/// By its descriptors, of which `own` are no clients': the kernel's table of
/// connections misses some when it changes while it is read. A worker that drains has
/// closed some of its own: then the table knows of more.
fn connections(own: usize, pids: &[i32]) -> Vec<usize> {
    pids.iter().map(|pid| open_sockets(*pid).saturating_sub(own).max(procfs::connections(*pid))).collect()
}

/// All of a process' sockets.
pub(crate) fn open_sockets(pid: i32) -> usize {
    procfs::descriptors(pid).values().filter(|target| target.starts_with("socket:")).count()
}

fn workers_of_all(lab: &Lab) -> Vec<i32> {
    lab.masters().into_iter().flat_map(|master| lab.workers_of(master, |_| true)).collect()
}

fn all(lab: &Lab) -> Vec<i32> {
    lab.processes().into_iter().map(|process| process.pid).collect()
}

/// Stopped first, so that it accepts nothing between the count and its end.
fn kill(lab: &Lab, own: usize, victims: &[i32], signal: Signal) -> Harm {
    for pid in victims {
        lab.freeze(*pid);
    }
    let connections = connections(own, victims).into_iter().sum();
    for pid in victims {
        lab.signal_to(*pid, signal);
        lab.thaw(*pid);
    }
    Harm { connections, gone: victims.to_vec(), next: None }
}

/// A connection to ask for something that ends its worker; `None` when nobody serves any more.
fn asking(lab: &Lab, what: &str) -> Option<Client> {
    let mut client = Client::connect(lab.address()).ok()?;
    client.ask(what).ok()?;
    Some(client)
}

/// Waits for the end of a worker that is blocked. One that is aborted for it says how many
/// connections it has; one that drains already is killed without a word.
fn block(lab: &Lab, own: usize) -> Harm {
    let Some(mut client) = asking(lab, "/spin?ms=600000") else { return Harm::default() };
    let all = connections(own, &workers_of_all(lab)).into_iter().sum();
    client.wait_at_most(Duration::from_secs(60));
    assert!(client.answer().is_err(), "its end is the worker's");
    let said = lab.log();
    let said = said
        .lines()
        .find_map(|line| line.strip_prefix("hatchery: worker ")?.split_once(" connections, ")?.0.split_once(": "));
    let connections = said.and_then(|(_slot, count)| count.parse().ok()).unwrap_or(all);
    Harm { connections, ..Harm::default() }
}

/// It goes on until it is told: others come to it before that, also those of a
/// worker that drains, so that nobody can say how many it will have.
fn exit(lab: &Lab, own: usize) -> Harm {
    let connections = connections(own, &workers_of_all(lab)).into_iter().sum::<usize>() + FRESH;
    if let Some(mut client) = asking(lab, "/exit?code=7") {
        let _ended = client.answer();
    }
    Harm { connections, ..Harm::default() }
}

/// Gives one worker more than it may have.
fn leak(lab: &Lab) -> Harm {
    let answered = asking(lab, "/leak?mb=200").and_then(|mut client| client.answer().ok());
    let large = |pid: &i32| {
        let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
        statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).is_some_and(|pages| pages > 40_000)
    };
    let gone = all(lab).into_iter().filter(large).collect();
    assert!(answered.is_some(), "it is told");
    Harm { gone, ..Harm::default() }
}

fn pause(lab: &Lab, pid: i32) {
    lab.freeze(pid);
    wait_a_moment(lab);
    lab.thaw(pid);
}

/// The length of a fault, not a wait for anything.
fn wait_a_moment(lab: &Lab) {
    let began = Instant::now();
    lab.until("the fault has lasted", || began.elapsed() >= PAUSE);
}

/// Kills the master, and starts the same server again as soon as the addresses are free.
fn restart(lab: &Lab) -> Harm {
    let (master, counter) = (lab.serving(), lab.counter().to_owned());
    lab.signal_to(master, Signal::SIGKILL);
    for address in lab.addresses() {
        lab.until("nobody accepts", || Client::connect(address).is_err());
    }
    let pid_file = lab.path("lab.pid").display().to_string();
    let start = Start::lab().set("bind", lab.address()).argument("--raw").argument(&counter);
    let next = start.set("workers", "3").set("pid-file", &pid_file).spawn();
    // Those of a protocol that has no word for goodbye, and who connects between a
    // worker's last look at a queue and its close of it.
    Harm { connections: RAW + FRESH, gone: vec![master], next: Some(next) }
}
