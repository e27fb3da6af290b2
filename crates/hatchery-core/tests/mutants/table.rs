//! The faults.

/// A fault that is put into the core.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mutant {
    /// What is wrong then.
    pub(crate) name: &'static str,
    /// Below `src`.
    pub(crate) file: &'static str,
    /// What stands there, once.
    pub(crate) text: &'static str,
    pub(crate) instead: &'static str,
    pub(crate) on_every_run: bool,
}

const fn mutant(name: &'static str, file: &'static str, text: &'static str, instead: &'static str) -> Mutant {
    Mutant { name, file, text, instead, on_every_run: false }
}

const fn always(mutant: Mutant) -> Mutant {
    Mutant { on_every_run: true, ..mutant }
}

pub(crate) const MUTANTS: &[Mutant] = &[
    always(mutant(
        "a worker that was reaped stays in the roster",
        "roster.rs",
        "self.workers.remove(&pid)",
        "self.workers.get(&pid).cloned()",
    )),
    always(mutant(
        "queues are assigned before COMMIT",
        "lineage.rs",
        "Self::Awaiting(_) | Self::Heir => false,",
        "Self::Awaiting(_) => true,\n            Self::Heir => false,",
    )),
    always(mutant(
        "a failed take-over leaves the pid file to the successor",
        "upgrade/steps.rs",
        "        out.push(Action::TakeBackPidFile);\n",
        "",
    )),
    mutant(
        "a late TAKEN leaves the pid file to the successor",
        "upgrade/steps.rs",
        "(Upgrade::Aborting { .. }, SuccessorSays::Taken) => out.push(Action::TakeBackPidFile),",
        "",
    ),
    mutant(
        "two ready workers of one slot count as two slots",
        "master.rs",
        "let ready = self.roster.ready_by_slot().len();",
        "let ready = self.roster.ready_count();",
    ),
    mutant(
        "TAKEN is said before the queues are assigned",
        "lineage.rs",
        "self.assign_queues(out);\n                out.push(Action::TellPredecessor(SuccessorSays::Taken));",
        "out.push(Action::TellPredecessor(SuccessorSays::Taken));\n                self.assign_queues(out);",
    ),
    mutant(
        "the predecessor is never released",
        "lineage.rs",
        "            out.push(Action::TellPredecessor(SuccessorSays::Released));\n",
        "",
    ),
    mutant(
        "a take-over without any worker left goes on",
        "lineage.rs",
        "if self.life == Life::Booting && self.roster.ready_count() == 0 =>",
        "if self.life == Life::Booting && self.roster.ready_count() == 99 =>",
    ),
    mutant(
        "a stop does not call an upgrade off",
        "shutdown.rs",
        "        self.call_off_upgrade(now, out);\n        self.rollout",
        "        self.rollout",
    ),
    mutant(
        "a stop that is announced does not call an upgrade off",
        "shutdown.rs",
        "        self.call_off_upgrade(now, out);\n        self.release_predecessor(out);\n        self.life = Life::LameDuck",
        "        self.release_predecessor(out);\n        self.life = Life::LameDuck",
    ),
    mutant(
        "a stop that is announced lets the predecessor take back",
        "shutdown.rs",
        "        self.release_predecessor(out);\n        self.life = Life::LameDuck",
        "        self.life = Life::LameDuck",
    ),
    mutant(
        "a stop that is announced never begins",
        "shutdown.rs",
        "Life::LameDuck { until } if until <= now => self.stop(now, out),",
        "Life::LameDuck { until } if until <= now => {}",
    ),
    mutant(
        "a lame duck replaces nobody",
        "master.rs",
        "(Life::Booting | Life::Serving | Life::LameDuck { .. }, _) => self.target,",
        "(Life::LameDuck { .. }, _) => 0,\n            (Life::Booting | Life::Serving, _) => self.target,",
    ),
    mutant(
        "a lame duck whose workers crash gives up",
        "shutdown.rs",
        "if matches!(self.life, Life::LameDuck { .. }) {\n            out.push(Action::Log(Notice::StopHurried",
        "if false {\n            out.push(Action::Log(Notice::StopHurried",
    ),
    mutant(
        "a worker that keeps its slot is not told of new queues",
        "queues.rs",
        "if self.told(pid) != Some(&intake) {",
        "if self.told(pid).is_none() {",
    ),
    mutant(
        "the old worker drains before the new one has its queues",
        "master.rs",
        "        self.assign_queues(out);\n        self.retire_replaced(now, out);\n",
        "        self.retire_replaced(now, out);\n        self.assign_queues(out);\n",
    ),
    mutant(
        "a second replacement is forked while the first one starts",
        "rollout.rs",
        " || self.roster.is_replacing() || stays_on",
        " || stays_on",
    ),
    mutant(
        "one that had been serving gives up after a crash loop",
        "supervise.rs",
        "if self.throttle.trust() == Trust::Unproven && self.may_give_up() {",
        "if self.may_give_up() {",
    ),
    mutant(
        "nobody waits for the last worker",
        "master.rs",
        "if !self.roster.is_empty() {\n            return;\n        }\n        let ended",
        "let ended",
    ),
    mutant(
        "a drain deadline is over one moment too late",
        "worker.rs",
        "Phase::Finishing { deadline } | Phase::Draining { deadline, .. } if deadline <= now => {",
        "Phase::Finishing { deadline } | Phase::Draining { deadline, .. } if deadline < now => {",
    ),
    mutant(
        "a slot may be tried again one moment too late",
        "throttle.rs",
        "is_none_or(|delay| delay.retry_at <= now)",
        "is_none_or(|delay| delay.retry_at < now)",
    ),
    mutant(
        "a drain is not told again when its heir changes",
        "heirs.rs",
        "(told != bequest).then_some(deadline)",
        "(told != bequest).then_some(deadline).filter(|_| false)",
    ),
    mutant(
        "the relay stays shut when a generation serves again",
        "heirs.rs",
        "            out.push(Action::OpenRelay);\n",
        "",
    ),
    mutant(
        "a postponed upgrade is forgotten",
        "rollout.rs",
        "Some(Command::Upgrade) => self.begin_upgrade(out),",
        "Some(Command::Upgrade) => {}",
    ),
    mutant(
        "a process that is stopped counts as hanging",
        "pulse/turns.rs",
        "known.turn != sample.turn || sample.stopped",
        "known.turn != sample.turn",
    ),
    mutant(
        "a turn is remembered that nobody looks at any more",
        "pulse/turns.rs",
        "self.stands.retain(",
        "self.stands.clone().retain(",
    ),
    mutant(
        "whoever hangs is left alone",
        "pulse/turns.rs",
        "self.pulse.turns.late(|stand| stand.hangs_at, now).collect();",
        "self.pulse.turns.late(|stand| stand.hangs_at, now).take(0).collect();",
    ),
    mutant(
        "a job server goes together with the workers",
        "companion.rs",
        "Self::Jobs | Self::Admin => Turn::Last",
        "Self::Jobs | Self::Admin => Turn::Worker",
    ),
    mutant(
        "a sidecar goes together with the workers",
        "companion.rs",
        "Self::Sidecar => Turn::Sidecar",
        "Self::Sidecar => Turn::Worker",
    ),
    mutant(
        "newcomers are kept out beside another generation",
        "shutdown.rs",
        "Lineage::First | Lineage::Heir | Lineage::Alone => self.upgrade == Upgrade::Idle,",
        "Lineage::First | Lineage::Heir | Lineage::Alone => true,",
    ),
    mutant("READY is said before the companions are", "master.rs", "|| !self.companions_are_ready() {", "|| false {"),
];
