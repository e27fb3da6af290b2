//! From a fork to the exit code.

use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use hatchery_core::wire::worker::WorkerSays;
use hatchery_sys::board::{Board, Counter};
use hatchery_sys::channel::Channel;
use hatchery_sys::signals::SelfPipe;
use hatchery_sys::{Signal, process};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tracing::error;

use crate::conn::Message;
use crate::error::one_line;
use crate::quota::Meter;
use crate::relay::inlet::Reader;
use crate::shared::{Parts, Shared};
use crate::{Counters, Seed, Worker, control, dump, heartbeat};

/// Drained, or sent away while it was still booting.
const DONE: i32 = 0;
/// The application has failed.
const FAILED: i32 = 1;
/// The application has panicked, outside of a connection's handler.
const PANICKED: i32 = 101;

/// Runs `app` in this process, a forked child, until it ends.
///
/// Returns the exit code: 0 when the worker has drained, 1 when the application
/// has failed, 101 when it has panicked. The caller leaves with
/// [`exit_now`](hatchery_sys::process::exit_now): the frames above are copies
/// of the master's.
///
/// Until `app` serves (see [`Worker::accept`]) it boots: an error is the reason
/// that the master logs, an order to drain ends it at once.
///
/// ```no_run
/// use hatchery_sys::process;
/// use hatchery_worker::{Conn, Seed, Worker};
///
/// /// What a child does after its fork: it does not return to the master's frames.
/// fn child(seed: Seed) -> ! {
///     let code = hatchery_worker::run(seed, &"hello\n", async |worker: Worker, greeting: &'static &str| {
///         worker.serve(async |conn: Conn| greet(conn, greeting).await).await
///     });
///     process::exit_now(code)
/// }
/// # async fn greet(_: Conn, _: &str) {}
/// # let _: fn(Seed) -> ! = child;
/// ```
pub fn run<A, P, E>(seed: Seed, preloaded: &'static P, app: A) -> i32
where
    A: AsyncFn(Worker, &'static P) -> Result<(), E>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let (shared, outside) = match begin(seed) {
        Ok(begun) => begun,
        Err(code) => return code,
    };
    let end = match build(&shared, outside) {
        Ok(runtime) => {
            let end = catch_unwind(AssertUnwindSafe(|| runtime.block_on(live(&shared, preloaded, &app))));
            // What still runs on other threads is not waited for.
            runtime.shutdown_background();
            end.unwrap_or_else(|panic| End::Panicked(Message(&*panic).to_string()))
        }
        Err(error) => End::Failed(format!("cannot build the runtime: {error}")),
    };
    conclude(&shared, end)
}

/// Whether the caller runs inside of a tokio runtime, which a fork would break.
///
/// ```
/// assert!(!hatchery_worker::runtime::is_inside(), "call this before the runtime is made");
/// ```
#[must_use]
pub fn is_inside() -> bool {
    tokio::runtime::Handle::try_current().is_ok()
}

/// How an application has ended.
enum End {
    /// As it should.
    Done,
    /// With this error, as one line.
    Failed(String),
    /// With this message.
    Panicked(String),
}

/// What comes from outside, and what is needed for it.
struct Outside {
    signals: SelfPipe,
    reopen: Box<dyn Fn(Option<OwnedFd>)>,
    cell: &'static hatchery_sys::board::Cell,
    measure: bool,
    /// Where connections of other processes come out.
    exit: Channel,
}

