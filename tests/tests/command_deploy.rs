//! The deploy script of docs/command.md, as it stands there.

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
    shell.env("APP", lab.program()).env("PROBATION", "1");
    shell.env("PATH", format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default()));
    Told::from(shell.output().expect("a shell"))
}

#[test]
fn a_deploy_puts_the_new_program_in_place_or_the_old_one_back() {
    let lab = Start::lab().controlled().ready();
    let old = fs::read_link(lab.program()).expect("a link");
    let broken = deploy(&lab, &Program::lab_with("LAB_BOOT=fail"));
    assert_eq!(broken.code, Some(1), "{broken:?}");
    assert!(broken.errors.contains("lab told to fail") && broken.output.is_empty(), "{broken:?}");
    assert_eq!(lab.whoami().generation, 1);
    assert_eq!(fs::read_link(lab.program()).expect("the link is there again"), old);

    let told = deploy(&lab, &Program::lab_with("LAB_BUILD=new"));
    assert!(told.done().contains("upgrade is done"));
    lab.until("only the new one answers", || lab.whoami().build.as_deref() == Some("new"));
    lab.until("the predecessor is gone", || lab.masters().len() == 1);
    lab.stop();
}
