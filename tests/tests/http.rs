//! What the lab answers over HTTP/1.1.

use hatchery_tests::client::{Client, Failure, request};
use hatchery_tests::{Start, client};

#[test]
fn hello() {
    let lab = Start::lab().ready();
    let answer = lab.get("/").expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "Hello, World!"));
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")), "{answer:?}");
    lab.stop();
}

#[test]
fn whoami_tells_worker_master_slot_generation_and_build() {
    let lab = Start::lab().variable("LAB_BUILD", "nightly \"7\"").ready();
    let whoami = lab.whoami();
    assert!(lab.ready().contains(&whoami.pid));
    assert_eq!(whoami.master, lab.first());
    assert!(whoami.slot < 2);
    assert_eq!(whoami.generation, 1);
    assert_eq!(whoami.build.as_deref(), Some("nightly \"7\""));
    assert_eq!(lab.get("/whoami").expect("an answer").header("content-type"), Some("application/json"));
    lab.stop();
}

#[test]
fn requests_are_counted_by_worker() {
    let lab = Start::lab().set("workers", "1").ready();
    let before = lab.whoami().requests;
    let mut client = Client::connect(lab.address()).expect("a connection");
    for _ in 0..5 {
        assert_eq!(client.get("/").expect("an answer").status, 200);
    }
    assert!(lab.whoami().requests >= before + 5);
    lab.stop();
}

#[test]
fn routes_of_the_lab() {
    let lab = Start::lab().ready();
    let mut client = Client::connect(lab.address()).expect("a connection");
    let mut get = |path: &str| client.get(path).unwrap_or_else(|failure| panic!("{path}: {failure}"));
    assert_eq!(get("/sleep?ms=20").status, 200);
    assert_eq!(get("/spin?ms=20").status, 200);
    assert_eq!(get("/stream?chunks=5&ms=1").body.len(), 5 * 16);
    assert_eq!(get("/stream?chunks=0&ms=1").body.len(), 0);
    assert_eq!(get("/bytes?n=0").body.len(), 0);
    assert_eq!(get("/bytes?n=1000000").body.len(), 1_000_000);
    assert_eq!(get("/leak?mb=1").status, 200);
    assert_eq!(get("/no/such/route").status, 404);
    assert!((400..500).contains(&get("/bytes?n=many").status));
    lab.stop();
}

#[test]
fn sleep_does_not_block_the_loop() {
    let lab = Start::lab().set("workers", "1").ready();
    let mut sleeper = Client::connect(lab.address()).expect("a connection");
    sleeper.ask("/sleep?ms=2000").expect("sent");
    assert_eq!(lab.get("/").expect("an answer").status, 200);
    assert!(matches!(sleeper.is_closed(), Ok(false)));
    assert!(!sleeper.has_something(), "the answer came meanwhile, not before");
    assert_eq!(sleeper.answer().expect("an answer").status, 200);
    lab.stop();
}

#[test]
fn echo_gives_the_body_back_whole_and_in_pieces() {
    let lab = Start::lab().ready();
    let mut client = Client::connect(lab.address()).expect("a connection");
    client.send("POST /echo HTTP/1.1\r\nHost: lab\r\nContent-Length: 5\r\n\r\nhello").expect("sent");
    assert_eq!(client.answer().expect("an answer").text(), "hello");

    client.send("POST /echo HTTP/1.1\r\nHost: lab\r\nTransfer-Encoding: chunked\r\n\r\n").expect("sent");
    for piece in ["3\r\nabc\r\n", "4\r\ndefg\r\n", "0\r\n\r\n"] {
        client.send(piece).expect("sent");
    }
    assert_eq!(client.answer().expect("an answer").text(), "abcdefg");
    lab.stop();
}

#[test]
fn echo_streams_what_has_come_so_far() {
    let lab = Start::lab().ready();
    let mut client = Client::connect(lab.address()).expect("a connection");
    client.begin_post("/echo", "Content-Length: 6\r\n", "abc").expect("the answer begins before the body has ended");
    client.send("def").expect("sent");
    assert_eq!(client.answer().expect("an answer").text(), "abcdef");
    lab.stop();
}

