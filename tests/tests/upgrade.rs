//! Upgrades that go well: what the successor inherits, and what is left of its predecessor.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use hatchery_tests::client::{self, Client};
use hatchery_tests::{End, Lab, Program, Start, log, procfs};
use nix::sys::signal::Signal;

#[test]
fn twenty_in_a_row_leave_nothing_behind() {
    for mode in ["shared", "reuseport"] {
        let lab = Start::lab().set("listen-mode", mode).set("upgrade-probation", "20ms").ready();
        let open = |pid| procfs::descriptors(pid).into_values().collect::<Vec<_>>().len();
        let mut masters = vec![lab.first()];
        let mut counts = Vec::new();
        for generation in 2..=21 {
            masters.push(lab.upgrade());
            lab.until("everything else is gone", || lab.processes().len() == 3);
            assert_eq!(lab.generation(), Some(generation));
            // What its predecessor's end has brought them they have closed then.
            lab.ready().into_iter().for_each(|worker| lab.until_asleep(worker));
            let workers: Vec<usize> = lab.ready().into_iter().map(open).collect();
            counts.push((open(lab.serving()), workers));
        }
        // The first successor has what every later one has.
        assert!(counts.iter().all(|count| count == &counts[0]), "descriptors grow: {counts:?}");
        assert_eq!(masters.iter().collect::<BTreeSet<_>>().len(), 21);
        assert_eq!(lab.whoami().generation, 21);
        lab.stop();
    }
}

#[test]
fn whoami_tells_generation_and_build() {
    let lab = Start::lab().variable("LAB_BUILD", "one").ready();
    let first = lab.whoami();
    assert_eq!((first.generation, first.build.as_deref()), (1, Some("one")));
    lab.install(&Program::lab_with("LAB_BUILD=two"));
    let successor = lab.upgrade();
    let second = lab.whoami();
    assert_eq!((second.generation, second.build.as_deref()), (2, Some("two")));
    assert_eq!(second.master, successor);
    assert!(lab.ready().contains(&second.pid));
    lab.stop();
}

#[test]
fn the_pid_file_is_always_there_and_the_predecessor_has_oldbin() {
    let lab = Start::lab().set("upgrade-probation", "10m").ready();
    lab.signal(Signal::SIGUSR2);
    let mut seen = BTreeSet::new();
    lab.until("the successor holds the pid file", || {
        seen.insert(lab.pid_file("lab.pid"));
        lab.pid_file("lab.pid") != Some(lab.first())
    });
    let successor = lab.serving();
    assert!(seen.iter().all(|pid| *pid == Some(lab.first()) || *pid == Some(successor)), "{seen:?}");
    assert_eq!(lab.pid_file("lab.pid.oldbin"), Some(lab.first()));
    lab.signal_to(lab.first(), Signal::SIGKILL);
    lab.until("the predecessor is gone", || lab.has_ended(lab.first()));
    assert_eq!(lab.serving(), successor);
    lab.stop();
}

#[test]
fn oldbin_is_gone_with_the_predecessor() {
    let lab = Start::lab().ready();
    lab.upgrade();
    lab.until("oldbin is gone", || !lab.path("lab.pid.oldbin").exists());
    lab.stop();
}

#[test]
fn a_held_pid_file_stays_held_across_an_upgrade() {
    let lab = Start::lab().ready();
    let successor = lab.upgrade();
    let held = lab.path("lab.pid").display().to_string();
    Start::lab().set("pid-file", &held).ended().assert_one_line(1, &[&held, &successor.to_string()]);
    lab.stop();
}

/// What `witness` wrote beside the program of that name.
fn witnessed(program: &Path, what: &str) -> Vec<u8> {
    fs::read(format!("{}.{what}", program.display())).unwrap_or_else(|error| panic!("{what}: {error}"))
}

#[test]
fn arguments_environment_and_folder_are_those_of_the_first_start() {
    let witness = Program::Link(env!("CARGO_BIN_EXE_witness").into());
    let start = Start::lab()
        .variable("ZEBRA", "first in line")
        .variable("EMPTY", "")
        .variable("NOT_UTF8_LATER", "\u{fc}=;%")
        .argument("--max-connections")
        .argument("1000")
        .variable("LAB_BUILD", "a build\twith spaces");

    let program = start.path("lab");
    witness.install(&program);
    assert!(start.command(&program).status().expect("a witness").success());
    let expected = ["arguments", "environment", "directory"].map(|what| witnessed(&program, what));

    let lab = start.ready();
    lab.install(&witness);
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_FAILED, 1);

    let [arguments, environment, folder] = expected;
    assert_eq!(witnessed(&program, "arguments"), arguments);
    assert_eq!(witnessed(&program, "directory"), folder);
    let lines = |block: &[u8]| block.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let (handed, kept): (Vec<_>, Vec<_>) =
        lines(&witnessed(&program, "environment")).into_iter().partition(|line| line.starts_with(b"HATCHERY_HANDOFF="));
    assert_eq!(handed.len(), 1);
    assert_eq!(kept, lines(&environment));

    // A successor's successor sees the same: what the first one was handed is not passed on.
    lab.install(&Program::lab());
    lab.upgrade();
    lab.install(&witness);
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_FAILED, 2);
    assert_eq!(witnessed(&program, "arguments"), arguments);
    let again = lines(&witnessed(&program, "environment"));
    assert_eq!(again.iter().filter(|line| line.starts_with(b"HATCHERY_HANDOFF=")).count(), 1);
    assert_eq!(again.len(), kept.len() + 1);
    lab.stop();
}

