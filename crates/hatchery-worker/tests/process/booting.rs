//! From the fork to ready, or not.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use hatchery_core::ListenMode;
use hatchery_core::wire::worker::WorkerSays;
use hatchery_worker::{Conn, Worker};
use tokio::task::spawn_local;
use tokio::time::sleep;

use crate::Test;
use crate::support::{Client, Master, Options, echo, hang};

pub(crate) const TESTS: &[Test] = &[
    ("an_error_at_boot_is_told_in_full", an_error_at_boot_is_told_in_full),
    ("a_panic_at_boot_is_told", a_panic_at_boot_is_told),
    ("an_application_that_serves_nothing_has_not_booted", an_application_that_serves_nothing_has_not_booted),
    ("one_that_boots_goes_at_once_when_it_is_sent_away", one_that_boots_goes_at_once_when_it_is_sent_away),
    ("without_listeners_the_application_says_when", without_listeners_the_application_says_when),
    ("ready_means_that_every_listener_is_served", ready_means_that_every_listener_is_served),
    ("a_listener_cannot_be_served_twice_nor_one_that_is_not_there", mistakes),
    (
        "what_goes_wrong_in_the_turn_that_serves_is_a_boot_that_failed",
        what_goes_wrong_in_the_turn_that_serves_is_a_boot_that_failed,
    ),
    ("a_listener_that_nobody_serves_is_named", a_listener_that_nobody_serves_is_named),
    ("a_listener_may_be_served_in_a_task", a_listener_may_be_served_in_a_task),
    ("the_title_says_what_it_is_about", the_title_says_what_it_is_about),
];

fn boot_failure(app: impl AsyncFn(Worker, &'static ()) -> Result<(), io::Error>, code: i32) -> String {
    let child = Master::new().fork(Options::default(), app);
    let Some(WorkerSays::BootFailed { text }) = child.next() else { panic!("it did not fail") };
    child.exits_with(code);
    text
}

fn an_error_at_boot_is_told_in_full() {
    let text = boot_failure(async |_, _| Err(io::Error::other("no such table: users;\n100 %")), 1);
    assert_eq!(text, "no such table: users; 100 %");
}

fn a_panic_at_boot_is_told() {
    let text = boot_failure(async |_, _| panic!("no config"), 101);
    assert_eq!(text, "the application has panicked: no config");
}

fn an_application_that_serves_nothing_has_not_booted() {
    let text = boot_failure(async |_, _| Ok(()), 1);
    assert_eq!(text, "the application has returned without serving anything");
}

fn one_that_boots_goes_at_once_when_it_is_sent_away() {
    let child = Master::new().fork(Options::default(), hang);
    child.drain();
    assert_eq!(child.next(), None);
    child.exits_with(0);
}

fn without_listeners_the_application_says_when() {
    let master = Master::with(&[], ListenMode::Shared, 1);
    let child = master.fork(Options::default(), async |worker, _| {
        worker.ready();
        worker.draining().await;
        Ok::<_, Infallible>(())
    });
    child.is_ready();
    child.settle();
    assert!(child.is_alive());
    child.finish();
    child.expect(&WorkerSays::Emptied);
    child.exits_with(0);
}

fn ready_means_that_every_listener_is_served() {
    let listeners = [(Some("raw"), "127.0.0.1:0"), (None, "127.0.0.1:0")];
    let master = Master::with(&listeners, ListenMode::Shared, 1);
    let child = master.fork(Options::default(), async |worker: Worker, _| {
        assert_eq!(worker.listeners().count(), 2);
        assert_eq!(worker.only("raw").listeners().next().unwrap().name.as_deref(), Some("raw"));
        worker.ready();
        let (raw, rest) = (worker.only("raw"), worker.without("raw"));
        let greet = async |text: &'static str, conn: Conn| {
            let _ = conn.stream().try_write(text.as_bytes());
        };
        tokio::try_join!(
            raw.serve(async move |conn| greet("raw\n", conn).await),
            rest.serve(async move |conn| greet("rest\n", conn).await)
        )
        .map(|_| ())
    });
    child.is_ready();
    child.assign([0, 1]);
    assert_eq!(Client::connect(master.address(0)).hear(), "raw");
    assert_eq!(Client::connect(master.address(1)).hear(), "rest");
    child.drain();
    assert_eq!(child.next(), None);
    child.exits_with(0);
}

