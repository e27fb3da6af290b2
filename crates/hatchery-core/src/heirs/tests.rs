use std::collections::BTreeSet;

use super::*;
use crate::event::{Command, Event};
use crate::ids::Slot;
use crate::takes::Service;
use crate::testing::{NOW, add, ready, says, serving, short, takes};
use crate::upgrade::{Link, Upgrade};
use crate::wire::upgrade::SuccessorSays;
use crate::wire::worker::WorkerSays;

/// Workers 1 and 2; 3 was replaced, and drains into the relay of its generation.
fn one_drains() -> Master {
    let mut master = serving(2);
    let bequest = Bequest { heir: Some(Whose::Own), last: false };
    let deadline = NOW + master.policy.drain_timeout;
    add(&mut master, 3, 0, Phase::Draining { deadline, bequest });
    master
}

#[test]
fn a_stop_overtakes_a_drain() {
    let mut master = one_drains();
    let actions = master.step(NOW, Event::Command(Command::Stop));
    assert_eq!(short(&actions), "StopBegun, 1: finish, 2: finish, 3: drain as last");
}

#[test]
fn an_upgrade_overtakes_a_drain_and_a_take_back_overtakes_both() {
    let mut master = one_drains();
    master.upgrade =
        Upgrade::Preparing { successor: Pid(9), deadline: NOW + master.policy.boot_timeout, link: Link::Open };
    assert!(short(&master.step(NOW, Event::Successor(SuccessorSays::Ready { takes: takes() }))).ends_with("COMMIT 0"));
    assert_eq!(
        short(&master.step(NOW, Event::Successor(SuccessorSays::Taken))),
        "UpgradeDone, 1: refuge, 2: refuge, 1: 0 queues, 2: 0 queues, 3: drain to successor"
    );
    assert_eq!(
        short(&master.step(NOW + master.policy.probation, Event::Tick)),
        "Retiring, 1: drain to successor as last, 2: drain to successor as last, shut relay, \
         3: drain to successor as last"
    );
    let died = Event::Exited { pid: Pid(9), ending: crate::Ending::Signal(9) };
    assert_eq!(
        short(&master.step(NOW + master.policy.probation, died)),
        "open relay, close link, pid file back, TakenBack, fork 0, fork 1, \
         1: drain to own, 2: drain to own, 3: drain to own"
    );
}

#[test]
fn what_one_worker_does_not_take_nobody_is_sent() {
    let mut master = serving(1);
    let other = Service { listener: "127.0.0.1:80".to_owned(), name: "counter".to_owned(), state: 1 };
    master.target = 2;
    master.roster.forking(Slot(1), BTreeSet::new());
    drop(master.step(NOW, Event::Spawned { slot: Slot(1), pid: Pid(2) }));
    drop(master.step(NOW, says(2, WorkerSays::Ready { takes: Takes::these([other]) })));
    assert!(master.kin.own.services().next().is_none());
}

#[test]
fn a_successor_that_takes_nothing_is_no_heir() {
    let mut master = serving(1);
    master.upgrade = Upgrade::Probation { successor: Pid(9), until: NOW };
    assert_eq!(short(&master.step(NOW, Event::Tick)), "Retiring, 1: drain as last, shut relay");
}

#[test]
fn a_worker_of_a_successor_can_flee_to_the_predecessor_while_that_can_take_back() {
    let mut master = serving(1);
    master.kin.predecessor = takes();
    master.lineage = Lineage::Backed { older: 0 };
    master.target = 2;
    master.roster.forking(Slot(1), BTreeSet::new());
    drop(master.step(NOW, Event::Spawned { slot: Slot(1), pid: Pid(2) }));
    assert_eq!(short(&master.step(NOW, says(2, ready()))), "WorkerReady, 2: refuge, 2: 1 queues");
    drop(master.step(NOW, Event::PredecessorLinkClosed));
    assert_eq!(master.refuge(), None);
}
