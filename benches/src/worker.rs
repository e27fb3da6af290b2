//! One worker of hatchery without a master: its channel is standard input.

use std::convert::Infallible;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::time::Duration;

use hatchery_core::{Generation, ListenMode, Slot};
use hatchery_http::{AccessFormat, AccessLog, Request, serve_fn, text};
use hatchery_net::{Address, Listener, Listeners, Spec};
use hatchery_sys::board::Board;
use hatchery_sys::channel::Channel;
use hatchery_worker::{Limits, Seed};

/// Like [`serve`], with an access log that is thrown away.
///
/// # Panics
///
/// As [`serve`].
pub fn serve_logging() {
    let nowhere = File::create("/dev/null").expect("a place for what nobody reads");
    AccessLog::new(AccessFormat::Combined, move |line| (&nowhere).write_all(line).expect("it takes everything"))
        .install()
        .expect("no other log");
    serve(false);
}

/// Becomes a worker that serves on a free port, which is written to standard output, until its channel ends.
///
/// It measures how long requests take, if that is asked for.
///
/// # Panics
///
/// If anything that a worker is made of cannot be had.
pub fn serve(measure: bool) {
    let blocked = hatchery_sys::signals::block_all().expect("blocked signals");
    let spec = Spec { name: None, address: "127.0.0.1:0".parse().expect("an address") };
    let listener = Listener::bind(&spec, ListenMode::Shared, 1, 4096).expect("a free port");
    let Address::Tcp(bound) = listener.bound() else { unreachable!("bound to TCP") };
    println!("{}", bound.port());
    std::io::stdout().flush().expect("somebody reads the port");
    let channel = std::io::stdin().as_fd().try_clone_to_owned().expect("a descriptor");
    let seed = Seed {
        slot: Slot(0),
        generation: Generation::FIRST,
        master: hatchery_sys::process::parent(),
        listeners: Listeners::new(vec![listener]),
        relay: hatchery_net::Relay::pair().expect("a relay"),
        channel: Channel::from_fd(channel).expect("a channel as standard input"),
        board: Board::create(1).expect("a board"),
        cell: 0,
        secret: None,
        limits: Limits::default(),
        quota: None,
        measure,
        boot_timeout: Duration::from_secs(30),
        drain_timeout: Duration::from_secs(30),
        jobs: Vec::new(),
        kept: hatchery_net::Kept::default(),
        sidecar: None,
        reopen: Box::new(|_opened| {}),
        blocked,
    };
    let app = serve_fn(async |_request: Request| Ok::<_, Infallible>(text("Hello, World!")));
    let code = hatchery_worker::run(seed, &(), app);
    hatchery_sys::process::exit_now(code);
}
