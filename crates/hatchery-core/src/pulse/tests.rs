use super::*;
use crate::event::Event;
use crate::testing::{NOW, serving, short};

fn sample(pid: i32, open: u64, turn: u64) -> Sample {
    Sample { pid: Pid(pid), open, turn }
}

fn at(millis: u64) -> Moment {
    NOW + Duration::from_millis(millis)
}

/// Workers 1, 2 and 3 with a queue each.
fn divided() -> Master {
    let mut master = serving(3);
    master.listen_mode = ListenMode::Reuseport;
    master.grown = 3;
    master.queues.grow(&[3]);
    drop(master.step(NOW, Event::Tick));
    master
}

/// What the master does about connections that are spread so; every worker is parked.
fn counts(master: &mut Master, millis: u64, opens: &[u64]) -> String {
    let samples = opens.iter().zip(1..).map(|(open, pid)| sample(pid, *open, 0)).collect();
    short(&master.step(at(millis), Event::Sampled(samples)))
}

#[test]
fn a_loop_that_stands_still_is_blocked_until_it_moves() {
    let mut master = divided();
    let turns = |turn| Event::Sampled(vec![sample(1, 0, turn), sample(2, 0, 4), sample(3, 0, 7)]);
    for (millis, turn, said) in [
        (0, 5, ""),
        (100, 5, ""),
        (200, 7, ""),
        // 3 stands in turn 7 since 0.
        (250, 7, "WorkerBlocked, 1: 2 queues"),
        (300, 7, ""),
        (400, 9, ""),
    ] {
        assert_eq!(short(&master.step(at(millis), turns(turn))), said, "{millis} ms");
    }
    let awake = Event::Sampled(vec![sample(1, 0, 9), sample(2, 0, 4), sample(3, 0, 8)]);
    assert_eq!(short(&master.step(at(450), awake)), "WorkerAnswers, 1: 1 queues");
}

#[test]
fn a_master_that_was_stopped_blames_nobody() {
    let mut master = divided();
    let same = || Event::Sampled(vec![sample(1, 0, 5), sample(2, 0, 4), sample(3, 0, 4)]);
    for millis in [0, 100, 60_000, 60_100] {
        assert_eq!(short(&master.step(at(millis), same())), "", "{millis} ms");
    }
    assert_eq!(short(&master.step(at(60_260), same())), "WorkerBlocked, 2: 2 queues");
}

#[test]
fn a_shared_queue_needs_no_watching() {
    let mut master = serving(2);
    for millis in [0, 100, 200, 300, 400] {
        let stuck = Event::Sampled(vec![sample(1, 0, 5), sample(2, 0, 4)]);
        assert_eq!(short(&master.step(at(millis), stuck)), "", "{millis} ms");
    }
}

#[test]
fn the_board_is_looked_at_for_as_long_as_it_matters() {
    let mut master = serving(2);
    drop(master.step(NOW, Event::Tick));
    assert_eq!(master.pulse.deadline(), Some(NOW + ROUND), "it is new that there are two");
    assert_eq!(short(&master.step(NOW + ROUND, Event::Tick)), "sample");
    assert_eq!(master.pulse.deadline(), Some(NOW + ROUND + CALM_ROUND));
    master.policy.balance = false;
    drop(master.step(NOW + CALM_ROUND, Event::Tick));
    assert_eq!(master.pulse.deadline(), None);
    let mut alone = serving(1);
    drop(alone.step(NOW, Event::Tick));
    assert_eq!(alone.pulse.deadline(), None);
}

#[test]
fn connections_are_evened_out_and_then_left_alone() {
    let mut master = serving(4);
    assert_eq!(counts(&mut master, 0, &[400, 0, 0, 0]), "1: 1 queues without the relay, 1: shed 300");
    assert_eq!(master.pulse.deadline(), Some(at(0) + ROUND));
    assert_eq!(counts(&mut master, 100, &[150, 140, 60, 50]), "2: 1 queues without the relay, 1: shed 50, 2: shed 40");
    assert_eq!(counts(&mut master, 200, &[102, 104, 97, 97]), "1: 1 queues, 2: 1 queues, 1: shed 0, 2: shed 0");
    assert_eq!(counts(&mut master, 1200, &[108, 98, 97, 97]), "", "it takes more than that to begin again");
}

#[test]
fn a_difference_that_is_not_clear_moves_nothing() {
    let mut master = serving(2);
    assert_eq!(counts(&mut master, 0, &[9, 1]), "");
    assert_eq!(counts(&mut master, 1000, &[110, 90]), "");
    assert_ne!(counts(&mut master, 2000, &[120, 80]), "");
}

#[test]
fn connections_that_cannot_move_are_let_be() {
    let mut master = serving(2);
    let told = (0..=u64::from(MOST_ROUNDS)).map(|round| counts(&mut master, round * 100, &[100, 0]));
    let told: Vec<String> = told.filter(|said| said.contains("shed 50")).collect();
    assert_eq!(told.len(), MOST_ROUNDS as usize);
    assert_eq!(counts(&mut master, 3000, &[100, 0]), "", "it pauses");
    assert_ne!(counts(&mut master, 40_000, &[100, 0]), "", "and tries again");
}
