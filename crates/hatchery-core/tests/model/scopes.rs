//! What is explored: on every run, and where there is time.

use std::time::Duration;

use hatchery_core::{Command, CompanionKind, Slot};

use crate::choice::Deed;
use crate::scope::{Budget, Looks, Scope};

const SECOND: Duration = Duration::from_secs(1);

const NOTHING: Budget = Budget { commands: 0, crashes: 0, deaths: 0, refusals: 0, recycles: 0, moods: 0, delays: 0 };

const NO_LOOKS: Looks =
    Looks { balance: false, heartbeat: Duration::ZERO, lifetime: Duration::ZERO, memory: false, idle: None };

/// The heartbeat is a multiple of a second, so that looks and deadlines meet.
const HEARTBEAT: Looks = Looks { heartbeat: Duration::from_secs(4), ..NO_LOOKS };

const ALONE: &[Command] = &[
    Command::Stop,
    Command::Reload,
    Command::Rest,
    Command::More,
    Command::Fewer,
    Command::Scale(2),
    Command::Recycle(Slot(0)),
];

const STOPS: &[Command] = &[Command::Stop, Command::StopAtOnce, Command::Reload, Command::Rest, Command::Scale(2)];

/// A multiple of a second, as the other deadlines are; longer than a probation.
const ANNOUNCED: Duration = Duration::from_secs(3);

const ALL: &[Command] = &[
    Command::Upgrade,
    Command::Stop,
    Command::Reload,
    Command::Rest,
    Command::More,
    Command::Fewer,
    Command::Recycle(Slot(0)),
];

const HANGS: &[Deed] = &[Deed::Stand, Deed::Halt, Deed::Turn];

/// What the others differ from.
const ONE: Scope = Scope {
    name: "",
    workers: 1,
    queues: &[1],
    companions: &[],
    looks: NO_LOOKS,
    stop_delay: Duration::ZERO,
    drain: Duration::from_secs(3),
    probation: Duration::from_secs(2),
    crash_limit: 2,
    commands: ALL,
    moods: &[],
    revises: false,
    masters: 2,
    budget: NOTHING,
};

const BOTH: &[CompanionKind] = &[CompanionKind::Jobs, CompanionKind::Sidecar];

