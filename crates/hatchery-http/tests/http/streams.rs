//! What a client of HTTP/2 does slowly, or too long, costs it that stream, and no other.

use std::future::Future;

use bytes::Bytes;
use h2::client::{self, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};
use tokio::task::JoinHandle;

use crate::support::{Client, Limits, PATIENCE, Waiting, Worker};

type Connection = JoinHandle<Result<(), h2::Error>>;

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default()).unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("the test takes too long") });
}

/// A client that gives each answer as much room as a frame has, and the connection more.
async fn connect(client: &Client) -> (SendRequest<Bytes>, Connection) {
    connect_with(client, 16_384, 1 << 20).await
}

async fn connect_with(client: &Client, room: u32, together: u32) -> (SendRequest<Bytes>, Connection) {
    let stream = client.stream().try_clone().unwrap();
    stream.set_nonblocking(true).unwrap();
    let stream = tokio::net::TcpStream::from_std(stream).unwrap();
    let mut builder = client::Builder::new();
    builder.initial_window_size(room).initial_connection_window_size(together);
    let (sender, connection) = builder.handshake(stream).await.unwrap();
    let connection = tokio::task::spawn_local(connection);
    (sender.ready().await.unwrap(), connection)
}

fn post(sender: &mut SendRequest<Bytes>, path: &str) -> (ResponseFuture, SendStream<Bytes>) {
    sender.send_request(Request::post(format!("http://a{path}")).body(()).unwrap(), false).unwrap()
}

fn get(sender: &mut SendRequest<Bytes>, path: &str) -> ResponseFuture {
    sender.send_request(Request::get(format!("http://a{path}")).body(()).unwrap(), true).unwrap().0
}

async fn text(answer: ResponseFuture) -> Result<String, h2::Error> {
    rest(answer.await?).await
}

async fn rest(answer: Response<RecvStream>) -> Result<String, h2::Error> {
    let mut body = answer.into_body();
    let mut text = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len()).unwrap();
        text.extend_from_slice(&piece);
    }
    Ok(String::from_utf8(text).unwrap())
}

/// Waits at the gate without keeping the client's own tasks from running.
async fn entered(worker: &Worker) -> Waiting {
    loop {
        if let Some(waiting) = worker.gate.look() {
            return waiting;
        }
        tokio::task::yield_now().await;
    }
}

/// Waits for as long as a connection may that says nothing, while the client's tasks go on.
async fn limited(worker: &Worker) {
    let limited = tokio::net::TcpStream::connect(("127.0.0.1", worker.port)).await.unwrap();
    limited.readable().await.unwrap();
}

/// The stream was ended by a limit.
fn assert_ended<T: std::fmt::Debug>(answer: Result<T, h2::Error>) {
    let error = answer.expect_err("the stream is reset");
    assert_eq!((error.is_reset(), error.reason()), (true, Some(Reason::ENHANCE_YOUR_CALM)), "{error}");
}

#[test]
fn a_body_without_progress_ends_its_stream() {
    // Before the answer has begun, and in the middle of it.
    for path in ["/read", "/echo"] {
        let worker = Worker::with_limits(Limits { body: 200, ..Limits::default() });
        let client = worker.connect();
        run(async {
            let (mut sender, _connection) = connect(&client).await;
            let held = get(&mut sender, "/hold");
            let (answer, mut body) = post(&mut sender, path);
            body.send_data("half".into(), false).unwrap();
            assert_ended(text(answer).await);
            drop(entered(&worker).await);
            assert_eq!(text(held).await.unwrap(), "held");
            assert_eq!(text(get(&mut sender, "/next")).await.unwrap(), "/next");
        });
    }
}

#[test]
fn a_body_that_only_drips_ends_its_stream() {
    let worker = Worker::with_limits(Limits { body: 200, min_rate: 100_000_000, ..Limits::default() });
    let client = worker.connect();
    run(async {
        let (mut sender, _connection) = connect(&client).await;
        let (answer, mut body) = post(&mut sender, "/read");
        let mut answer = std::pin::pin!(text(answer));
        loop {
            body.send_data("x".into(), false).unwrap();
            tokio::select! {
                biased;
                answered = &mut answer => return assert_ended(answered),
                other = text(get(&mut sender, "/other")) => assert_eq!(other.unwrap(), "/other"),
            }
        }
    });
}

#[test]
fn a_body_that_drips_goes_on_where_any_byte_is_progress() {
    let worker = Worker::with_limits(Limits { body: 1000, head: 200, ..Limits::default() });
    let client = worker.connect();
    run(async {
        let (mut sender, _connection) = connect(&client).await;
        let (answer, mut body) = post(&mut sender, "/read");
        // Each time a connection has been limited, which takes a fifth of the time.
        for _ in 0..8 {
            body.send_data("x".into(), false).unwrap();
            limited(&worker).await;
        }
        body.send_data("".into(), true).unwrap();
        assert_eq!(text(answer).await.unwrap(), "8");
    });
}

