//! Slow clients, as slowhttptest makes them: each of its modes, while others are served as ever.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hatchery_tests::client::Client;
use hatchery_tests::{Lab, Start};

/// The limits that slow clients run into.
const LIMIT: &str = "2s";

/// How many of them there are.
const CLIENTS: &str = "200";

/// How long anybody else may wait for an answer, on a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(20);

fn lab() -> Lab {
    let limits = ["header-timeout", "body-timeout", "send-timeout", "keep-alive-timeout"];
    limits.into_iter().fold(Start::lab(), |start, name| start.set(name, LIMIT)).ready()
}

/// Runs a mode of slowhttptest until all its connections were closed, and asks for something in between.
fn attack(lab: &Lab, mode: &[&str], path: &str) {
    let mut tool = Command::new("slowhttptest")
        .args(["-c", CLIENTS, "-r", "100", "-l", "60", "-p", "3", "-i", "1", "-u"])
        .arg(format!("http://{}{path}", lab.address()))
        .args(mode)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("slowhttptest, of Debian's package of that name");
    let (began, mut answers, mut most) = (Instant::now(), 0, 0);
    while tool.try_wait().expect("a child").is_none() {
        let open = lab.connections(lab.address());
        most = open.max(most);
        if most > 100 && open == 0 {
            // Who hardly reads does not hear of it before the last byte that has come was read.
            break;
        }
        let asked = Instant::now();
        let mut client = Client::connect(lab.address()).expect("a connection");
        assert_eq!(client.get("/").expect("an answer").status, 200);
        assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
        answers += 1;
        hatchery_tests::wait::think(Duration::from_millis(50));
    }
    let by_itself = tool.try_wait().expect("a child").is_some();
    let _it_may_have_ended = tool.kill();
    let output = tool.wait_with_output().expect("what it says");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(answers > 3, "{answers} answers: {said}");
    assert!(!by_itself || said.contains("No open connections left"), "after {:?}: {said}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(45), "{:?}", began.elapsed());
    lab.until("none is left", || lab.connections(lab.address()) == 0);
}

#[test]
fn heads_that_do_not_end() {
    let lab = lab();
    attack(&lab, &["-H"], "/");
    lab.stop();
}

#[test]
fn bodies_that_trickle() {
    let lab = lab();
    attack(&lab, &["-B", "-s", "8192", "-t", "POST"], "/echo");
    lab.stop();
}

#[test]
fn answers_that_are_hardly_read() {
    let lab = lab();
    attack(&lab, &["-X", "-w", "10", "-y", "20", "-n", "5", "-z", "16"], "/bytes?n=1000000");
    lab.stop();
}

#[test]
fn ranges_without_number() {
    let lab = lab();
    attack(&lab, &["-R", "-a", "10", "-b", "3000"], "/bytes?n=100000");
    lab.stop();
}
