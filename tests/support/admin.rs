//! What a server tells on `--admin`.

use std::io::Write;
use std::process::{Command, Stdio};

use hatchery_control::Snapshot;

use crate::{Lab, client};

/// Where it tells.
///
/// # Panics
/// When it has not said so.
#[must_use]
pub fn address(lab: &Lab) -> String {
    let log = lab.log();
    let said = log.lines().find_map(|line| line.split_once("admin: status and metrics at ")).expect("it has said so");
    said.1.split_whitespace().next().expect("an address").to_owned()
}

/// Everything that there is to be known.
///
/// # Panics
/// When it does not answer.
#[must_use]
pub fn snapshot(lab: &Lab) -> Snapshot {
    let answer = client::get(&address(lab), "/status.json").expect("an answer");
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    Snapshot::from_json(&answer.body).expect("a snapshot")
}

/// How often a limit was reached, as `/metrics` has it.
///
/// # Panics
/// When it does not answer, or knows of no such limit.
#[must_use]
pub fn limited(lab: &Lab, limit: &str) -> u64 {
    let answer = client::get(&address(lab), "/metrics").expect("an answer");
    let (text, name) = (answer.text(), format!("hatchery_limited_total{{limit=\"{limit}\"}} "));
    let count = text.lines().find_map(|line| line.strip_prefix(&name)).expect("a limit that is counted");
    count.parse().expect("a number")
}

/// Prometheus' own parser, the one for Python, reads the text.
///
/// # Panics
/// When it does not, or is not installed.
pub fn assert_parses(metrics: &str) {
    const PROGRAM: &str = "import sys\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n\
        print(len(list(parse(sys.stdin.read()))))";
    let mut python = Command::new("python3")
        .args(["-c", PROGRAM])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 is installed");
    python.stdin.take().expect("a pipe").write_all(metrics.as_bytes()).expect("it reads");
    let output = python.wait_with_output().expect("it ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "python3 with prometheus_client (apt-get install python3-prometheus-client): {errors}"
    );
    let families: usize = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number");
    assert_eq!(families, metrics.lines().filter(|line| line.starts_with("# TYPE ")).count());
}
