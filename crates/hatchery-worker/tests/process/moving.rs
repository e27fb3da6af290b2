//! Connections that move from one worker to another, with everything that they have.

use std::sync::atomic::Ordering;

use hatchery_core::wire::worker::{Heir, MasterSays, Whose};
use hatchery_core::{Service, Takes};
use hatchery_sys::Signal;
use hatchery_worker::hand_over::LONGEST_STATE;
use hatchery_worker::{Accepted, Conn, Luggage, Worker};
use std::os::fd::AsFd;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use crate::Test;
use crate::support::{Child, Client, Master, Options, Order, count_lines, counter, wait_for};

pub(crate) const TESTS: &[Test] = &[
    ("connections_move_with_what_they_have", connections_move_with_what_they_have),
    ("a_client_in_the_middle_of_everything_sees_nothing", a_client_in_the_middle_of_everything_sees_nothing),
    ("what_is_too_large_stays", what_is_too_large_stays),
    ("what_was_read_in_part_stays_in_order", what_was_read_in_part_stays_in_order),
    ("only_what_was_declared_is_sent", only_what_was_declared_is_sent),
    ("a_worker_declares_what_it_serves", a_worker_declares_what_it_serves),
    ("some_are_shed_and_never_come_back", some_are_shed_and_never_come_back),
    ("what_is_shed_stays_where_there_is_no_room", what_is_shed_stays_where_there_is_no_room),
    ("handlers_are_asked_to_shed_some", handlers_are_asked_to_shed_some),
    ("a_handler_goes_on_where_there_is_no_room", a_handler_goes_on_where_there_is_no_room),
    ("nobody_is_asked_to_move_to_nobody", nobody_is_asked_to_move_to_nobody),
    ("a_worker_without_room_takes_what_nobody_else_takes", a_worker_without_room_takes_what_nobody_else_takes),
    ("a_reader_that_was_told_to_rest_reads_no_more", a_reader_that_was_told_to_rest_reads_no_more),
];

/// A worker that serves, one of the next generation that reads its relay, and that generation.
pub(crate) fn two_generations() -> (Master, Child, Master, Child, Takes) {
    let master = Master::new();
    let old = master.counting(Options::default());
    let next = master.next();
    let new = next.fork(Options::default(), counter);
    let takes = new.is_ready();
    new.assign([]);
    (master, old, next, new, takes)
}

/// Clients of a worker, each of which has said one line and the beginning of another.
pub(crate) fn talking(master: &Master, worker: &Child, count: usize) -> Vec<Client> {
    let begin = |_| {
        let mut client = master.client();
        client.write("one\nt");
        assert_eq!(client.counted(), ("one".to_owned(), 1, worker.pid));
        client
    };
    (0..count).map(begin).collect()
}

/// Whether a client goes on where it was, and with whom.
pub(crate) fn goes_on(client: &mut Client, worker: &Child) {
    client.write("wo\n");
    assert_eq!(client.counted(), ("two".to_owned(), 2, worker.pid), "{}", worker.log());
}

fn connections_move_with_what_they_have() {
    let (master, old, next, new, takes) = two_generations();
    let mut clients = talking(&master, &old, 20);
    old.drain_to(&next.relay, Order::to(Whose::Successor, &takes));
    old.exits_with(0);
    for client in &mut clients {
        goes_on(client, &new);
    }
    assert_eq!((new.moved(), new.accepted(), new.open(), new.refused()), (20, 0, 20, 0));
    clients[7].say("moves ?");
    assert_eq!(clients[7].counted(), ("1".to_owned(), 0, new.pid));
    drop(clients);
    wait_for("all are closed", || new.open() == 0);
}

fn a_client_in_the_middle_of_everything_sees_nothing() {
    let mut master = Master::new();
    let mut worker = master.counting(Options::default());
    let mut client = master.client();
    client.say("zeroth");
    assert_eq!(client.counted().2, worker.pid);
    for round in 0..10 {
        let next = master.next();
        let new = next.counting(Options::default());
        let takes =
            Takes::these([Service { listener: master.address(0).to_string(), name: "counter".to_owned(), state: 1 }]);
        // Whoever reads it, in whichever pieces.
        client.write("first\nsec");
        // It may not even have read its own relay yet.
        worker.drain_to(&next.relay, Order { last: true, ..Order::to(Whose::Successor, &takes) });
        master.relay.shut();
        client.write("ond\n");
        assert_eq!(client.counted().1, 2 * round + 2, "{} {}", worker.log(), new.log());
        assert_eq!(client.counted().1, 2 * round + 3);
        worker.exits_with(0);
        (master, worker) = (next, new);
    }
    client.say("moves ?");
    assert_eq!(client.counted().0, "10");
    assert_eq!(worker.log(), "");
}

