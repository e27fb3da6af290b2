//! `examples/deploy/deploy.sh`, with good releases and with broken ones: what runs and
//! what the link leads to stay the same program.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use hatchery_tests::load::Load;
use hatchery_tests::neighbour::deployed_path;
use hatchery_tests::program::{example, hatchery};
use hatchery_tests::{Lab, Program, Start, log};

/// A server that was started through a link to its release, as operators do.
struct Service {
    lab: Lab,
    app: PathBuf,
}

/// What a deploy said, and its exit code.
#[derive(Debug)]
struct Told {
    code: Option<i32>,
    said: String,
}

impl Service {
    fn start() -> Self {
        let start = Start::lab().set("upgrade-probation", "1s").variable("LAB_BUILD", "one");
        let (app, control) = (start.path("app"), start.path("control.sock"));
        let service = |lab| Self { lab, app: app.clone() };
        // The program itself, and no script: it is what the link was followed to at the start.
        fs::create_dir_all(app.join("releases/one/bin")).expect("a folder");
        Program::lab().install(&app.join("releases/one/bin/app"));
        symlink("releases/one", app.join("current")).expect("a link");
        let start = start.program(Program::Link(app.join("current/bin/app")));
        service(start.set("control", &control.display().to_string()).ready())
    }

    fn release(&self, name: &str, variables: &str) {
        release(&self.app, name, variables);
    }

    fn deploy(&self, arguments: &[&str]) -> Told {
        let deployed = self.command(arguments).output().expect("a shell");
        let said = [deployed.stdout, deployed.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        Told { code: deployed.status.code(), said }
    }

    fn begin(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a shell")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let tools = hatchery().parent().expect("a folder").display().to_string();
        let mut command = Command::new(deployed_path("deploy.sh"));
        command.args(arguments).env_clear().env("APP", &self.app);
        command.env("PATH", format!("{tools}:{}", std::env::var("PATH").unwrap_or_default()));
        command.env("HATCHERY_CONTROL", self.lab.path("control.sock")).stdin(Stdio::null());
        command
    }

    /// What runs, and what the link leads to.
    fn is(&self, name: &str) {
        assert_eq!(self.lab.whoami().build.as_deref(), Some(name));
        assert_eq!(fs::read_link(self.app.join("current")).expect("a link"), Path::new("releases").join(name));
    }
}

fn release(app: &Path, name: &str, variables: &str) {
    let folder = app.join("releases").join(name).join("bin");
    fs::create_dir_all(&folder).expect("a folder");
    // It goes by the name of the script: that is what the next upgrade starts.
    let lab = example("lab").display().to_string();
    let script = format!("export {variables}\nexec bash -c 'exec -a \"$0\" {lab} \"$@\"' \"$0\" \"$@\"");
    Program::Script(script).install(&folder.join("app"));
}

#[test]
fn a_good_release_serves_and_a_broken_one_leaves_everything_as_it_was() {
    let service = Service::start();
    let load = Load::fresh(service.lab.address(), 2);
    service.is("one");
    service.release("two", "LAB_BUILD=two");
    let told = service.deploy(&["two"]);
    assert_eq!(told.code, Some(0), "{}", told.said);
    assert!(told.said.contains("two serves; before it was releases/one"), "{}", told.said);
    service.is("two");

    service.release("broken", "LAB_BOOT=fail");
    let told = service.deploy(&["broken"]);
    assert_eq!(told.code, Some(1), "{}", told.said);
    assert!(told.said.contains("lab told to fail"), "the reason is said: {}", told.said);
    assert!(told.said.contains("the upgrade to broken has failed; releases/two is current again"), "{}", told.said);
    service.is("two");

    load.finish_without_failure();

    // It comes up, and breaks then: its workers take down what they have accepted.
    service.release("brittle", "LAB_BOOT=crash");
    let told = service.deploy(&["brittle"]);
    assert_eq!(told.code, Some(1), "{}", told.said);
    assert!(told.said.contains("releases/two is current again"), "{}", told.said);
    service.lab.until("the old one serves", || service.lab.ready().len() == 2 && service.lab.masters().len() == 1);
    service.is("two");

    service.release("three", "LAB_BUILD=three");
    let told = service.deploy(&["three"]);
    assert_eq!(told.code, Some(0), "{}", told.said);
    service.is("three");
    service.lab.stop();
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_done() {
    let service = Service::start();
    fs::create_dir_all(service.app.join("releases/empty")).expect("a folder");
    let refused = |arguments: &[&str], reason: &str| {
        let told = service.deploy(arguments);
        assert!(told.code == Some(2) && told.said.contains(reason), "{told:?}");
        service.is("one");
    };
    refused(&[], "usage");
    refused(&["one", "two"], "usage");
    refused(&["../one"], "no name of a release");
    refused(&["empty"], "there is no program");
    refused(&["missing"], "there is no program");
    assert_eq!(log::UPGRADE_BEGUN.count(&service.lab.log()), 0);
    service.release("slow", "LAB_BUILD=slow; sleep 3");
    let mut first = service.begin(&["slow"]);
    service.lab.until_logged(log::UPGRADE_BEGUN, 1);
    let told = service.deploy(&["one"]);
    assert!(told.code == Some(2) && told.said.contains("another deploy is under way"), "{told:?}");
    assert!(first.wait().expect("a child").success());
    service.lab.until("the old one has gone", || service.lab.masters().len() == 1);
    let control = service.lab.path("control.sock");
    service.lab.stop();
    assert!(!control.exists());
}