#[test]
fn a_relative_program_in_a_folder_that_changes() {
    let start = Start::lab().first_argument("./lab").argument("--working-dir").argument("/");
    let lab = start.ready();
    assert_eq!(fs::read_link(format!("/proc/{}/cwd", lab.first())).expect("a folder"), Path::new("/"));
    for generation in [2, 3] {
        lab.upgrade();
        assert_eq!(lab.whoami().generation, generation);
    }
    lab.stop();
}

#[test]
fn a_bare_name_is_found_in_the_path() {
    let start = Start::lab().first_argument("lab");
    let folder = start.path("");
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    let lab = start.variable("PATH", &path).working_folder(Path::new("/")).ready();
    lab.upgrade();
    assert_eq!(lab.whoami().generation, 2);
    lab.stop();
}

#[test]
fn a_symbolic_link_in_the_working_folder_is_followed_anew() {
    // Started as ./lab in current, which is a link to releases/1.
    let start = Start::lab();
    let witness = Program::Link(env!("CARGO_BIN_EXE_witness").into());
    for (release, program) in [("1", Program::lab()), ("2", witness), ("3", Program::lab())] {
        let folder = start.path("releases").join(release);
        fs::create_dir_all(&folder).expect("a folder");
        program.install(&folder.join("lab"));
    }
    let (current, releases) = (start.path("current"), start.path("releases"));
    symlink("releases/1", &current).expect("a link");
    let launcher = format!("cd {} && shift && exec ./lab \"$@\"", current.display());
    let lab = start.launcher(["sh", "-c", &launcher, "sh"]).ready();

    point(&current, "releases/2");
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_FAILED, 1);
    assert!(releases.join("2/lab.arguments").exists(), "the witness of the second release was not started");

    point(&current, "releases/3");
    let successor = lab.upgrade();
    let folder = fs::read_link(format!("/proc/{successor}/cwd")).expect("a folder");
    assert!(folder.ends_with("releases/3"), "{}", folder.display());
    lab.stop();
}

/// Replaces a link in one step.
fn point(link: &Path, target: &str) {
    let next = link.with_extension("next");
    symlink(target, &next).expect("a link");
    fs::rename(next, link).expect("moved");
}

#[test]
fn the_number_of_workers_that_an_operator_chose_is_kept() {
    let lab = Start::lab().ready();
    lab.signal(Signal::SIGTTIN);
    lab.until("a third worker", || lab.ready().len() == 3);
    lab.upgrade();
    lab.until("three workers", || lab.ready().len() == 3);
    assert_eq!(lab.workers().len(), 3);
    lab.stop();
}

#[test]
fn a_unix_socket_keeps_its_inode() {
    let start = Start::lab();
    let path = start.path("lab.sock");
    let address = format!("unix:{}", path.display());
    let lab = start.set("bind", &address).ready();
    let inode = || fs::metadata(&path).expect("a socket").ino();
    let before = inode();
    for generation in [2, 3] {
        lab.upgrade();
        assert_eq!(inode(), before);
        let answer = client::get(&address, "/whoami").expect("an answer");
        assert!(answer.text().contains(&format!("\"generation\":{generation}")), "{}", answer.text());
    }
    lab.stop();
    assert!(!path.exists());
}

#[test]
fn what_is_open_on_the_predecessor_is_finished_there() {
    let lab = Start::lab().ready();
    let mut open = Client::connect(lab.address()).expect("a connection");
    open.begin("/stream?chunks=12&ms=100").expect("the answer begins");
    lab.signal(Signal::SIGUSR2);
    lab.until("the successor serves", || lab.generation() == Some(2));
    assert_eq!(open.answer().expect("the whole answer").body.len(), 12 * 16);
    assert_eq!(lab.end_of(lab.first()), End::Code(0));
    lab.stop();
}

#[test]
fn at_most_two_predecessors_drain() {
    let lab = Start::lab().ready();
    let mut open = Vec::new();
    let mut upgraded = |lab: &Lab, generation| {
        let mut client = Client::connect(lab.address()).expect("a connection");
        client.begin("/stream?chunks=600&ms=100").expect("the answer begins");
        open.push(client);
        lab.signal(Signal::SIGUSR2);
        lab.until("a successor serves", || lab.generation() == Some(generation) && lab.ready().len() == 2);
        lab.until_logged(log::RETIRING, usize::try_from(generation).expect("small") - 1);
    };
    upgraded(&lab, 2);
    upgraded(&lab, 3);
    lab.signal(Signal::SIGUSR2);
    lab.until_logged(log::UPGRADE_REFUSED, 1);
    drop(open);
    lab.until("both have gone", || lab.processes().len() == 3);
    lab.upgrade();
    assert_eq!(lab.generation(), Some(4));
    lab.stop();
}

#[test]
fn a_stray_descriptor_is_not_handed_on() {
    let lab = Start::lab().launcher(["sh", "-c", "exec \"$@\" 9>stray", "sh"]).ready();
    lab.upgrade();
    for process in lab.processes() {
        let files = procfs::descriptors(process.pid);
        assert!(!files.values().any(|file| file.ends_with("/stray")), "{process}: {files:?}");
    }
    lab.stop();
}
