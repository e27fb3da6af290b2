//! Servers that do what they should not, by their first argument.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use hatchery::{BoxError, Exit, Generation, Server, Worker, http};

fn main() -> Exit {
    match std::env::args().nth(1).as_deref() {
        Some("current-thread") => current_thread(),
        Some("multi-thread") => multi_thread(),
        Some("thread") => beside_a_thread(),
        Some("runtime") => beside_a_runtime(),
        Some("many-lines") => serve(),
        Some("passed") => passed(),
        Some("half") => half(|_| true),
        Some("half-later") => half(|generation| generation > Generation(1)),
        Some("twice") => twice(|_| true),
        Some("twice-later") => twice(|generation| generation > Generation(1)),
        other => panic!("no such case: {other:?}"),
    }
}

/// Answers every request with an error whose text has line breaks.
fn serve() -> Exit {
    Server::new()
        .bind("127.0.0.1:0")
        .workers(1)
        .run(http::serve_fn(async |_request| Err::<http::Response, BoxError>("one\ntwo\r\nERROR three".into())))
}

/// Serves its listener by two calls, in some generations.
fn twice(wrong: impl Fn(Generation) -> bool) -> Exit {
    let hello = http::serve_fn(async |_request| Ok::<_, BoxError>(http::Response::new("hello".into())));
    Server::new().bind("127.0.0.1:0").workers(1).run(async move |worker: Worker, nothing: &'static ()| {
        if wrong(worker.generation()) {
            tokio::try_join!(hello(worker.clone(), nothing), hello(worker, nothing)).map(|_| ())
        } else {
            hello(worker, nothing).await
        }
    })
}

/// Asks for a socket by the name that a service manager has passed it by.
fn passed() -> Exit {
    let web = http::serve_fn(async |_request| Ok::<_, BoxError>(http::Response::new("web".into())));
    let lines = http::serve_fn(async |_request| Ok::<_, BoxError>(http::Response::new("lines".into())));
    let server = Server::new().bind("127.0.0.1:0").bind_named("lines", "fd:lines").workers(1);
    server.pid_file("lab.pid").upgrade_probation(Duration::from_millis(200)).run(
        async move |worker: Worker, nothing: &'static ()| {
            tokio::try_join!(web(worker.without("lines"), nothing), lines(worker.only("lines"), nothing)).map(|_| ())
        },
    )
}

/// Leaves one of its listeners to nobody, in some generations.
fn half(wrong: impl Fn(Generation) -> bool) -> Exit {
    let hello = http::serve_fn(async |_request| Ok::<_, BoxError>(http::Response::new("hello".into())));
    let mut server = Server::new().bind("127.0.0.1:0").bind_named("lines", "127.0.0.1:0").workers(2);
    if let Ok(path) = std::env::var("MISFIT_CONTROL") {
        server = server.control(path);
    }
    server.boot_timeout(Duration::from_secs(3)).run(async move |worker: Worker, nothing: &'static ()| {
        let worker = if wrong(worker.generation()) { worker.without("lines") } else { worker };
        hello(worker, nothing).await
    })
}

#[tokio::main(flavor = "current_thread")]
async fn current_thread() -> Exit {
    serve()
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn multi_thread() -> Exit {
    serve()
}

fn beside_a_thread() -> Exit {
    let (_end, wait) = mpsc::channel::<()>();
    let started = thread::Builder::new().name("busybody".to_owned()).spawn(move || wait.recv());
    let _runs = started.expect("a thread");
    serve()
}

fn beside_a_runtime() -> Exit {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("drudge").build();
    let _runs = runtime.expect("a runtime");
    serve()
}
