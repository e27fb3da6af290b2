//! A unix socket as the only listener: what goes for a port goes for it.

use std::fs;
use std::os::unix::fs::MetadataExt;

use hatchery_tests::client::{self, Client};
use hatchery_tests::load::Load;
use hatchery_tests::{End, Start};
use nix::sys::signal::Signal;

#[test]
fn a_stop_waits_for_what_is_open_and_for_nothing_else() {
    for mode in ["shared", "reuseport"] {
        let (start, address) = Start::lab().unix();
        let lab = start.set("listen-mode", mode).set("drain-timeout", "10m").ready();
        let mut idle = Client::connect(&address).expect("a connection");
        assert_eq!(idle.get("/").expect("an answer").status, 200);
        let mut open = Client::connect(&address).expect("a connection");
        open.begin("/stream?chunks=5&ms=100").expect("the answer begins");
        let fresh = Client::connect(&address).expect("a connection that says nothing");
        lab.signal(Signal::SIGTERM);
        assert_eq!(open.answer().expect("the whole answer").body.len(), 80);
        assert!(idle.read_to_end().is_ok_and(|rest| rest.is_empty()));
        assert_eq!(lab.end_of(lab.first()), End::Code(0));
        lab.assert_gone();
        assert!(!lab.path("lab.sock").exists());
        drop(fresh);
    }
}

#[test]
fn a_reload_and_an_upgrade_under_load_keep_the_inode_and_fail_nobody() {
    for mode in ["shared", "reuseport"] {
        let (start, address) = Start::lab().unix();
        let lab = start.set("listen-mode", mode).ready();
        let inode = || fs::metadata(lab.path("lab.sock")).expect("a socket").ino();
        let before = inode();
        let load = Load::fresh(&address, 2);
        load.more(20);
        let workers = lab.ready();
        lab.signal(Signal::SIGHUP);
        lab.until("every worker is new", || lab.ready().is_disjoint(&workers) && lab.ready().len() == 2);
        for generation in [2, 3] {
            lab.upgrade();
            assert_eq!(inode(), before);
            let answer = client::get(&address, "/whoami").expect("an answer");
            assert!(answer.text().contains(&format!("\"generation\":{generation}")), "{}", answer.text());
        }
        load.more(20);
        load.finish_without_failure();
        lab.stop();
    }
}