fn what_is_too_large_stays() {
    let (master, old, next, new, takes) = two_generations();
    let (mut fits, mut does_not) = (master.client(), master.client());
    // The counter itself takes 8 bytes.
    let most = LONGEST_STATE - 8;
    for (client, ballast) in [(&mut fits, most), (&mut does_not, most + 1)] {
        client.say(&format!("ballast {ballast}"));
        assert_eq!(client.counted().0, "ballast");
    }
    // And as much that is read and not used as there may be.
    fits.write(&"x".repeat(60 * 1024));
    wait_for("the worker has read it", || master.unread_by_worker(&fits) == 0);
    old.drain_to(&next.relay, Order::to(Whose::Successor, &takes));
    wait_for("it has moved", || new.moved() == 1);
    fits.write("y\n");
    let (line, count, pid) = fits.counted();
    assert_eq!((line.len(), count, pid), (60 * 1024 + 1, 2, new.pid));
    fits.say("moves ?");
    assert_eq!(fits.counted().1, most as u64);
    assert_eq!(does_not.hear(), "bye: it would take a message of 131073 bytes, and 131072 is the most");
    assert_eq!(does_not.hear(), "");
    old.exits_with(0);
}

/// Reads three bytes where it comes first, one where it comes next, and answers with what it has in the end.
async fn sipping(worker: Worker, _: &'static ()) -> Result<(), hatchery_worker::ServeError> {
    let handler = async |mut conn: Conn| {
        let mut taken = vec![0; if conn.journey().moves == 1 { 1 } else { 3 }];
        conn.read_exact(&mut taken).await.unwrap();
        if conn.journey().moves < 2 {
            conn.draining().await;
            conn.hand_over(b"", &taken).await.unwrap();
        } else {
            conn.write_all(&taken).await.unwrap();
        }
    };
    worker.carrying("counter", 1).serve(handler).await
}

fn what_was_read_in_part_stays_in_order() {
    let masters: Vec<Master> =
        (0..3).scan(Master::new(), |last, _| Some(std::mem::replace(last, last.next()))).collect();
    let workers: Vec<Child> = masters.iter().map(|master| master.fork(Options::default(), sipping)).collect();
    let takes: Vec<Takes> = workers.iter().map(Child::is_ready).collect();
    masters[0].assign_all(&workers[0]);
    workers[1..].iter().for_each(|worker| worker.assign([]));
    let mut client = masters[0].client();
    client.write("abc");
    wait_for("it is read", || workers[0].open() == 1 && masters[0].unread_by_worker(&client) == 0);
    workers[0].drain_to(&masters[1].relay, Order::to(Whose::Successor, &takes[1]));
    wait_for("it has moved", || workers[1].open() == 1);
    workers[1].drain_to(&masters[2].relay, Order::to(Whose::Successor, &takes[2]));
    assert_eq!(client.hear(), "abc");
}

fn only_what_was_declared_is_sent() {
    let (master, old, next, new, _) = two_generations();
    let mut clients = talking(&master, &old, 2);
    let other = Service { listener: master.address(0).to_string(), name: "counter".to_owned(), state: 2 };
    old.drain_to(&next.relay, Order::to(Whose::Successor, &Takes::these([other])));
    for client in &mut clients {
        assert_eq!(client.hear(), "bye: nobody takes connections of this service at present");
    }
    old.exits_with(0);
    assert_eq!((new.moved(), new.refused()), (0, 0));
}

fn a_worker_declares_what_it_serves() {
    let master = Master::with(&[(Some("a"), "127.0.0.1:0"), (Some("b"), "127.0.0.1:0")], Default::default(), 1);
    let child = master.fork(Options::default(), async |worker: Worker, _| {
        let (a, b) = (worker.only("a").carrying("counter", 7), worker.only("b"));
        tokio::try_join!(a.serve(count_lines), b.serve(count_lines)).map(|_| ())
    });
    let declared = Service { listener: master.address(0).to_string(), name: "counter".to_owned(), state: 7 };
    assert_eq!(child.is_ready(), Takes::these([declared]));
    assert_eq!(master.fork(Options::default(), crate::support::echo).is_ready(), Takes::nothing());
    let child =
        master.fork(Options::default(), async |worker: Worker, _| worker.carrying("a/b", 1).serve(count_lines).await);
    let text = "`a/b` is no name of a service: it is not empty, and has no `/` in it".to_owned();
    child.expect(&hatchery_core::wire::worker::WorkerSays::BootFailed { text });
}

