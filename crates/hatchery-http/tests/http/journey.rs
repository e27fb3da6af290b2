//! What is known of a connection goes with it.

use crate::support::{Client, Limits, Serves, Worker};

/// Requests, moves, and the age in nanoseconds, as the handler sees them.
fn facts(client: &mut Client) -> (u64, u64, u64) {
    let body = client.get("/client").body;
    let numbers: Vec<u64> = body.split(' ').map(|number| number.parse().unwrap()).collect();
    (numbers[0], numbers[1], numbers[2])
}

/// Makes another worker, drains this one, and goes on with that.
fn move_on(mut worker: Worker) -> Worker {
    let heir = worker.heir();
    worker.drain();
    worker.ends();
    heir
}

#[test]
fn age_and_counts_go_on() {
    let mut worker = Worker::start();
    let mut client = worker.connect();
    let (requests, moves, mut last_age) = facts(&mut client);
    assert_eq!((requests, moves), (1, 0));
    client.get("/one");
    for n in 1..=3 {
        worker = move_on(worker);
        let (requests, moves, age) = facts(&mut client);
        assert_eq!((requests, moves), (2 + n, n));
        assert!(age > last_age);
        last_age = age;
    }
}

#[test]
fn requests_of_an_activation_count_once() {
    let mut worker = Worker::start();
    // More than may be active: the connection is taken back from hyper between its requests.
    let mut clients: Vec<_> = (0..300).map(|_| worker.connect()).collect();
    for round in 1..=3 {
        for client in &mut clients {
            assert_eq!(facts(client).0, round);
        }
    }
    worker = move_on(worker);
    for client in &mut clients {
        let (requests, moves, _age) = facts(client);
        assert_eq!((requests, moves), (4, 1));
    }
    drop(worker);
}

#[test]
fn a_count_goes_on() {
    let mut worker = Worker::serving(Serves::MovingCounts, Limits::default());
    let mut client = worker.connect();
    for n in 1..=4_u32 {
        assert_eq!(client.get("/").body, n.to_string());
        worker = move_on(worker);
    }
}

#[test]
fn connections_have_a_count_each() {
    let worker = Worker::serving(Serves::Counts, Limits::default());
    let (mut one, mut two) = (worker.connect(), worker.connect());
    assert_eq!(one.get("/").body, "1");
    assert_eq!(one.get("/").body, "2");
    assert_eq!(two.get("/").body, "1");
}

/// Both an idle connection and one that asks again and again, until it is told that this was the last one.
fn assert_closed_politely(worker: &mut Worker, mut idle: Client, mut again: Client) {
    worker.drain();
    let mut count = 1;
    loop {
        count += 1;
        let answer = again.get("/");
        assert_eq!(answer.body, count.to_string());
        if answer.closes() {
            break;
        }
    }
    assert_eq!(again.rest(), "");
    assert_eq!(idle.rest(), "");
    worker.ends();
}

#[test]
fn a_count_that_nobody_can_save_stays() {
    let mut worker = Worker::serving(Serves::Counts, Limits::default());
    let _heir = worker.heir();
    let (mut idle, mut again) = (worker.connect(), worker.connect());
    assert_eq!((idle.get("/").body.as_str(), again.get("/").body.as_str()), ("1", "1"));
    assert_closed_politely(&mut worker, idle, again);
}

#[test]
fn a_count_of_another_version_stays() {
    let mut worker = Worker::serving(Serves::MovingCounts, Limits::default());
    let _heir = worker.heir_serving(Serves::NewerCounts);
    let (mut idle, mut again) = (worker.connect(), worker.connect());
    assert_eq!((idle.get("/").body.as_str(), again.get("/").body.as_str()), ("1", "1"));
    assert_closed_politely(&mut worker, idle, again);
}

#[test]
fn a_count_that_cannot_be_saved_now_stays() {
    let mut worker = Worker::serving(Serves::MovingCounts, Limits::default());
    let heir = worker.heir();
    let (mut idle, mut again, mut other) = (worker.connect(), worker.connect(), worker.connect());
    assert_eq!(other.get("/").body, "1");
    assert_eq!((idle.get("/stick").body.as_str(), again.get("/stick").body.as_str()), ("1", "1"));
    assert_closed_politely(&mut worker, idle, again);
    assert_eq!(other.get("/").body, "2");
    drop(heir);
}

#[test]
fn a_count_that_cannot_be_restored_is_closed() {
    let mut worker = Worker::serving(Serves::MovingCounts, Limits::default());
    let heir = worker.heir();
    let (mut idle, mut asking) = (worker.connect(), worker.connect());
    idle.get("/break");
    asking.get("/break");
    asking.send("GET / HT");
    worker.wait_read(&asking);
    worker.drain();
    worker.ends();
    assert_eq!(idle.rest(), "");
    let answer = asking.answer();
    assert_eq!((answer.status, answer.closes()), (500, true));
    assert_eq!(asking.rest(), "");
    drop(heir);
}

#[test]
fn a_panic_of_its_service_keeps_a_count_where_it_is() {
    let mut worker = Worker::serving(Serves::MovingCounts, Limits::default());
    let _heir = worker.heir();
    let (mut idle, mut again) = (worker.connect(), worker.connect());
    assert_eq!((idle.get("/panic").status, again.get("/panic").status), (500, 500));
    assert_closed_politely(&mut worker, idle, again);
}
