use super::balance::MOST_ROUNDS;
use super::*;
use crate::event::Event;
use crate::testing::{NOW, serving, short};

fn sample(pid: i32, open: u64, turn: u64) -> Sample {
    Sample { pid: Pid(pid), open, accepted: open, turn, stopped: false, resident: None }
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
        (200, 7, "3: ask"),
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
fn a_worker_that_is_stopped_is_not_blamed() {
    let mut master = divided();
    let same = |stopped| Event::Sampled(vec![sample(1, 0, 5), Sample { stopped, ..sample(2, 0, 7) }, sample(3, 0, 4)]);
    for (millis, stopped, said) in [
        (0, false, ""),
        (200, true, ""),
        (260, true, "WorkerBlocked, 3: 2 queues"),
        (500, true, ""),
        (700, false, ""),
        (760, false, "WorkerBlocked, WorkerAnswers"),
    ] {
        let said_now = short(&master.step(at(millis), same(stopped)));
        assert_eq!(said_now.contains("Blocked"), said.contains("Blocked"), "{millis} ms: {said_now}");
    }
}

/// Two workers, and a limit of a second for their loops.
fn watched() -> Master {
    let mut master = serving(2);
    master.policy.heartbeat_timeout = Duration::from_secs(1);
    drop(master.step(NOW, Event::Tick));
    master
}

#[test]
fn a_loop_that_hangs_is_aborted_and_replaced_at_once() {
    let mut master = watched();
    let turns = |one| Event::Sampled(vec![sample(1, 3, one), sample(2, 3, 4)]);
    // Half of the time is over: it is asked, once.
    for (millis, said) in [(0, ""), (250, ""), (500, "1: ask"), (750, ""), (999, "")] {
        assert_eq!(short(&master.step(at(millis), turns(7))), said, "{millis} ms");
    }
    assert_eq!(short(&master.step(at(1000), turns(7))), "WorkerHung, abort 1, fork 0");
    let phase = |master: &Master, pid| master.roster.iter().find(|w| w.pid == Pid(pid)).map(|w| w.phase);
    assert_eq!(phase(&master, 1), Some(Phase::Blocked { deadline: at(6000) }));
    // It is asked once; what it has to say must not take for ever.
    assert_eq!(short(&master.step(at(2000), turns(7))), "");
    drop(master.step(at(2000), Event::Spawned { slot: Slot(0), pid: Pid(3) }));
    assert_eq!(short(&master.step(at(6000), Event::Tick)), "kill 1, sample");
    let exit = Event::Exited { pid: Pid(1), ending: crate::Ending::Signal(9) };
    assert_eq!(short(&master.step(at(6001), exit)), "WorkerExited");
}

#[test]
fn a_loop_that_never_waits_answers_when_it_is_asked() {
    let mut master = watched();
    let mut turn = 7;
    for look in 0..40 {
        let said = short(&master.step(at(look * 250), Event::Sampled(vec![sample(1, 3, turn), sample(2, 3, 4)])));
        assert!(said.is_empty() || said == "1: ask", "{said}");
        turn += if said.is_empty() { 0 } else { 2 };
    }
    assert!(turn > 20, "it was asked again and again");
}

#[test]
fn a_loop_that_turns_or_is_stopped_does_not_hang() {
    let mut master = watched();
    for second in 0..20 {
        let stopped = Sample { stopped: true, ..sample(2, 1, 9) };
        let samples = Event::Sampled(vec![sample(1, 1, 2 * second + 1), stopped]);
        assert_eq!(short(&master.step(at(second * 1000), samples)), "", "{second} s");
    }
    let mut off = serving(2);
    for second in 0..200 {
        let stuck = Event::Sampled(vec![sample(1, 1, 7), sample(2, 1, 8)]);
        assert_eq!(short(&off.step(at(second * 1000), stuck)), "", "{second} s without a limit");
    }
}

#[test]
fn one_look_a_second_is_enough_while_nobody_works() {
    let mut master = divided();
    master.policy.heartbeat_timeout = Duration::from_secs(30);
    let parked = |turn| Event::Sampled(vec![sample(1, 5, turn), sample(2, 5, turn), sample(3, 5, turn)]);
    drop(master.step(at(0), parked(0)));
    assert_eq!(master.pulse.deadline(), Some(at(0) + CALM_ROUND));
    // Looks at idle connections.
    drop(master.step(at(1000), parked(2)));
    assert_eq!(master.pulse.deadline(), Some(at(1000) + CALM_ROUND));
    drop(master.step(at(2000), parked(40)));
    assert_eq!(master.pulse.deadline(), Some(at(2000) + GLANCE), "there was work");
    drop(master.step(at(2125), Event::Sampled(vec![sample(1, 5, 41), sample(2, 5, 40), sample(3, 5, 40)])));
    assert_eq!(master.pulse.deadline(), Some(at(2125) + CLOSE_LOOK), "there is work");
    drop(master.step(at(7500), parked(42)));
    assert_eq!(master.pulse.deadline(), Some(at(7500) + CALM_ROUND), "that was long ago");
}

#[test]
fn when_nobody_comes_everything_is_let_go() {
    let mut master = serving(1);
    master.policy.idle_timeout = Some(Duration::from_secs(10));
    drop(master.step(NOW, Event::Tick));
    let look = |open, accepted| Event::Sampled(vec![Sample { accepted, ..sample(1, open, 0) }]);
    for (seconds, open, accepted, said) in [
        (0, 0, 0, ""),
        (9, 1, 1, ""),
        (18, 1, 1, ""),
        // Somebody came and went in between.
        (20, 0, 2, ""),
        (29, 0, 2, ""),
        (30, 0, 2, "Dozing, 1: drain as last, shut relay"),
    ] {
        assert_eq!(short(&master.step(at(seconds * 1000), look(open, accepted))), said, "{seconds} s");
    }
    let mut woken = master.clone();
    assert_eq!(
        short(&woken.step(at(30_001), Event::Knocked)),
        "Woken, open relay, fork 0, 1: drain to own",
        "somebody is there after all"
    );
    let mut asked = master.clone();
    let said = short(&asked.step(at(30_001), Event::Command(crate::Command::Upgrade)));
    assert_eq!(said, "Woken, open relay, UpgradeBegun, start successor, fork 0, 1: drain to own");
    assert_eq!(short(&master.step(at(30_000), Event::Command(crate::Command::Rest))), "Refused");
    let exit = Event::Exited { pid: Pid(1), ending: crate::Ending::Code(0) };
    assert_eq!(short(&master.step(at(30_100), exit)), "WorkerExited, sleep");
}

#[test]
fn a_worker_that_is_new_is_nobody() {
    let mut master = serving(1);
    master.policy.idle_timeout = Some(Duration::from_secs(10));
    drop(master.step(at(0), Event::Sampled(vec![Sample { accepted: 7, ..sample(1, 0, 0) }])));
    master.roster.reaped(Pid(1));
    crate::testing::add(&mut master, 2, 0, Phase::Ready(crate::worker::Standing::Steady));
    drop(master.step(at(5000), Event::Sampled(vec![sample(2, 0, 0)])));
    let said = short(&master.step(at(10_000), Event::Sampled(vec![sample(2, 0, 0)])));
    assert!(said.starts_with("Dozing"), "{said}");
    // Woken by somebody whom the next worker has not accepted yet.
    drop(master.step(at(10_001), Event::Knocked));
    drop(master.step(at(10_001), Event::Spawned { slot: Slot(0), pid: Pid(3) }));
    drop(master.step(at(10_002), crate::testing::says(3, crate::testing::ready())));
    drop(master.step(at(10_003), Event::Sampled(vec![sample(3, 0, 0)])));
    assert_eq!(master.life, Life::Serving);
}

#[test]
fn a_stop_comes_before_sleep() {
    let mut master = serving(1);
    master.policy.idle_timeout = Some(Duration::from_secs(10));
    drop(master.step(at(0), Event::Sampled(vec![sample(1, 0, 0)])));
    drop(master.step(at(10_000), Event::Sampled(vec![sample(1, 0, 0)])));
    assert_eq!(master.life, Life::Dozing);
    assert_eq!(short(&master.step(at(10_000), Event::Command(crate::Command::Stop))), "StopBegun, bar");
    let exit = Event::Exited { pid: Pid(1), ending: crate::Ending::Code(0) };
    assert_eq!(short(&master.step(at(10_100), exit)), "WorkerExited, shut, Stopped, exit 0");
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

#[test]
fn connections_that_move_one_at_a_time_are_evened_out_to_the_end() {
    let mut master = serving(3);
    let rounds = 3 * u64::from(MOST_ROUNDS);
    for moved in 0..rounds {
        let said = counts(&mut master, moved * 100, &[90 - moved, moved / 2, moved - moved / 2]);
        let order = format!("1: shed {}", 60 - moved);
        assert_eq!(said.contains(&order), moved < 59, "round {moved}: {said}");
    }
}

#[test]
fn a_pause_is_over_when_the_workers_are_others() {
    let paused = || {
        let mut master = serving(3);
        for round in 0..=u64::from(MOST_ROUNDS) {
            counts(&mut master, round * 100, &[57, 2, 31]);
        }
        assert_eq!(counts(&mut master, 3000, &[0, 59, 31]), "", "it pauses");
        master
    };
    // 1 was replaced by 4, which has got none of its connections.
    let mut master = paused();
    master.roster.reaped(Pid(1));
    crate::testing::add(&mut master, 4, 0, Phase::Ready(crate::worker::Standing::Steady));
    let look = Event::Sampled(vec![sample(2, 59, 0), sample(3, 31, 0), sample(4, 0, 0)]);
    let said = short(&master.step(at(3000), look));
    assert!(said.contains("2: shed 29"), "{said}");
    // 4 has come in addition.
    let mut master = paused();
    crate::testing::add(&mut master, 4, 3, Phase::Ready(crate::worker::Standing::Steady));
    let said = counts(&mut master, 3000, &[0, 59, 31, 0]);
    assert!(said.contains("2: shed 36"), "{said}");
}