/// Counts nothing, and moves connections when it is asked to hand some over.
async fn shedding(worker: Worker, _: &'static ()) -> Result<(), hatchery_worker::ServeError> {
    let asked = Rc::new(Notify::new());
    let (told, teller) = (Rc::clone(&asked), worker.clone());
    tokio::task::spawn_local(async move {
        loop {
            teller.asked_to_shed().await;
            told.notify_waiters();
        }
    });
    let serving = worker.carrying("counter", 1);
    serving
        .clone()
        .accept(move |accepted: Accepted| {
            let (worker, asked) = (serving.clone(), Rc::clone(&asked));
            tokio::task::spawn_local(async move {
                let Accepted { mut stream, peer, listener, permit, journey, .. } = accepted;
                let mut buffer = [0; 64];
                loop {
                    tokio::select! {
                        read = stream.read(&mut buffer) => match read {
                            Ok(1..) => {
                                let pid = hatchery_sys::process::pid();
                                stream.write_all(format!("hello 0 {pid}\n").as_bytes()).await.unwrap();
                            }
                            Ok(0) | Err(_) => return,
                        },
                        () = asked.notified() => if permit.has_heir(listener) && worker.shed_one() {
                            let luggage = Luggage { journey: &journey, unread: &[], state: None };
                            let moved = std::future::poll_fn(|cx| {
                                permit.poll_move(cx, listener, &stream, peer, &luggage)
                            });
                            match moved.await {
                                Ok(()) => return,
                                Err(stay) => stream.write_all(format!("stays: {stay}\n").as_bytes()).await.unwrap(),
                            }
                        },
                        () = worker.draining() => return,
                    }
                }
            });
        })
        .await
}

/// The same, by handlers.
async fn asking(worker: Worker, _: &'static ()) -> Result<(), hatchery_worker::ServeError> {
    let handler = async |mut conn: Conn| {
        let mut buffer = [0; 64];
        loop {
            let asked = conn.asked_to_move();
            tokio::select! {
                biased;
                read = conn.read(&mut buffer) => match read {
                    Ok(1..) => {
                        let pid = hatchery_sys::process::pid();
                        conn.write_all(format!("hello 0 {pid}\n").as_bytes()).await.unwrap();
                    }
                    Ok(0) | Err(_) => return,
                },
                () = asked => match conn.hand_over(&[], &[]).await {
                    Ok(()) => return,
                    Err(stays) if stays.conn.is_draining() => return,
                    Err(stays) => {
                        conn = stays.conn;
                        conn.write_all(format!("stays: {}\n", stays.why).as_bytes()).await.unwrap();
                    }
                },
            }
        }
    };
    worker.carrying("counter", 1).serve(handler).await
}

fn shed(child: &Child, connections: u32, master: &Master, takes: &Takes) {
    let heir = Heir { relay: Whose::Own, takes: takes.clone() };
    child.say_with(&MasterSays::Shed { connections, heir }, &[master.relay.entry().as_fd()]);
}

fn pids(clients: &mut [Client], child: &Child) -> (usize, usize) {
    let heard = |client: &mut Client| {
        client.say("hello");
        client.counted().2
    };
    let here = clients.iter_mut().filter_map(|client| (heard(client) == child.pid).then_some(())).count();
    (here, clients.len() - here)
}

fn some_are_shed_and_never_come_back() {
    sheds_some(shedding);
}

fn handlers_are_asked_to_shed_some() {
    sheds_some(asking);
}

