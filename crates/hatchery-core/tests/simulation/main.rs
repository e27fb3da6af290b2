//! Random lives of masters: whatever happens in whatever order, what `check`
//! says holds after every step, and where workers get what they need the world
//! comes to rest with one generation serving.

mod check;
mod world;

use std::time::Duration;

use hatchery_core::wire::worker::WorkerSays;
use hatchery_core::{Command, Companion, CompanionKind, Ending, Pid, Policy, Slot};
use proptest::prelude::*;

use crate::world::{Luck, Source, World};

/// Something that happens. Numbers choose among those to whom it can happen.
#[derive(Clone, Debug)]
enum Chance {
    /// A master gets on with what has come in.
    Deliver(usize, Source),
    /// Every master takes in everything that has come in.
    DeliverAll,
    Time(u64),
    ToDeadline,
    Command(usize, Command),
    Ready(usize, usize),
    AllReady,
    /// An upgrade goes well, until both masters have heard of all that it takes.
    Upgraded(usize),
    BootFailed(usize, usize),
    Crash(usize, usize),
    Gone(usize, usize),
    Emptied(usize, usize),
    Recycle(usize, usize),
    Luck(Luck),
    Begin(usize),
    FailBeforeBegin(usize),
    KillMaster(usize),
}

fn chance() -> impl Strategy<Value = Chance> {
    let node = || 0usize..4;
    let worker = || (0usize..4, 0usize..6);
    let source = prop_oneof![
        Just(Source::Answers),
        Just(Source::Signals),
        Just(Source::Workers),
        Just(Source::Predecessor),
        Just(Source::Successor),
        Just(Source::Reaping),
    ];
    let command = prop_oneof![
        1 => Just(Command::Stop),
        1 => Just(Command::StopAtOnce),
        3 => Just(Command::Reload),
        6 => Just(Command::Upgrade),
        1 => Just(Command::Reopen),
        1 => Just(Command::Rest),
        2 => Just(Command::More),
        2 => Just(Command::Fewer),
        1 => (0u16..5).prop_map(Command::Scale),
        1 => (0u16..3).prop_map(|slot| Command::Recycle(Slot(slot))),
    ];
    let settings = prop::option::weighted(0.8, 1u16..4);
    let luck =
        (prop::bool::weighted(0.8), prop::bool::weighted(0.8), settings, prop::bool::weighted(0.8), any::<u64>())
            .prop_map(|(forks, starts, settings, grows, busy)| {
                Chance::Luck(Luck { forks, starts, settings, grows, busy })
            });
    prop_oneof![
        8 => (node(), source).prop_map(|(node, source)| Chance::Deliver(node, source)),
        8 => Just(Chance::DeliverAll),
        3 => (0u64..3000).prop_map(Chance::Time),
        4 => Just(Chance::ToDeadline),
        6 => (node(), command).prop_map(|(node, command)| Chance::Command(node, command)),
        4 => worker().prop_map(|(node, worker)| Chance::Ready(node, worker)),
        6 => Just(Chance::AllReady),
        3 => node().prop_map(Chance::Upgraded),
        1 => worker().prop_map(|(node, worker)| Chance::BootFailed(node, worker)),
        3 => worker().prop_map(|(node, worker)| Chance::Crash(node, worker)),
        4 => worker().prop_map(|(node, worker)| Chance::Gone(node, worker)),
        2 => worker().prop_map(|(node, worker)| Chance::Emptied(node, worker)),
        2 => worker().prop_map(|(node, worker)| Chance::Recycle(node, worker)),
        2 => luck,
        4 => node().prop_map(Chance::Begin),
        1 => node().prop_map(Chance::FailBeforeBegin),
        1 => node().prop_map(Chance::KillMaster),
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    let (drain, probation) = (prop_oneof![Just(0u64), Just(3000)], prop_oneof![Just(0u64), Just(2000)]);
    let stop_delay = prop_oneof![Just(0u64), Just(4000)];
    let serving = (1u16..4, (stop_delay, drain), 2u32..5, probation, any::<bool>());
    let millis = |some: u64| prop_oneof![2 => Just(0u64), 1 => Just(some)].prop_map(Duration::from_millis);
    let supervising = (millis(1500), millis(20_000), prop_oneof![3 => Just(0u64), 1 => Just(100)], millis(8000));
    (serving, supervising).prop_map(
        |(
            (workers, (stop_delay, drain), crash_limit, probation, balance),
            (heartbeat_timeout, max_lifetime, max_memory, idle),
        )| {
            Policy {
                workers,
                boot_timeout: Duration::from_secs(5),
                stop_delay: Duration::from_millis(stop_delay),
                drain_timeout: Duration::from_millis(drain),
                crash_limit,
                probation: Duration::from_millis(probation),
                balance,
                heartbeat_timeout,
                max_lifetime,
                max_memory,
                idle_timeout: (idle > Duration::ZERO).then_some(idle),
            }
        },
    )
}

fn companions() -> impl Strategy<Value = Vec<Companion>> {
    let kind = prop_oneof![Just(CompanionKind::Jobs), Just(CompanionKind::Sidecar)];
    prop::collection::vec(kind.prop_map(|kind| Companion { name: "it".to_owned(), kind }), 0..3)
}

const SOURCES: [Source; 6] =
    [Source::Answers, Source::Predecessor, Source::Successor, Source::Workers, Source::Signals, Source::Reaping];

impl World {
    fn happens(&mut self, chance: &Chance) {
        match *chance {
            Chance::Deliver(node, source) => {
                if let Some(node) = self.choose(node) {
                    self.deliver(node, source);
                }
            }
            Chance::DeliverAll => self.deliver_all(),
            Chance::Time(millis) => self.pass(Duration::from_millis(millis)),
            Chance::ToDeadline => self.pass_to_deadline(),
            Chance::Command(node, command) => {
                if let Some(node) = self.choose(node) {
                    self.nodes[node].signals.push_back(command);
                }
            }
            Chance::Ready(node, worker) => self.worker(node, worker, |_, process| {
                let news = !process.said_ready && !process.said_failed;
                process.said_ready = true;
                news.then(|| WorkerSays::Ready { takes: world::takes() })
            }),
            Chance::AllReady => self.all_ready(),
            Chance::Upgraded(node) => {
                if let Some(node) = self.choose(node) {
                    self.nodes[node].signals.push_back(Command::Upgrade);
                }
                self.deliver_all();
                (0..self.nodes.len()).for_each(|node| self.begin(node));
                self.deliver_all();
                self.all_ready();
                self.deliver_all();
            }
            Chance::BootFailed(node, worker) => self.worker(node, worker, |_, process| {
                let news = !process.said_ready && !process.said_failed;
                process.said_failed = true;
                news.then(|| WorkerSays::BootFailed { text: "no such table".to_owned() })
            }),
            Chance::Crash(node, worker) => self.worker(node, worker, |_, process| {
                process.ending = Some(Ending::Signal(11));
                None
            }),
            Chance::Gone(node, worker) => self.worker(node, worker, |_, process| {
                if process.told_to_drain || process.told_to_finish || process.said_failed {
                    process.ending = Some(Ending::Code(0));
                }
                None
            }),
            Chance::Emptied(node, worker) => {
                self.worker(node, worker, |_, process| process.told_to_finish.then_some(WorkerSays::Emptied));
            }
            Chance::Recycle(node, worker) => self.worker(node, worker, |_, _| Some(WorkerSays::Recycle)),
            Chance::Luck(luck) => self.luck = luck,
            Chance::Begin(node) => {
                if let Some(node) = self.choose(node) {
                    self.begin(node);
                }
            }
            Chance::FailBeforeBegin(node) => {
                if let Some(node) = self.choose(node) {
                    self.fail_before_begin(node);
                }
            }
            Chance::KillMaster(node) => {
                if let Some(node) = self.choose(node) {
                    self.kill_master(node);
                }
            }
        }
    }

    fn choose(&self, number: usize) -> Option<usize> {
        let alive: Vec<usize> = self.alive().collect();
        alive.get(number % alive.len().max(1)).copied()
    }

    /// Something happens to one living worker of one master, dead masters' orphans included.
    fn worker(&mut self, node: usize, worker: usize, act: impl FnOnce(Pid, &mut world::Process) -> Option<WorkerSays>) {
        let node = node % self.nodes.len();
        let living: Vec<Pid> =
            self.nodes[node].processes.iter().filter(|(_, process)| process.is_alive()).map(|(pid, _)| *pid).collect();
        let Some(pid) = living.get(worker % living.len().max(1)).copied() else { return };
        let process = self.nodes[node].processes.get_mut(&pid).expect("it lives");
        if let Some(says) = act(pid, process) {
            self.nodes[node].from_workers.push_back((pid, says));
        }
        self.close_link_if_gone(node);
    }

    fn all_ready(&mut self) {
        for node in &mut self.nodes {
            for (pid, process) in &mut node.processes {
                if process.is_alive() && !process.said_ready && !process.said_failed {
                    process.said_ready = true;
                    node.from_workers.push_back((*pid, WorkerSays::Ready { takes: world::takes() }));
                }
            }
        }
    }

    fn deliver_all(&mut self) {
        for _ in 0..1000 {
            let mut news = false;
            for node in 0..self.nodes.len() {
                for source in SOURCES {
                    news |= self.deliver(node, source);
                }
            }
            if !news {
                return;
            }
        }
        panic!("the masters never stop talking");
    }

    fn pass_to_deadline(&mut self) {
        let next =
            self.alive().filter(|node| self.nodes[*node].begun).filter_map(|n| self.nodes[n].master.deadline()).min();
        if let Some(deadline) = next {
            self.pass(deadline - self.now);
        }
    }

    /// From here on everything goes well: what boots becomes ready, what drains ends.
    fn goes_well(&mut self) {
        self.luck = Luck { forks: true, starts: true, settings: Some(2), grows: true, busy: 0 };
        for _ in 0..200 {
            for node in 0..self.nodes.len() {
                self.begin(node);
                let node = &mut self.nodes[node];
                for process in node.processes.values_mut() {
                    if process.told_to_drain || process.told_to_finish || process.said_failed {
                        process.ending.get_or_insert(Ending::Code(0));
                    }
                }
            }
            for node in 0..self.nodes.len() {
                self.close_link_if_gone(node);
            }
            self.all_ready();
            self.deliver_all();
            self.pass_to_deadline();
        }
        check::rest(self);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_one_generation_serves(
        policy in policy(),
        queues in prop_oneof![Just(vec![1u16]), Just(vec![3]), Just(vec![1, 2])],
        companions in companions(),
        chances in prop::collection::vec(chance(), 0..120),
    ) {
        let mut world = World::new(policy, queues, companions);
        for chance in &chances {
            world.happens(chance);
        }
        world.goes_well();
    }
}
