//! The files in `examples/deploy` that others read: systemd, Docker, Kubernetes,
//! shells. Each is judged by a program that knows its rules.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use hatchery_tests::neighbour::{deployed, deployed_path, with};
use hatchery_tests::tools;
use serde_json::Value;

fn run(command: &mut Command) -> (bool, String) {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    (status.success(), [stdout, stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat())
}

/// The value of a setting on a command line, written `--name value` or `--name=value`.
fn setting<'a>(arguments: &[&'a str], name: &str) -> &'a str {
    let found = arguments.iter().enumerate().find_map(|(index, argument)| {
        let rest = argument.strip_prefix("--")?.strip_prefix(name)?;
        if rest.is_empty() { arguments.get(index + 1).copied() } else { rest.strip_prefix('=') }
    });
    found.unwrap_or_else(|| panic!("no --{name} in {arguments:?}"))
}

/// A number of seconds, as all of them write it.
fn seconds(text: &str) -> Duration {
    let number = text.strip_suffix('s').unwrap_or(text);
    Duration::from_secs(number.parse().unwrap_or_else(|_| panic!("`{text}` is no number of seconds")))
}

/// The value of a key in a unit.
fn key<'a>(unit: &'a str, name: &str) -> &'a str {
    let line = unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("no {name} in:\n{unit}"))
}

#[test]
fn systemd_has_nothing_to_say_about_the_units() {
    let folder = tempfile::tempdir().expect("a folder");
    let drop_in = "app.service.d/reload-is-upgrade.conf";
    fs::create_dir(folder.path().join("app.service.d")).expect("a folder");
    let units = ["app.service", "app.socket", "app-upgrade.service"];
    // The programs have to be there.
    let program = |text: &str| {
        text.replace("/opt/app/current/bin/app", "/bin/true").replace("/usr/local/bin/hatchery", "/bin/true")
    };
    for name in units.iter().chain([&drop_in]) {
        fs::write(folder.path().join(name), program(&deployed(&format!("systemd/{name}")))).expect("a unit");
    }
    let mut verify = Command::new("systemd-analyze");
    // With the colon, those of the system are known as well.
    verify.args(["verify", "--man=no"]).env("SYSTEMD_UNIT_PATH", format!("{}:", folder.path().display()));
    let (passed, said) = run(verify.args(units.map(|name| folder.path().join(name))));
    assert!(passed && said.is_empty(), "{said}");
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true", "--threshold=20"]).arg(folder.path().join("app.service"));
    let (passed, said) = run(&mut security);
    assert!(passed, "{said}");
}

#[test]
fn whoever_stops_the_server_waits_longer_than_its_drain() {
    let settings: BTreeMap<String, toml::Value> =
        toml::from_str(&with(&deployed("app.toml"), &[("#stop_delay", "stop_delay")])).expect("TOML");
    let setting_of = |name: &str| seconds(settings[name].as_str().expect("a time"));
    let (delay, drain) = (setting_of("stop_delay"), setting_of("drain_timeout"));
    let boot = Duration::from_secs(30);
    let unit = deployed("systemd/app.service");
    assert!(seconds(key(&unit, "TimeoutStopSec")) > delay + drain);
    assert!(seconds(key(&unit, "TimeoutStartSec")) > boot);
    assert!(seconds(key(&deployed("systemd/app-upgrade.service"), "TimeoutStartSec")) > boot);
    assert_eq!(key(&unit, "KillMode"), "mixed", "TERM to workers replaces them");

    let docker = deployed("docker/Dockerfile");
    let command = docker.lines().find_map(|line| line.strip_prefix("CMD ")).expect("a command");
    let command: Vec<&str> = serde_json::from_str(command).expect("a list");
    assert!(seconds(setting(&command, "drain-timeout")) < Duration::from_secs(10), "what docker stop grants");
}