fn mistakes() {
    let child =
        Master::new().fork(Options::default(), async |worker: Worker, _| worker.only("x").serve(async |_| {}).await);
    let text = "there is no listener with the name `x`: none has a name".to_owned();
    child.expect(&WorkerSays::BootFailed { text });
    child.exits_with(1);

    let child = Master::with(&[(Some("lines"), "127.0.0.1:0"), (None, "127.0.0.1:0")], ListenMode::Shared, 1)
        .fork(Options::default(), async |worker: Worker, _| worker.only("line").serve(async |_| {}).await);
    let text = "there is no listener with the name `line`: expected one of `lines`".to_owned();
    child.expect(&WorkerSays::BootFailed { text });
    child.exits_with(1);

    let child = Master::new().fork(Options::default(), async |worker: Worker, _| {
        tokio::try_join!(worker.clone().serve(async |_| {}), worker.serve(async |_| {})).map(|_| ())
    });
    // The first call has claimed all there are, and the second one fails in the same turn.
    child.did_not_boot("is served already");

    // A protocol of one's own would read the handshake.
    let master = Master::with(&[(None, "127.0.0.1:0"), (Some("tls"), "127.0.0.1:0")], ListenMode::Shared, 1);
    let child = master.fork(Options::default(), async |worker: Worker, _| {
        assert!(worker.without("tls").listeners().all(|listener| !listener.is_secure()));
        worker.serve(async |_| {}).await
    });
    child.did_not_boot("speaks TLS, for HTTP only");
}

fn what_goes_wrong_in_the_turn_that_serves_is_a_boot_that_failed() {
    let child = Master::new().fork(Options::default(), async |worker: Worker, _| {
        let late = async { Err::<(), _>(io::Error::other("no such table")) };
        tokio::try_join!(async { worker.serve(async |_| {}).await.map_err(io::Error::other) }, late).map(|_| ())
    });
    child.did_not_boot("no such table");

    // What tasks of its own do counts as well.
    let child = Master::new().fork(Options::default(), async |worker: Worker, _| {
        let calls = [worker.clone(), worker].map(|worker| spawn_local(worker.serve(async |_| {})));
        let [first, second] = calls;
        second.await.unwrap()?;
        first.await.unwrap()
    });
    child.did_not_boot("is served already");
}

fn a_listener_that_nobody_serves_is_named() {
    let listeners = [(Some("lines"), "127.0.0.1:0"), (None, "127.0.0.1:0"), (Some("raw"), "127.0.0.1:0")];
    let master = Master::with(&listeners, ListenMode::Shared, 1);
    let options = Options { boot_timeout: Some(Duration::from_millis(20)), ..Options::default() };
    let child = master.fork(options, async |worker: Worker, _| {
        let [lines, raw] = ["lines", "raw"].map(|name| worker.only(name).serve(async |_| {}));
        tokio::try_join!(lines, async {
            // So much later that the word is out about two of them.
            sleep(Duration::from_secs(1)).await;
            raw.await
        })
        .map(|_| ())
    });
    let (plain, raw) = (master.address(1), master.address(2));
    let text = |list: String| WorkerSays::Waits {
        text: format!("nobody serves {list}: each listener needs a call that serves it"),
    };
    child.expect(&text(format!("{plain}, `raw` on {raw}")));
    child.expect(&text(plain.to_string()));
    child.drain();
    assert_eq!(child.next(), None);
    child.exits_with(0);
}

fn a_listener_may_be_served_in_a_task() {
    let master = Master::new();
    let child = master.fork(Options::default(), async |worker: Worker, _| {
        spawn_local(worker.serve(async |conn: Conn| {
            let _ = conn.stream().try_write(b"here\n");
        }))
        .await
        .unwrap()
    });
    child.is_ready();
    child.assign([0]);
    assert_eq!(master.client().hear(), "here");
    child.drain();
    assert_eq!(child.next(), None);
    child.exits_with(0);
}

fn the_title_says_what_it_is_about() {
    let master = Master::new();
    let child = master.fork(Options { slot: 1, ..Options::default() }, echo);
    child.is_ready();
    assert_eq!(child.title(), "hatchery: worker 1 gen 3 ready");
    child.assign([0]);
    let mut client = master.client();
    client.echo();
    client.say("deaf");
    client.hear();
    child.drain();
    child.settle();
    assert_eq!(child.title(), "hatchery: worker 1 gen 3 draining");
}
