//! The deploy script of docs/command.md, as it stands there: with a program that comes up, and the way back from two that
//! do not.

use std::fs;
use std::process::Command;

use hatchery_tests::command::{Told, command};
use hatchery_tests::{Lab, Program, Start};

/// Writes the script of the document into the lab's folder, and runs it with a new program.
fn deploy(lab: &Lab, new: &Program) -> Told {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/command.md");
    let document = fs::read_to_string(document).expect("the document");
    let script = document.split("```sh\n").find(|block| block.starts_with("#!/bin/sh\n# deploy.sh")).expect("a script");
    let script = script.split("```").next().expect("its end");
    let (file, path) = (lab.path("deploy.sh"), lab.path("new"));
    fs::write(&file, script).expect("a file");
    new.install(&path);
    let hatchery = command(lab, &[]);
    let folder = hatchery_tests::program::hatchery().parent().expect("a folder").to_owned();
    let mut shell = Command::new("sh");
    shell.arg(file).arg(path).env_clear().envs(hatchery.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.env("APP", lab.program());
    shell.env("PATH", format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default()));
    Told::from(shell.output().expect("a shell"))
}

#[test]
fn a_deploy_puts_the_new_program_in_place() {
    let lab = Start::lab().controlled().ready();
    let told = deploy(&lab, &Program::lab_with("LAB_BUILD=new"));
    assert!(told.done().contains("upgrade is proven"));
    lab.until("only the new one answers", || lab.whoami().build.as_deref() == Some("new"));
    lab.until("the predecessor is gone", || lab.masters().len() == 1);
    lab.stop();
}

#[test]
fn a_deploy_that_fails_puts_the_old_one_back() {
    // Longer than crashes take: without the answer that it was taken back the script would wait on.
    let lab = Start::lab().set("upgrade-probation", "5m").controlled().ready();
    let (old, link) = (lab.serving(), fs::read_link(lab.program()).expect("a link"));
    for (boot, reasons) in [
        ("LAB_BOOT=fail", &["upgrade failed, this generation serves on: ", "lab told to fail"]),
        ("LAB_BOOT=crash", &["taken back, this generation serves again: ", "crashes in a row"]),
    ] {
        let broken = deploy(&lab, &Program::lab_with(boot));
        assert_eq!(fs::read_link(lab.program()).expect("the link is there again"), link);
        let reason = broken.failed(1);
        assert!(reasons.iter().all(|part| reason.contains(part)), "{reason}");
        lab.until("the old one alone is left", || lab.serving() == old && lab.processes().len() == 3);
        assert_eq!((lab.whoami().generation, lab.ready().len()), (1, 2));
    }
    lab.stop();
}
