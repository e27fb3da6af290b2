use super::*;
use crate::event::{Ending, Event};
use crate::pulse::Sample;
use crate::testing::{NOW, ready, says, serving, short};
use crate::wire::worker::WorkerSays;

const MINUTE: Duration = Duration::from_secs(60);

fn resident(pid: i32, mib: u64) -> Sample {
    Sample { pid: Pid(pid), open: 0, accepted: 0, turn: 0, stopped: false, resident: Some(mib << 20) }
}

/// Two workers that have become ready now, with a lifetime of ten minutes.
fn mortal() -> Master {
    let mut master = serving(2);
    master.policy.max_lifetime = 10 * MINUTE;
    for pid in [1, 2] {
        master.begin_age(Pid(pid), NOW);
    }
    master
}

#[test]
fn the_old_are_replaced_one_after_the_other() {
    let mut master = mortal();
    assert_eq!(master.deadline(), Some(NOW + 10 * MINUTE));
    let at = NOW + 11 * MINUTE;
    assert_eq!(short(&master.step(at, Event::Tick)), "TooOld, TooOld, RecycleBegun, fork 0");
    drop(master.step(at, Event::Spawned { slot: Slot(0), pid: Pid(3) }));
    let news = short(&master.step(at, says(3, ready())));
    assert!(news.contains("1: drain to own") && news.ends_with("RecycleBegun, fork 1"), "{news}");
}

#[test]
fn slots_come_of_age_at_different_times() {
    let ages: Vec<Duration> = (0..8).map(|slot| extra(Slot(slot), MINUTE)).collect();
    assert!(ages.iter().all(|age| *age <= MINUTE), "{ages:?}");
    let mut sorted = ages.clone();
    sorted.sort_unstable();
    let nearest = sorted.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
    assert!(nearest > Duration::from_secs(2), "{sorted:?}");
}

#[test]
fn the_large_are_replaced() {
    let mut master = serving(2);
    master.policy.max_memory = 100 << 20;
    drop(master.step(NOW, Event::Tick));
    let weighed = |a, b| Event::Sampled(vec![resident(1, a), resident(2, b)]);
    assert_eq!(short(&master.step(NOW, weighed(99, 100))), "");
    assert_eq!(short(&master.step(NOW, weighed(99, 101))), "TooLarge, RecycleBegun, fork 1");
    assert_eq!(short(&master.step(NOW, weighed(99, 102))), "", "that is known");
}

#[test]
fn nobody_is_replaced_again_and_again_by_what_does_not_boot() {
    let mut master = mortal();
    master.policy.max_memory = 100 << 20;
    let at = NOW + 10 * MINUTE;
    assert_eq!(short(&master.step(at, Event::Tick)), "TooOld, RecycleBegun, fork 0");
    drop(master.step(at, Event::Spawned { slot: Slot(0), pid: Pid(3) }));
    let failed = short(&master.step(at, says(3, WorkerSays::BootFailed { text: String::new() })));
    assert!(failed.contains("RecycleFailed") && !failed.contains("fork"), "{failed}");
    drop(master.step(at, Event::Exited { pid: Pid(3), ending: Ending::Code(1) }));
    let soon = at + Duration::from_secs(29);
    assert_eq!(short(&master.step(soon, Event::Sampled(vec![resident(1, 200), resident(2, 200)]))), "");
    let later = at + Duration::from_secs(30);
    let again = short(&master.step(later, Event::Sampled(vec![resident(1, 200), resident(2, 50)])));
    assert!(again.contains("RecycleBegun, fork 0"), "{again}");
}