/// Half a minute of one processor, with optimisation. The smaller ones first: what is wrong shows sooner.
pub(crate) const EVERY_RUN: &[Scope] = &[
    Scope {
        name: "upgrade, two deaths and delays",
        budget: Budget { commands: 1, deaths: 2, delays: 2, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "listeners that come and go",
        workers: 2,
        commands: ALONE,
        revises: true,
        budget: Budget { commands: 2, crashes: 1, refusals: 1, recycles: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "listeners that come and go, and an upgrade",
        revises: true,
        budget: Budget { commands: 2, crashes: 1, deaths: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "a stop that is announced",
        companions: &[CompanionKind::Jobs],
        stop_delay: ANNOUNCED,
        commands: STOPS,
        budget: Budget { commands: 2, crashes: 1, recycles: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "a stop that is announced to workers that crash",
        stop_delay: ANNOUNCED,
        commands: STOPS,
        crash_limit: 1,
        budget: Budget { commands: 2, crashes: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "a stop that is announced, and an upgrade",
        stop_delay: ANNOUNCED,
        commands: &[Command::Upgrade, Command::Stop],
        budget: Budget { commands: 2, deaths: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "hanging with a job server",
        companions: &[CompanionKind::Jobs],
        looks: HEARTBEAT,
        moods: HANGS,
        commands: ALONE,
        budget: Budget { commands: 1, moods: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "old",
        companions: &[CompanionKind::Sidecar],
        looks: Looks { lifetime: Duration::from_secs(4), ..NO_LOOKS },
        budget: Budget { crashes: 1, delays: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "companions",
        companions: BOTH,
        budget: Budget { commands: 1, crashes: 1, deaths: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "upgrade of three",
        workers: 3,
        budget: Budget { commands: 1, crashes: 1, deaths: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "a job server, slow",
        companions: &[CompanionKind::Jobs],
        commands: ALONE,
        budget: Budget { commands: 1, crashes: 1, delays: 2, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "no drain, no probation",
        drain: Duration::ZERO,
        probation: Duration::ZERO,
        budget: Budget { commands: 2, crashes: 1, deaths: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "upgrade, recycled",
        workers: 2,
        budget: Budget { commands: 1, crashes: 1, recycles: 1, ..NOTHING },
        ..ONE
    },
    Scope { name: "upgrade, three commands", budget: Budget { commands: 3, ..NOTHING }, ..ONE },
    Scope {
        name: "one generation, slow",
        workers: 2,
        commands: ALONE,
        budget: Budget { commands: 1, crashes: 1, refusals: 1, delays: 2, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "three masters",
        masters: 3,
        budget: Budget { commands: 2, crashes: 1, deaths: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "a queue for each of three",
        workers: 3,
        queues: &[3],
        budget: Budget { commands: 1, crashes: 1, refusals: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "idle",
        looks: Looks { idle: Some(Duration::from_secs(5)), ..NO_LOOKS },
        budget: Budget { commands: 2, crashes: 1, deaths: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "large",
        workers: 2,
        looks: Looks { memory: true, ..NO_LOOKS },
        moods: &[Deed::Grow],
        budget: Budget { commands: 1, crashes: 1, moods: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "upgrade, two commands",
        budget: Budget { commands: 2, crashes: 1, deaths: 1, refusals: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "a queue for each, blocked",
        workers: 2,
        queues: &[2],
        moods: HANGS,
        commands: ALONE,
        budget: Budget { commands: 1, moods: 2, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "hanging",
        looks: HEARTBEAT,
        moods: HANGS,
        budget: Budget { commands: 1, crashes: 1, moods: 1, delays: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "balance",
        workers: 2,
        looks: Looks { balance: true, ..NO_LOOKS },
        moods: &[Deed::Crowd],
        commands: ALONE,
        budget: Budget { commands: 1, crashes: 1, moods: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "one generation of three",
        workers: 3,
        commands: ALONE,
        budget: Budget { commands: 1, crashes: 1, refusals: 1, recycles: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "upgrade, refusals and delays",
        workers: 2,
        budget: Budget { commands: 1, crashes: 1, deaths: 1, refusals: 1, delays: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "one generation, two commands",
        workers: 2,
        commands: ALONE,
        budget: Budget { commands: 2, crashes: 1, recycles: 1, ..NOTHING },
        ..ONE
    },
];

/// Some minutes.
pub(crate) const LARGE: &[Scope] = &[
    Scope {
        name: "one generation of three, slow",
        workers: 3,
        commands: ALONE,
        budget: Budget { commands: 1, crashes: 1, refusals: 1, recycles: 1, delays: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "one generation of three, two crashes",
        workers: 3,
        commands: ALONE,
        budget: Budget { commands: 2, crashes: 2, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "upgrade of three, delays",
        workers: 3,
        budget: Budget { commands: 1, crashes: 1, deaths: 1, delays: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "upgrade of two, two commands",
        workers: 2,
        budget: Budget { commands: 2, crashes: 2, deaths: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "upgrade, two commands and delays",
        budget: Budget { commands: 2, crashes: 1, deaths: 1, refusals: 1, delays: 1, ..NOTHING },
        ..ONE
    },
    Scope { name: "upgrade, three commands and a crash", budget: Budget { commands: 3, crashes: 1, ..NOTHING }, ..ONE },
    Scope {
        name: "upgrade, two crashes, two deaths, delays",
        budget: Budget { commands: 1, crashes: 2, deaths: 2, refusals: 1, delays: 2, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "three masters of two",
        workers: 2,
        masters: 3,
        budget: Budget { commands: 2, crashes: 1, deaths: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "companions, slow",
        companions: BOTH,
        budget: Budget { commands: 1, crashes: 1, deaths: 1, delays: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "hanging, and a death",
        workers: 2,
        looks: HEARTBEAT,
        moods: HANGS,
        budget: Budget { commands: 1, crashes: 1, deaths: 1, moods: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "hanging with companions",
        companions: BOTH,
        looks: HEARTBEAT,
        moods: HANGS,
        budget: Budget { commands: 1, crashes: 1, moods: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "a queue for each, blocked, and a crash",
        workers: 2,
        queues: &[3],
        moods: HANGS,
        commands: ALONE,
        budget: Budget { commands: 1, crashes: 1, moods: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "old, and a command",
        looks: Looks { lifetime: Duration::from_secs(4), ..NO_LOOKS },
        commands: ALONE,
        budget: Budget { commands: 1, crashes: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "idle with companions",
        workers: 2,
        companions: BOTH,
        looks: Looks { idle: Some(Duration::from_secs(5)), ..NO_LOOKS },
        budget: Budget { commands: 1, crashes: 1, delays: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "no drain, no probation, slow",
        drain: Duration::ZERO,
        probation: Duration::ZERO,
        budget: Budget { commands: 2, crashes: 2, deaths: 1, delays: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "a stop that is announced, whatever else goes on",
        workers: 2,
        stop_delay: ANNOUNCED,
        budget: Budget { commands: 2, crashes: 1, deaths: 1, delays: 1, ..NOTHING },
        ..ONE
    },
    Scope {
        name: "a short probation",
        probation: SECOND,
        budget: Budget { commands: 2, crashes: 1, deaths: 1, delays: 1, ..NOTHING },
        ..ONE
    },
];
