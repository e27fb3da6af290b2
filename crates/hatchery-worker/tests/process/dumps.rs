//! What a worker says when it is aborted in the middle of something.

use std::fs;
use std::hint::black_box;
use std::thread;

use hatchery_sys::{Signal, streams};
use hatchery_worker::{Conn, Worker};
use nix::sys::wait::WaitStatus;
use tokio::io::AsyncReadExt;

use crate::Test;
use crate::support::{Master, Options, wait_for};

pub(crate) const TESTS: &[Test] = &[
    ("a_worker_that_is_aborted_inside_the_allocator_says_all_but_where", inside_the_allocator),
    ("a_worker_that_is_aborted_with_the_locks_of_its_streams_held_says_all", with_locks_held),
];

/// Aborts workers whose handlers do `work` for ever, and looks at what they have said.
fn abort_at(work: fn(), times: u32) {
    for _ in 0..times {
        let folder = tempfile::tempdir().unwrap();
        let errors = &folder.path().join("errors");
        let master = Master::new();
        let child = master.fork(Options::default(), async |worker: Worker, _: &()| {
            streams::append_to(errors)?;
            // With a second thread the allocator locks; this one keeps it busy, too.
            thread::spawn(|| {
                loop {
                    churn();
                }
            });
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(
                worker
                    .serve(async move |mut conn: Conn| {
                        let _begun = conn.read_exact(&mut [0; "go\n".len()]).await;
                        loop {
                            work();
                        }
                    })
                    .await?,
            )
        });
        child.is_ready();
        master.assign_all(&child);
        let mut client = master.client();
        client.say("go");
        wait_for("it works", || child.open() == 1 && master.unread_by_worker(&client) == 0);
        child.kill(Signal::SIGABRT);
        let pid = child.pid;
        assert!(matches!(child.wait(), WaitStatus::Signaled(ended, Signal::SIGABRT, _) if ended == pid));
        let said = fs::read_to_string(errors).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines[0].ends_with("aborts, this is what it was doing:"), "{said}");
        assert!(lines[1].contains("in the middle of a turn"), "{said}");
        assert!(lines[2].contains(": 1 connections, 0 requests in flight"), "{said}");
        assert!(lines[3].ends_with(" s old, raw handler, the loop is in its handler"), "{said}");
    }
}

fn churn() {
    black_box((1..50).map(|n| vec![n; n * 16]).collect::<Vec<_>>());
}

fn inside_the_allocator() {
    abort_at(churn, 5);
}

fn with_locks_held() {
    abort_at(
        || {
            let _held = (std::io::stderr().lock(), std::io::stdout().lock());
            thread::park();
        },
        1,
    );
}