#[test]
fn a_panic_costs_its_own_request() {
    let lab = Start::lab().set("workers", "1").ready();
    let before = lab.ready();
    let mut bystander = Client::connect(lab.address()).expect("a connection");
    bystander.begin("/stream?chunks=10&ms=30").expect("the answer begins");
    for _ in 0..3 {
        assert_eq!(lab.get("/panic").expect("an answer").status, 500);
    }
    assert_eq!(bystander.answer().expect("the whole answer").body.len(), 160);
    assert_eq!(lab.get("/").expect("an answer").status, 200);
    assert_eq!(lab.ready(), before);
    lab.stop();
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let lab = Start::lab().ready();
    let mut client = Client::connect(lab.address()).expect("a connection");
    let together: String = [1, 2, 3, 4].map(|n| request(&format!("/bytes?n={n}"), "")).concat();
    client.send(together).expect("sent");
    for n in 1..=4 {
        assert_eq!(client.answer().expect("an answer").body.len(), n);
    }
    lab.stop();
}

#[test]
fn a_head_may_come_byte_by_byte() {
    let lab = Start::lab().ready();
    let mut client = Client::connect(lab.address()).expect("a connection");
    for byte in request("/", "").bytes() {
        client.send([byte]).expect("sent");
    }
    assert_eq!(client.answer().expect("an answer").text(), "Hello, World!");
    lab.stop();
}

#[test]
fn a_client_that_asks_for_a_close_gets_one() {
    let lab = Start::lab().ready();
    let mut client = Client::connect(lab.address()).expect("a connection");
    client.send(request("/", "Connection: close\r\n")).expect("sent");
    assert!(client.answer().expect("an answer").announces_close());
    assert!(client.read_to_end().is_ok_and(|rest| rest.is_empty()));
    lab.stop();
}

#[test]
fn a_connection_is_kept_for_many_requests() {
    let lab = Start::lab().ready();
    let mut client = Client::connect(lab.address()).expect("a connection");
    for _ in 0..200 {
        assert!(!client.get("/").expect("an answer").announces_close());
    }
    lab.stop();
}

#[test]
fn what_is_no_request_is_refused_and_closed() {
    let lab = Start::lab().ready();
    for garbage in ["NONSENSE\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\0\0\0\0\r\n\r\n"] {
        let mut client = Client::connect(lab.address()).expect("a connection");
        client.send(garbage).expect("sent");
        match client.answer() {
            Ok(answer) => assert_eq!(answer.status, 400),
            Err(failure) => assert!(failure.is_end(), "{failure}"),
        }
    }
    assert_eq!(lab.get("/").expect("an answer").status, 200);
    lab.stop();
}

#[test]
fn a_head_that_is_too_long_is_refused() {
    let lab = Start::lab().ready();
    let mut client = Client::connect(lab.address()).expect("a connection");
    let long = format!("X-Long: {}\r\n", "x".repeat(1 << 20));
    // The server may close before it was read to its end.
    let _ = client.send(request("/", &long));
    match client.answer() {
        Ok(answer) => assert_eq!(answer.status, 431),
        Err(failure) => assert!(failure.is_end(), "{failure}"),
    }
    lab.stop();
}

#[test]
fn a_client_that_leaves_in_the_middle_disturbs_nobody() {
    let lab = Start::lab().set("workers", "1").ready();
    let before = lab.ready();
    for path in ["/bytes?n=50000000", "/sleep?ms=50", "/stream?chunks=1000&ms=1"] {
        let mut client = Client::connect(lab.address()).expect("a connection");
        client.ask(path).expect("sent");
    }
    assert_eq!(lab.get("/").expect("an answer").status, 200);
    assert_eq!(lab.ready(), before);
    lab.stop();
}

#[test]
fn a_unix_socket_speaks_the_same() {
    let start = Start::lab();
    let address = format!("unix:{}", start.path("lab.sock").display());
    let lab = start.set("bind", &address).ready();
    let mut client = Client::connect(&address).expect("a connection");
    assert_eq!(client.get("/").expect("an answer").text(), "Hello, World!");
    assert_eq!(client.get("/bytes?n=300000").expect("an answer").body.len(), 300_000);
    lab.stop();
    assert!(matches!(client::get(&address, "/"), Err(Failure::NotConnected(_))));
}

#[test]
fn raw_protocols_count_on() {
    let start = Start::lab().argument("--raw").argument("127.0.0.1:0");
    let lab = start.ready();
    assert_eq!(lab.addresses().len(), 2, "{:?}", lab.addresses());
    let mut client = Client::connect(lab.counter()).expect("a connection");
    for (number, sum) in [(1, 1), (2, 3), (40, 43)] {
        client.send(format!("add {number}\n")).expect("sent");
        let line = client.line().expect("a line");
        assert!(line.starts_with(&format!("sum {sum} pid ")), "{line}");
    }
    drop(client);
    lab.stop();
}