fn begin(seed: Seed) -> Result<(Rc<Shared>, Outside), i32> {
    let Seed {
        slot,
        generation,
        master,
        listeners,
        relay,
        channel,
        board,
        cell,
        secret,
        limits,
        quota,
        measure,
        boot_timeout,
        drain_timeout,
        blocked,
        jobs,
        kept,
        sidecar,
        reopen,
    } = seed;
    // The backstop, if this process gets stuck before it can hear that its
    // master is gone. A master that died before this line sends no signal: so ask afterwards.
    let asked = process::die_with_parent(Signal::SIGKILL);
    if process::parent() != master {
        return Err(FAILED);
    }
    // The process ends with `_exit`: the board is mapped until then.
    let cell = Box::leak::<'static>(Box::<Board>::new(board)).cell(cell);
    cell.pid.store(process::pid().as_raw().unsigned_abs().into(), Ordering::Relaxed);
    let before = cell.count(Counter::Requests).load(Ordering::Relaxed);
    let counters = Counters::new(cell, Box::leak(Box::new(Meter::new(quota, slot, before))));
    let parts = Parts {
        slot,
        secret,
        sidecar,
        jobs,
        kept,
        generation,
        master,
        limits,
        counters,
        queues: listeners,
        channel,
        boot_timeout,
        drain_timeout,
    };
    let shared = Shared::new(parts);
    shared.entitle("starting");
    let heard = asked.and_then(|()| dump::install(&shared, cell));
    match heard.and_then(|()| control::catch_signals(blocked)) {
        Ok(signals) => Ok((shared, Outside { signals, reopen, cell, measure, exit: relay.into_exit() })),
        Err(error) => Err(conclude(&shared, End::Failed(format!("cannot install signal handlers: {error}")))),
    }
}

fn build(shared: &Rc<Shared>, outside: Outside) -> io::Result<LocalRuntime> {
    let mut builder = Builder::new_current_thread();
    builder.enable_all();
    heartbeat::install(&mut builder, outside.cell, outside.measure);
    let runtime = builder.build_local(LocalOptions::default())?;
    let _set_once = shared.records.ledger.metrics.set(runtime.handle().metrics());
    let entered = runtime.enter();
    let reopen: Rc<dyn Fn(Option<OwnedFd>)> = outside.reopen.into();
    let signals = control::Signals::register(outside.signals)?;
    let master = control::Master::register(&shared.channel)?;
    let reader = Reader::register(outside.exit, shared)?;
    drop(entered);
    runtime.spawn_local(signals.obey(Rc::clone(shared), Rc::clone(&reopen)));
    runtime.spawn_local(master.obey(Rc::clone(shared), reopen));
    runtime.spawn_local(reader.run());
    runtime.spawn_local(Rc::clone(&shared.outlet).keep());
    Ok(runtime)
}

async fn live<A, P, E>(shared: &Rc<Shared>, preloaded: &'static P, app: &A) -> End
where
    A: AsyncFn(Worker, &'static P) -> Result<(), E>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let mut app = pin!(app(Worker::new(shared), preloaded));
    let mut sent_away = pin!(shared.drained.cancelled());
    let mut misses = pin!(shared.misses());
    poll_fn(|cx| {
        if let Poll::Ready(returned) = app.as_mut().poll(cx) {
            return Poll::Ready(match returned {
                Ok(()) if shared.is_booting() && !shared.stage().is_draining() => {
                    End::Failed("the application has returned without serving anything".to_owned())
                }
                Ok(()) => End::Done,
                Err(error) => End::Failed(one_line(&*error.into())),
            });
        }
        // A worker that has never been ready has nothing that it could bring to an end.
        if shared.is_booting() {
            if sent_away.as_mut().poll(cx).is_ready() {
                return Poll::Ready(End::Done);
            }
            shared.waits(cx.waker());
            let _for_ever = misses.as_mut().poll(cx);
        }
        Poll::Pending
    })
    .await
}

/// Says how it ended to who has to know, and gives the exit code.
fn conclude(shared: &Shared, end: End) -> i32 {
    let (text, code) = match end {
        End::Done => return DONE,
        End::Failed(text) => (text, FAILED),
        End::Panicked(text) => (format!("the application has panicked: {text}"), PANICKED),
    };
    if shared.is_booting() {
        shared.say(&WorkerSays::BootFailed { text });
    } else {
        error!("{} ends: {text}", shared.name);
    }
    code
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside").field("signals", &self.signals).finish_non_exhaustive()
    }
}
