//! Several users at one control socket: whom the mode lets in, and that nobody keeps others out.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use hatchery_control::{MasterState, Request};
use hatchery_tests::stranger::{Strangers, can_be};
use hatchery_tests::{Lab, Start, wait};

const ALICE: (u32, u32) = (12_345, 12_345);
const BOB: (u32, u32) = (23_456, 23_456);

fn everybodys() -> Lab {
    let lab = Start::lab().controlled().set("control-mode", "0666").ready();
    lab.open_folder();
    lab
}

fn strangers(lab: &Lab, who: (u32, u32), count: usize, request: Option<&Request>) -> Strangers {
    lab.strangers(env!("CARGO_BIN_EXE_stranger"), who, count, request)
}

#[test]
fn who_holds_every_place_makes_room_for_others() {
    if !can_be() {
        return;
    }
    let lab = everybodys();
    // Of the first crowd there are as many as strangers may be; the second one is served all the same.
    let alice = strangers(&lab, ALICE, 200, None);
    alice.until_heard("another client needs the place: user 12345 has the most; ask again", 200 - 48);
    let bob = strangers(&lab, BOB, 8, Some(&Request::Status));
    bob.until_heard("\"reply\":\"status\"", 8);
    alice.until_heard("another client needs the place", 200 - 40);
    assert_eq!(bob.count("another client"), 0);
    // Those who have fewer keep what they have, whoever else comes.
    let more = strangers(&lab, ALICE, 100, Some(&Request::Status));
    more.until_heard("\"reply\":\"status\"", 100);
    assert_eq!(bob.count("another client"), 0);
    assert_eq!(lab.status().workers.len(), 2);
    lab.stop();
}

#[test]
fn who_waits_for_everything_that_can_be_waited_for_keeps_nobody_out() {
    if !can_be() {
        return;
    }
    let lab = Start::lab().controlled().set("control-mode", "0666").set("drain-timeout", "120s").ready();
    lab.open_folder();
    let mut slow = lab.in_the_middle();
    let stop = Request::Stop { wait: true };
    let alice = strangers(&lab, ALICE, 70, Some(&stop));
    alice.until_heard("stop refused: user 12345 waits for 12 operations already; end one, or ask without waiting", 1);
    let bob = strangers(&lab, BOB, 13, Some(&stop));
    bob.until_heard("stop refused: user 23456 waits for 12 operations already", 1);
    let carol = strangers(&lab, (3, 3), 1, Some(&stop));
    carol.until_heard("24 clients of other users than root and the server's own wait already", 1);
    // Asking takes no place from anybody, and root has its own.
    for who in [ALICE, BOB, (3, 3), (4, 4)] {
        strangers(&lab, who, 1, Some(&Request::Status)).until_heard("\"reply\":\"status\"", 1);
        strangers(&lab, who, 1, Some(&Request::Stop { wait: false })).until_heard("it stops already", 1);
    }
    assert_eq!(lab.status().state, MasterState::Draining);
    let root: Vec<_> = (0..12).map(|_| lab.asks(stop.clone())).collect();
    lab.until("so many wait that one more may not", || lab.log().matches("user 0 (pid ").count() >= 12);
    let told = lab.ask(&stop);
    assert!(told.failed().1.contains("user 0 waits for 12 operations already"), "{told:?}");
    assert_eq!(lab.status().state, MasterState::Draining);
    slow.send("end").expect("it is read");
    assert_eq!(slow.answer().expect("what is open is finished").body, b"beginend");
    for told in root {
        assert_eq!(told.join().expect("no panic").done(), "stopped: everything was drained, exit code 0");
    }
    for crowd in [alice, bob] {
        crowd.until_heard("stopped: everything was drained, exit code 0", 12);
    }
    lab.assert_gone();
}

#[test]
fn the_mode_says_which_other_users_may_ask() {
    if !can_be() {
        return;
    }
    let mode = |lab: &Lab| fs::metadata(lab.control_path()).expect("the socket").permissions().mode() & 0o777;
    let asks = |lab: &Lab, who: (u32, u32)| {
        let asked = strangers(lab, who, 1, Some(&Request::Status));
        is_answered(&asked)
    };
    let lab = Start::lab().controlled().ready();
    lab.open_folder();
    assert_eq!(mode(&lab), 0o600);
    assert!(!asks(&lab, ALICE) && !asks(&lab, (ALICE.0, 0)));
    lab.stop();

    // The group is the server's own, or that of a folder which hands its group on.
    let start = Start::lab().controlled().set("control-mode", "0660").set("user", "nobody");
    let folder = start.path("");
    chown(&folder, None, Some(BOB.1)).expect("root can");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o2755)).expect("its own folder");
    let lab = start.ready();
    for generation in 1..=2 {
        // It is the master's, whoever the workers are.
        let found = fs::metadata(lab.control_path()).expect("the socket");
        assert_eq!((found.uid(), found.gid(), mode(&lab)), (0, BOB.1, 0o660));
        assert!(asks(&lab, BOB) && asks(&lab, (ALICE.0, BOB.1)));
        assert!(!asks(&lab, ALICE));
        assert_eq!(lab.status().generation, generation);
        if generation == 1 {
            lab.upgrade();
        }
    }
    let reload = strangers(&lab, BOB, 1, Some(&Request::Reload { wait: true }));
    reload.until_heard("reload is done: every worker is new", 1);
    assert!(lab.log().contains("control socket: user 23456 (pid "), "{}", lab.log());
    lab.stop();
}

/// Whether one that has asked for the status has got it.
fn is_answered(asked: &Strangers) -> bool {
    wait::until("an answer, or none", || {
        let (told, refused) =
            (asked.count("\"reply\":\"status\"") > 0, asked.count("not let in: PermissionDenied") > 0);
        (told || refused).then_some(told)
    })
}
