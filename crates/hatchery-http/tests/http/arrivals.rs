//! What a worker makes of connections that another process has sent, whatever that has read of them.

use std::time::Duration;

use hatchery_core::wire::relay::Transfer;

use crate::support::{Client, Limits, Worker};

/// A worker that only takes what the test puts into its relay.
fn heir(limits: Limits) -> Worker {
    let heir = Worker::with_limits(limits);
    heir.assign_relay();
    heir
}

/// A client whose connection arrives at the worker as `change` says.
fn arrive(heir: &Worker, change: impl FnOnce(&mut Transfer)) -> Client {
    let (client, accepted) = Client::pair();
    let mut transfer = Transfer {
        service: heir.service(),
        peer: Some(accepted.peer_addr().unwrap()),
        local: None,
        real_peer: None,
        age: Duration::from_secs(1),
        waited: Duration::ZERO,
        requests: 0,
        moves: 0,
        unread: Vec::new(),
        saved: None,
    };
    change(&mut transfer);
    heir.nest().send(&transfer, &accepted);
    client
}

#[test]
fn a_whole_request_is_answered() {
    let heir = heir(Limits::default());
    for requests in [0, 5] {
        let mut client = arrive(&heir, |transfer| {
            transfer.requests = requests;
            transfer.unread = b"GET /one HTTP/1.1\r\nhost: a\r\n\r\n".to_vec();
        });
        assert_eq!(client.answer().body, "/one");
        assert_eq!(client.get("/two").body, "/two");
    }
}

#[test]
fn many_whole_requests_are_answered_in_order() {
    let heir = heir(Limits::default());
    let unread: String = (0..3000).map(|n| format!("GET /{n} HTTP/1.1\r\nhost: a\r\n\r\n")).collect();
    let mut client = arrive(&heir, |transfer| transfer.unread = unread.into_bytes());
    client.ask("/last");
    for n in 0..3000 {
        assert_eq!(client.answer().body, format!("/{n}"));
    }
    assert_eq!(client.answer().body, "/last");
}

#[test]
fn the_preface_of_http2_is_the_first_thing_that_a_client_says() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let heir = heir(Limits::default());
    let mut first = arrive(&heir, |transfer| transfer.unread = PREFACE.to_vec());
    // SETTINGS.
    assert_eq!(first.frame().unwrap().kind, 4);
    let mut later = arrive(&heir, |transfer| {
        transfer.requests = 1;
        transfer.unread = PREFACE.to_vec();
    });
    assert_eq!(later.rest(), "");
}

#[test]
fn the_time_for_a_head_goes_on() {
    let heir = heir(Limits::default());
    // The limit is 15 s, and a test takes 10 at most.
    let waited = Duration::from_secs(16);
    let mut client = arrive(&heir, |transfer| {
        transfer.waited = waited;
        transfer.unread = b"GET /one HT".to_vec();
    });
    assert_eq!(client.answer().status, 408);
    assert_eq!(client.rest(), "");
    let mut silent = arrive(&heir, |transfer| transfer.waited = waited);
    assert_eq!(silent.rest(), "");
}
