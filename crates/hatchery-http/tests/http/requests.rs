//! What happens to requests while nothing drains.

use crate::support::Worker;

#[test]
fn a_panic_costs_its_own_request_only() {
    let worker = Worker::start();
    let mut client = worker.connect();
    assert_eq!(client.get("/panic").status, 500);
    assert_eq!(client.get("/after").body, "/after");
}

#[test]
fn a_panic_before_the_first_poll_is_answered_too() {
    let worker = Worker::start();
    let mut client = worker.connect();
    let answer = client.get("/panic-in-call");
    assert_eq!(answer.status, 500);
    assert!(answer.closes());
    assert_eq!(client.rest(), "");
    assert_eq!(worker.connect().get("/after").body, "/after");
}

#[test]
fn a_panic_after_the_head_costs_the_connection_only() {
    let worker = Worker::start();
    let mut client = worker.connect();
    client.ask("/panic-late");
    assert!(!client.rest().ends_with("0\r\n\r\n"));
    assert_eq!(worker.connect().get("/after").body, "/after");
}

#[test]
fn a_client_may_shut_its_side_and_still_be_answered() {
    let worker = Worker::start();
    let mut client = worker.connect();
    client.ask("/hold");
    client.shut();
    drop(worker.gate.wait());
    assert_eq!(client.answer().body, "held");
    assert_eq!(client.rest(), "");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let worker = Worker::start();
    let mut client = worker.connect();
    for n in 0..100 {
        client.send(&format!("GET /{n} HTTP/1.1\r\nhost: a\r\n\r\n"));
    }
    for n in 0..100 {
        assert_eq!(client.answer().body, format!("/{n}"));
    }
}

#[test]
fn connection_close_is_obeyed() {
    let worker = Worker::start();
    let mut client = worker.connect();
    client.send("GET /one HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert!(client.answer().closes());
    assert_eq!(client.rest(), "");
}

#[test]
fn more_connections_than_may_be_active_are_parked_and_come_back() {
    let worker = Worker::start();
    let mut clients: Vec<_> = (0..600).map(|_| worker.connect()).collect();
    for round in 0..3 {
        for client in &mut clients {
            assert_eq!(client.get("/one").body, "/one");
        }
        // A half head makes a parked connection active, and its other half arrives after the others'.
        for client in &mut clients {
            client.send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-le");
        }
        for client in clients.iter_mut().rev() {
            client.send("ngth: 4\r\n\r\nbo");
        }
        for client in &mut clients {
            client.send("dy");
            assert_eq!(client.answer().body, "body", "round {round}");
        }
    }
}

#[test]
fn a_request_behind_another_survives_parking() {
    let worker = Worker::start();
    let mut clients: Vec<_> = (0..400).map(|_| worker.connect()).collect();
    for client in &mut clients {
        // The first answer parks the connection with the beginning of the second request in hand.
        client.send("GET /one HTTP/1.1\r\nhost: a\r\n\r\nGET /two HTTP/1.1\r\nho");
        assert_eq!(client.answer().body, "/one");
    }
    for client in &mut clients {
        client.send("st: a\r\n\r\n");
        assert_eq!(client.answer().body, "/two");
    }
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let worker = Worker::start();
    let mut client = worker.connect();
    client.send(&format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(100_000)));
    assert_eq!(client.answer().status, 431);
}

/// Its connection ends behind the answer. Whoever was not told would lose the next request.
#[test]
fn who_sends_a_body_that_nobody_reads_is_told_of_the_end() {
    let mut worker = Worker::start();
    for framing in ["content-length: 3", "content-length: 100000", "transfer-encoding: chunked"] {
        for (path, status) in [("/one", 200), ("/panic", 500)] {
            let mut client = worker.connect();
            client.send(&format!("POST {path} HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n"));
            let answer = client.answer();
            assert_eq!((answer.status, answer.closes()), (status, true), "{framing}: {}", answer.head);
            assert_eq!(client.rest(), "");
        }
    }
    // What is here already, or is read, is no reason.
    for (path, body) in [("/one", "/one"), ("/echo", "abc")] {
        let mut client = worker.connect();
        client.send(&format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc"));
        let answer = client.answer();
        assert_eq!((answer.body.as_str(), answer.closes()), (body, false), "{}", answer.head);
        assert_eq!(client.get("/two").body, "/two");
    }
    let mut client = worker.connect();
    client.send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n");
    worker.wait_read(&client);
    client.send("abc");
    let answer = client.answer();
    assert_eq!((answer.body.as_str(), answer.closes()), ("abc", false), "{}", answer.head);
    assert_eq!(client.get("/two").body, "/two");
    worker.drain();
    worker.ends();
}