/// A client that has used up its room waits for the handler, and not the other way round.
/// Nobody says 100 over HTTP/2: a client sends when it has waited long enough, and its word buys it no time.
#[test]
fn who_expects_to_be_told_to_continue_is_limited_as_others_are() {
    let worker = Worker::with_limits(Limits { body: 1000, head: 200, ..Limits::default() });
    let client = worker.connect();
    run(async {
        let (mut sender, _connection) = connect(&client).await;
        let mut expecting = || {
            let request = Request::post("http://a/read").header("expect", "100-continue");
            sender.send_request(request.body(()).unwrap(), false).unwrap()
        };
        let ((answer, mut body), (silent, _body)) = (expecting(), expecting());
        limited(&worker).await;
        body.send_data("late".into(), true).unwrap();
        assert_eq!(text(answer).await.unwrap(), "4");
        assert_ended(text(silent).await);
    });
}

#[test]
fn a_handler_may_leave_a_body_unread() {
    let worker = Worker::with_limits(Limits { head: 200, body: 600, send: 600, ..Limits::default() });
    let client = worker.connect();
    run(async {
        let (mut sender, _connection) = connect(&client).await;
        let (answer, mut body) = post(&mut sender, "/hold-and-echo");
        body.send_data(vec![b'x'; 2 << 20].into(), true).unwrap();
        let held = entered(&worker).await;
        // Outlived by connections that are limited.
        for _ in 0..5 {
            limited(&worker).await;
        }
        drop(held);
        assert_eq!(text(answer).await.unwrap().len(), 2 << 20);
    });
}

#[test]
fn a_body_that_is_left_unread_lifts_no_limit_of_others() {
    let worker = Worker::with_limits(Limits { body: 400, ..Limits::default() });
    let client = worker.connect();
    run(async {
        let (mut sender, _connection) = connect(&client).await;
        let (left, mut unread) = post(&mut sender, "/hold-and-echo");
        unread.send_data(vec![b'x'; 600_000].into(), true).unwrap();
        let held = entered(&worker).await;
        let (answer, _body) = post(&mut sender, "/read");
        assert_ended(text(answer).await);
        drop(held);
        assert_eq!(text(left).await.unwrap().len(), 600_000);
    });
}

#[test]
fn a_body_that_does_not_say_how_long_it_is_ends_its_stream_when_it_is_too_long() {
    const MOST: usize = 100_000;
    for max_body in [MOST, 5 << 20] {
        let worker = Worker::with_limits(Limits { max_body: max_body as u64, ..Limits::default() });
        let client = worker.connect();
        run(async {
            let (mut sender, _connection) = connect(&client).await;
            let (answer, mut body) = post(&mut sender, "/read");
            body.send_data(vec![b'x'; max_body].into(), true).unwrap();
            assert_eq!(text(answer).await.unwrap(), max_body.to_string());
            // With its end, and without one.
            for (more, ends) in [(1, true), (1, false), (8 << 20, false)] {
                let (answer, mut body) = post(&mut sender, "/read");
                body.send_data(vec![b'x'; max_body + more].into(), ends).unwrap();
                assert_ended(text(answer).await);
            }
            assert_eq!(text(get(&mut sender, "/next")).await.unwrap(), "/next");
        });
    }
}

#[test]
fn a_body_that_says_that_it_is_too_long_is_answered() {
    let worker = Worker::with_limits(Limits { max_body: 1000, ..Limits::default() });
    let client = worker.connect();
    run(async {
        let (mut sender, _connection) = connect(&client).await;
        for _ in 0..20 {
            let request = Request::post("http://a/read").header("content-length", "60000").body(()).unwrap();
            let (answer, mut body) = sender.send_request(request, false).unwrap();
            body.send_data(vec![b'x'; 60_000].into(), true).unwrap();
            assert_eq!(answer.await.unwrap().status(), 413);
        }
        assert_eq!(text(get(&mut sender, "/next")).await.unwrap(), "/next");
    });
}

