use super::*;
use crate::event::{Command, Ending, Event};
use crate::ids::Slot;
use crate::testing::{NOW, ready, says, serving, short};
use crate::wire::worker::WorkerSays;

/// Workers 1 and 2 on listener 0; a reload asks for another one in its place, and 3 is forked.
fn moving() -> Master {
    let mut master = serving(2);
    drop(master.step(NOW, Event::Command(Command::Reload)));
    let listeners = Some(Revision { counts: vec![1, 1], retired: BTreeSet::from([0]) });
    let policy = master.policy().clone();
    assert_eq!(short(&master.step(NOW, Event::Settings { policy, listeners })), "fork 0");
    assert_eq!(short(&master.step(NOW, Event::Spawned { slot: Slot(0), pid: Pid(3) })), "");
    master
}

/// What a worker was told to accept from, by the listener.
fn accepts(master: &Master, pid: i32) -> Vec<u16> {
    let told = master.queues.told(Pid(pid)).map(|intake| intake.queues.clone()).unwrap_or_default();
    told.iter().map(|queue| queue.listener).collect()
}

#[test]
fn new_workers_accept_from_what_was_added_and_old_ones_from_what_was_retired() {
    let mut master = moving();
    assert_eq!((accepts(&master, 1), accepts(&master, 2)), (vec![0], vec![0]));
    let steps = short(&master.step(NOW, says(3, ready())));
    assert!(steps.contains("3: 1 queues") && steps.contains("1: drain"), "{steps}");
    assert_eq!((accepts(&master, 2), accepts(&master, 3)), (vec![0], vec![1]));
}

#[test]
fn the_last_worker_on_a_retired_listener_stays_until_it_is_closed() {
    let mut master = moving();
    drop(master.step(NOW, says(3, ready())));
    drop(master.step(NOW, Event::Spawned { slot: Slot(1), pid: Pid(4) }));
    let steps = short(&master.step(NOW, says(4, ready())));
    assert!(steps.contains("close [0]") && !steps.contains("2: drain"), "{steps}");
    assert_eq!(short(&master.step(NOW, Event::Tick)), "", "it is asked for once");
    let steps = short(&master.step(NOW, Event::ListenersClosed { listeners: vec![0] }));
    assert!(steps.contains("2: drain") && steps.ends_with("ReloadDone"), "{steps}");
    assert_eq!(master.queues.counts(), [0, 1]);
}

#[test]
fn what_was_added_is_closed_again_when_its_roll_out_fails() {
    let mut master = moving();
    let failed = says(3, WorkerSays::BootFailed { text: String::new() });
    let steps = short(&master.step(NOW, failed));
    assert!(steps.contains("ReloadFailed") && steps.ends_with("close [1]"), "{steps}");
    assert_eq!((accepts(&master, 1), accepts(&master, 2)), (vec![0], vec![0]), "the old ones serve on");
    drop(master.step(NOW, Event::ListenersClosed { listeners: vec![1] }));
    // A worker that has to be replaced now lacks the retired one: the other one still has it.
    drop(master.step(NOW, Event::Exited { pid: Pid(3), ending: Ending::Code(1) }));
    drop(master.step(NOW, Event::Exited { pid: Pid(1), ending: Ending::Signal(11) }));
    assert_eq!(accepts(&master, 2), [0]);
    assert_eq!(master.queues.counts(), [1, 0]);
}

#[test]
fn a_listener_that_is_asked_for_again_stays() {
    let mut master = moving();
    drop(master.step(NOW, says(3, WorkerSays::BootFailed { text: String::new() })));
    drop(master.step(NOW, Event::Exited { pid: Pid(3), ending: Ending::Code(1) }));
    drop(master.step(NOW, Event::Command(Command::Reload)));
    let listeners = Some(Revision { counts: vec![1, 1], retired: BTreeSet::from([1]) });
    let policy = master.policy().clone();
    drop(master.step(NOW, Event::Settings { policy, listeners }));
    drop(master.step(NOW, Event::Spawned { slot: Slot(0), pid: Pid(4) }));
    drop(master.step(NOW, says(4, ready())));
    assert_eq!(accepts(&master, 4), [0]);
}

#[test]
fn what_is_being_closed_and_asked_for_again_is_served() {
    let mut master = moving();
    let steps = short(&master.step(NOW, says(3, WorkerSays::BootFailed { text: String::new() })));
    assert!(steps.ends_with("close [1]"), "{steps}");
    drop(master.step(NOW, Event::Exited { pid: Pid(3), ending: Ending::Code(1) }));
    // The same settings once more, before the driver has closed it: it does not any more.
    drop(master.step(NOW, Event::Command(Command::Reload)));
    let policy = master.policy().clone();
    drop(master.step(NOW, Event::Settings { policy, listeners: None }));
    drop(master.step(NOW, Event::Spawned { slot: Slot(0), pid: Pid(4) }));
    let steps = short(&master.step(NOW, says(4, ready())));
    assert!(!steps.contains("close [1]"), "{steps}");
    assert_eq!(accepts(&master, 4), [1]);
    // And if that fails as well, it is closed after all.
    drop(master.step(NOW, Event::Spawned { slot: Slot(1), pid: Pid(5) }));
    drop(master.step(NOW, Event::Exited { pid: Pid(4), ending: Ending::Signal(11) }));
    let steps = short(&master.step(NOW, says(5, WorkerSays::BootFailed { text: String::new() })));
    assert!(steps.ends_with("close [1]"), "{steps}");
}