fn documents(path: &Path) -> Option<Vec<Value>> {
    const SCRIPT: &str = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    // Where the tool is, its Python knows YAML.
    let python = tools::find("kubernetes-validate")?.with_file_name("python3");
    let (passed, said) = run(Command::new(python).args(["-c", SCRIPT]).arg(path));
    assert!(passed, "{said}");
    Some(serde_json::from_str(&said).expect("JSON"))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn kubernetes_knows_every_field() {
    let Some(validate) = tools::find("kubernetes-validate") else { return };
    for version in ["1.30", "1.37"] {
        for name in ["kubernetes/deployment.yaml", "kubernetes/service.yaml"] {
            let mut command = Command::new(&validate);
            let (passed, said) = run(command.args(["--strict", "-k", version]).arg(deployed_path(name)));
            assert!(passed && said.contains("passed"), "{said}");
        }
    }
    // It would say so if it did not.
    let folder = tempfile::tempdir().expect("a folder");
    let wrong = folder.path().join("wrong.yaml");
    fs::write(&wrong, with(&deployed("kubernetes/deployment.yaml"), &[("maxSurge:", "maxSurges:")])).expect("a file");
    assert!(!run(Command::new(validate).arg("--strict").arg(wrong)).0);
}

#[test]
fn a_pod_is_granted_the_time_that_it_needs() {
    let Some(documents) = documents(&deployed_path("kubernetes/deployment.yaml")) else { return };
    let (pod, container) =
        (&documents[0]["spec"]["template"]["spec"], &documents[0]["spec"]["template"]["spec"]["containers"][0]);
    let arguments: Vec<&str> = container["args"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let drain = seconds(setting(&arguments, "drain-timeout")).as_secs();
    let before = seconds(setting(&arguments, "stop-delay")).as_secs();
    assert!(number(&pod["terminationGracePeriodSeconds"]) > before + drain);
    let ready = &container["readinessProbe"];
    assert_eq!((&ready["httpGet"]["path"], &ready["httpGet"]["port"]), (&"/readyz".into(), &"admin".into()));
    assert!(before >= number(&ready["periodSeconds"]) * number(&ready["failureThreshold"]));
    assert!(container["lifecycle"].is_null(), "a preStop would wait a second time");
    let start = &container["startupProbe"];
    assert!(number(&start["periodSeconds"]) * number(&start["failureThreshold"]) > 30, "boot-timeout");
    let live = &container["livenessProbe"];
    assert!(number(&live["periodSeconds"]) * number(&live["failureThreshold"]) > 30, "heartbeat-timeout");
    assert_eq!(documents[0]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
    // Ports are named where they are meant.
    let ports: Vec<&str> =
        container["ports"].as_array().expect("ports").iter().filter_map(|it| it["name"].as_str()).collect();
    for probe in [ready, start, live] {
        assert!(ports.contains(&probe["httpGet"]["port"].as_str().expect("a name")));
    }
    let service = self::documents(&deployed_path("kubernetes/service.yaml")).expect("as before");
    assert!(ports.contains(&service[0]["spec"]["ports"][0]["targetPort"].as_str().expect("a name")));
    assert_eq!(service[0]["spec"]["selector"], documents[0]["spec"]["selector"]["matchLabels"]);
    assert_eq!(documents[0]["spec"]["template"]["metadata"]["labels"], documents[0]["spec"]["selector"]["matchLabels"]);
}

#[test]
fn compose_grants_more_than_the_drain() {
    let Some(documents) = documents(&deployed_path("docker/compose.yaml")) else { return };
    let app = &documents[0]["services"]["app"];
    let arguments: Vec<&str> = app["command"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let granted = seconds(app["stop_grace_period"].as_str().expect("a time"));
    assert!(granted > seconds(setting(&arguments, "drain-timeout")));
}

#[test]
fn linters_have_nothing_to_say() {
    let (passed, said) = run(Command::new("shellcheck").arg(deployed_path("deploy.sh")));
    assert!(passed && said.is_empty(), "{said}");
    let Some(hadolint) = tools::find("hadolint") else { return };
    let (passed, said) = run(Command::new(hadolint).arg(deployed_path("docker/Dockerfile")));
    assert!(passed && said.is_empty(), "{said}");
}
