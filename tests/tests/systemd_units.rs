//! The units of `examples/deploy/systemd`, run by a real systemd.

use std::time::Duration;

use hatchery_tests::client::{self, Client};
use hatchery_tests::document::Document;
use hatchery_tests::load::Load;
use hatchery_tests::systemd::Systemd;
use hatchery_tests::wait;

const ADDRESS: &str = "127.0.0.1:80";

/// Upgrades, and waits until nothing of the predecessor is left.
fn upgraded(systemd: &Systemd) -> String {
    let before = systemd.property("app", "MainPID");
    let _ = systemd.printed("systemctl start app-upgrade");
    let after = systemd.property("app", "MainPID");
    assert_ne!(before, after, "the main process is the successor");
    wait::until("the predecessor is gone", || {
        (!systemd.run(&format!("kill -0 {before}")).status.success()).then_some(())
    });
    after
}

#[test]
fn a_life_with_a_real_systemd() {
    let Some(systemd) = Systemd::boot() else { return };
    // Whoever comes first starts it: systemd listens.
    let _ = systemd.printed("systemctl start app.socket");
    assert_eq!(systemd.property("app", "ActiveState"), "inactive");
    let first = systemd.within_network(|| client::get(ADDRESS, "/whoami"));
    assert!(first.is_ok(), "{first:?}");
    systemd.until("app", "ActiveState", "active");
    assert_eq!(systemd.property("app", "StatusText"), "serving: 2 of 2 workers ready, generation 1");
    let main = systemd.property("app", "MainPID");

    let load = systemd.within_network(|| Load::keep_alive(ADDRESS, 2, Duration::from_millis(5)));
    let fresh = systemd.within_network(|| Load::fresh(ADDRESS, 2));
    let _ = systemd.printed("systemctl reload app");
    assert_eq!(systemd.property("app", "MainPID"), main);
    let _ = upgraded(&systemd);
    systemd.turn_to("none");
    assert!(!systemd.run("systemctl start app-upgrade").status.success());
    let said = systemd.printed("journalctl --unit=app-upgrade --output=cat --lines=5 --no-pager");
    assert!(said.contains("upgrade failed, this generation serves on: cannot start /opt/app/current"), "{said}");
    assert_eq!(systemd.property("app", "ActiveState"), "active");
    systemd.turn_to("one");
    let _ = upgraded(&systemd);
    load.finish_without_failure();
    fresh.finish_without_failure();

    stopped_while_it_answers(&systemd, ADDRESS, 1500, &[]);
}

/// A stop waits for who is being answered, so many milliseconds and while these commands are given, also behind
/// an upgrade: systemd waits for no main process that was not its child when it was named.
fn stopped_while_it_answers(systemd: &Systemd, address: &str, milliseconds: u32, meanwhile: &[&str]) {
    let answer = systemd.within_network(|| {
        let mut client = Client::connect(address).expect("it serves");
        client.ask(&format!("/sleep?ms={milliseconds}")).expect("a request");
        wait::until("it is being answered", || {
            let status = systemd.printed("hatchery --control /run/app/control.sock status --json");
            status.contains("\"in_flight\": 1").then_some(())
        });
        meanwhile.iter().for_each(|command| drop(systemd.printed(command)));
        let _ = systemd.printed("systemctl stop app");
        client.answer()
    });
    assert!(answer.is_ok(), "{answer:?}");
    assert_eq!(systemd.property("app", "Result"), "success");
    assert_eq!(systemd.property("app", "ActiveState"), "inactive");
}

#[test]
fn the_units_of_the_guide_upgrade_and_stop_as_it_says() {
    let Some(systemd) = Systemd::boot() else { return };
    let guide = Document::read("docs/systemd.md");
    let mut units = guide.blocks.iter().filter(|block| block.lines.contains(&"Type=notify".to_owned()));
    let (with_command, with_anchor) = (units.next().expect("a unit"), units.next().expect("a unit"));
    assert!(units.next().is_none(), "a unit that nobody runs");
    let address = "127.0.0.1:8080";

    systemd.install("app.service", &with_command.lines.join("\n"));
    let _ = systemd.printed("systemctl start app");
    let _ = systemd.printed("systemctl reload app");
    let _ = systemd.printed("hatchery --control /run/app/control.sock upgrade --wait");
    systemd.until("app", "StatusText", "serving: 2 of 2 workers ready, generation 2");
    // The generation that was upgraded still answers when the service is stopped.
    let upgrade = "hatchery --control /run/app/control.sock upgrade --wait=proven";
    stopped_while_it_answers(&systemd, address, 6000, &[upgrade]);

    // The folder of the control socket is the test's own wish: the anchor needs none.
    systemd.install("app.service", &format!("{}\nRuntimeDirectory=app\n", with_anchor.lines.join("\n")));
    let _ = systemd.printed("systemctl start app");
    let main = systemd.property("app", "MainPID");
    let _ = systemd.printed("systemctl reload app");
    let _ = systemd.printed("systemctl kill --signal USR2 --kill-whom main app");
    systemd.until("app", "StatusText", "serving: 2 of 2 workers ready, generation 2");
    assert_eq!(systemd.property("app", "MainPID"), main, "the anchor stays");
    stopped_while_it_answers(&systemd, address, 1500, &[]);
}

#[test]
fn what_dies_is_started_again() {
    let Some(systemd) = Systemd::boot() else { return };
    let _ = systemd.printed("systemctl start app");
    // The successor of an upgrade is watched as the first one was, once its predecessor has gone.
    let main = upgraded(&systemd);
    let _ = systemd.printed(&format!("kill -KILL {main}"));
    systemd.until("app", "NRestarts", "1");
    let waited = systemd.within_network(|| client::get(ADDRESS, "/whoami"));
    assert!(waited.is_ok(), "who comes meanwhile waits: {waited:?}");
    systemd.until("app", "ActiveState", "active");
    // One that dies in its probation is followed by its predecessor, as if nothing had been.
    let before = systemd.property("app", "MainPID");
    // The unit for upgrades would wait for its end.
    let _ = systemd.printed("hatchery --control /run/app/control.sock upgrade --wait");
    let main = systemd.property("app", "MainPID");
    let _ = systemd.printed(&format!("kill -KILL {main}"));
    systemd.until("app", "MainPID", &before);
    assert_eq!(systemd.property("app", "NRestarts"), "1");
    let _ = systemd.printed("systemctl stop app");
}