#[test]
fn an_answer_that_is_given_no_room_ends_its_stream() {
    // From a handler that has done, and from one that goes on for ever.
    for path in ["/large", "/endless"] {
        let worker = Worker::with_limits(Limits { send: 200, ..Limits::default() });
        let client = worker.connect();
        run(async {
            let (mut sender, _connection) = connect(&client).await;
            let unread = get(&mut sender, path).await.unwrap();
            let held = get(&mut sender, "/hold");
            // Busy streams beside it are not its progress.
            let ended = async {
                let mut body = unread.into_body();
                let mut room = 0;
                while let Some(piece) = body.data().await {
                    match piece {
                        Ok(piece) => room += piece.len(),
                        Err(error) => return (room, error),
                    }
                }
                panic!("the answer has come to its end")
            };
            let mut ended = std::pin::pin!(ended);
            let (room, error) = loop {
                tokio::select! {
                    biased;
                    ended = &mut ended => break ended,
                    other = text(get(&mut sender, "/other")) => assert_eq!(other.unwrap(), "/other"),
                }
            };
            assert_eq!(room, 16_384);
            assert_ended::<()>(Err(error));
            drop(entered(&worker).await);
            assert_eq!(text(held).await.unwrap(), "held");
        });
    }
}

/// The answer is complete and the rest of the body not wanted: h2 resets such a stream by itself, but behind what waits to
/// be sent there, and so never. Then the connection ends.
#[test]
fn an_early_answer_that_is_given_no_room_ends_the_connection() {
    let worker = Worker::with_limits(Limits { send: 200, ..Limits::default() });
    let client = worker.connect();
    run(async {
        let (mut sender, connection) = connect(&client).await;
        let (answer, mut body) = post(&mut sender, "/large");
        body.send_data("half".into(), false).unwrap();
        let unread = answer.await.unwrap();
        let _cut_off = connection.await.unwrap();
        drop((unread, body));
    });
}

/// Whoever fills the whole connection's room holds all others up: it goes first, and then they go on.
#[test]
fn an_answer_that_fills_the_connection_ends_before_others_do() {
    let worker = Worker::with_limits(Limits { send: 1000, head: 200, ..Limits::default() });
    let client = worker.connect();
    run(async {
        let (mut sender, _connection) = connect_with(&client, 65_535, 65_535).await;
        let unread = get(&mut sender, "/endless").await.unwrap();
        let mut unread = unread.into_body();
        let mut room = 65_535;
        while room > 0 {
            room -= unread.data().await.unwrap().unwrap().len();
        }
        // A fifth of the time later.
        limited(&worker).await;
        // Its head comes, and not a byte behind it.
        let other = get(&mut sender, "/other").await.unwrap();
        assert_ended(unread.data().await.unwrap());
        // More than what was left of its own time then, which it has anew.
        for _ in 0..2 {
            limited(&worker).await;
        }
        unread.flow_control().release_capacity(65_535).unwrap();
        assert_eq!(rest(other).await.unwrap(), "/other");
    });
}

/// Nothing can be put into the middle of a frame, and nothing can come behind it.
#[test]
fn a_frame_that_never_ends_ends_the_connection() {
    let worker = Worker::with_limits(Limits { body: 200, ..Limits::default() });
    let mut client = worker.connect();
    let path = b"/echo";
    let head = [&[0x83, 0x86, 0x44, 5], &path[..], &[0x41, 1, b'a']].concat();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.send_bytes(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
    client.send_bytes(&[&[0, 0, u8::try_from(head.len()).unwrap(), 1, 4, 0, 0, 0, 1], &head[..]].concat());
    client.send_bytes(&[0, 0, 100, 0, 0, 0, 0, 0, 1, b'x']);
    while client.frame().is_some() {}
}

#[test]
fn silent_streams_do_not_hold_a_drain_up() {
    for (path, ends) in [("/endless", true), ("/read", false)] {
        let mut worker = Worker::with_limits(Limits { body: 200, send: 200, ..Limits::default() });
        let client = worker.connect();
        run(async {
            let (mut sender, connection) = connect(&client).await;
            let request = Request::get(format!("http://a{path}")).body(()).unwrap();
            let (answer, body) = sender.send_request(request, ends).unwrap();
            if ends {
                let unread = answer.await.unwrap();
                worker.drain();
                connection.await.unwrap().unwrap();
                drop(unread);
            } else {
                assert_eq!(text(get(&mut sender, "/other")).await.unwrap(), "/other");
                worker.drain();
                assert_ended(answer.await);
                connection.await.unwrap().unwrap();
            }
            drop(body);
        });
        worker.ends();
    }
}

/// Limits that are longer than the drain end shortly before it does.
#[test]
fn silent_streams_end_before_a_drain_does() {
    let mut worker = Worker::start();
    let client = worker.connect();
    run(async {
        let (mut sender, connection) = connect(&client).await;
        let unread = get(&mut sender, "/endless").await.unwrap();
        let (answer, body) = post(&mut sender, "/read");
        assert_eq!(text(get(&mut sender, "/other")).await.unwrap(), "/other");
        worker.drain_within_and_see(std::time::Duration::from_secs(2));
        assert_ended(answer.await);
        connection.await.unwrap().unwrap();
        drop((unread, body));
    });
    worker.ends();
}