fn sheds_some(app: impl AsyncFn(Worker, &'static ()) -> Result<(), hatchery_worker::ServeError> + Copy) {
    let master = Master::new();
    let one = master.fork(Options::default(), app);
    let takes = one.is_ready();
    master.assign_all(&one);
    let mut clients: Vec<Client> = (0..10).map(|_| master.client()).collect();
    assert_eq!(pids(&mut clients, &one), (10, 0));
    // Nobody reads the relay but the one that hands over: and it must not.
    shed(&one, 4, &master, &takes);
    wait_for("four are on their way", || one.open() == 6);
    one.rest();
    one.settle();
    assert_eq!(one.moved(), 0);

    let other = master.fork(Options::default(), app);
    other.is_ready();
    other.assign([]);
    wait_for("four have arrived", || other.moved() == 4);
    assert_eq!(pids(&mut clients, &one), (6, 4));
    // The number is set, not added to.
    shed(&one, 5, &master, &takes);
    shed(&one, 0, &master, &takes);
    one.settle();
    wait_for("nothing is on its way", || one.open() + other.open() == 10);
    one.assign([0]);
    one.settle();
    let (here, there) = pids(&mut clients, &one);
    assert_eq!((here + there, here as u64), (10, one.open()));
}

fn what_is_shed_stays_where_there_is_no_room() {
    stays_without_room(shedding);
}

fn a_handler_goes_on_where_there_is_no_room() {
    stays_without_room(asking);
}

fn stays_without_room(app: impl AsyncFn(Worker, &'static ()) -> Result<(), hatchery_worker::ServeError> + Copy) {
    let master = Master::new();
    let one = master.fork(Options::default(), app);
    let takes = one.is_ready();
    master.assign_all(&one);
    let mut clients: Vec<Client> = (0..40).map(|_| master.client()).collect();
    assert_eq!(pids(&mut clients, &one), (40, 0));
    master.narrow_relay();
    shed(&one, 40, &master, &takes);
    let stays = "stays: there was no room in the relay in time";
    wait_for("some have found no room", || one.open() < 40);
    one.settle();
    let left = usize::try_from(one.open()).unwrap();
    assert!((1..40).contains(&left));
    // Those on their way say nothing; each of the others has gone on.
    let stay = clients.iter_mut().filter_map(|client| client.hears_something().then(|| client.hear()));
    assert_eq!(stay.filter(|heard| heard == stays).count(), left);
    let other = master.fork(Options::default(), app);
    other.is_ready();
    other.assign([]);
    one.rest();
    wait_for("they have arrived", || other.moved() == 40 - one.open());
    assert_eq!(pids(&mut clients, &one), (left, 40 - left));
}

fn nobody_is_asked_to_move_to_nobody() {
    let master = Master::new();
    let one = master.fork(Options::default(), asking);
    let takes = one.is_ready();
    master.assign_all(&one);
    let mut clients: Vec<Client> = (0..10).map(|_| master.client()).collect();
    assert_eq!(pids(&mut clients, &one), (10, 0));
    let other = Service { listener: master.address(0).to_string(), name: "counter".to_owned(), state: 2 };
    shed(&one, 4, &master, &Takes::these([other]));
    one.settle();
    assert_eq!(pids(&mut clients, &one), (10, 0), "and none of them has heard of it");
    // The next order is another one.
    shed(&one, 4, &master, &takes);
    wait_for("four are on their way", || one.open() == 6);
}

fn a_worker_without_room_takes_what_nobody_else_takes() {
    let (master, old, next, new, takes) = two_generations();
    drop(new);
    let new = next.fork(Options { max_connections: 3, ..Options::default() }, counter);
    new.is_ready();
    new.assign([]);
    let mut clients = talking(&master, &old, 10);
    old.drain_to(&next.relay, Order::to(Whose::Successor, &takes));
    old.exits_with(0);
    wait_for("it is full", || new.open() == 3);
    // They were clients before, and would wait for as long as it is full.
    wait_for("the others were taken as well", || new.moved() == 10);
    for client in &mut clients {
        goes_on(client, &new);
    }
}

fn a_reader_that_was_told_to_rest_reads_no_more() {
    let (master, old, next, new, takes) = two_generations();
    new.rest();
    new.settle();
    let mut clients = talking(&master, &old, 10);
    old.drain_to(&next.relay, Order::to(Whose::Successor, &takes));
    old.exits_with(0);
    let turns = || new.cell().turn.load(Ordering::Relaxed);
    let before = turns();
    new.settle();
    assert_eq!(new.moved(), 0);
    assert!(turns() < before + 60, "it is woken by ten messages, and does not spin");
    new.kill(Signal::SIGTERM);
    new.expect(&hatchery_core::wire::worker::WorkerSays::Recycle);
    new.assign([]);
    for client in &mut clients {
        goes_on(client, &new);
    }
}
