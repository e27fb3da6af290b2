//! Clients of every kind at once, on one event loop, that never retry: every
//! request that was sent has to be answered, whatever happens to the server.
//!
//! A [`Storm`] is made of [`Crowd`]s, each of one kind, address and choice of
//! requests ([`Ask`]), so that it can be let loose on any server. It ends with
//! a [`Report`], a [`Tally`] for each crowd.
//!
//! * `player`: what every client does; a file for each kind
//! * `connection`: HTTP/1.1 and lines; `random`: think times from a seed

mod ask;
mod connection;
mod crowd;
mod frames;
mod fresh;
mod heads;
mod http2;
mod idle;
mod keep_alive;
mod pipelined;
mod player;
mod random;
mod raw;
mod slow_post;
mod tally;

use std::mem;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;
use tokio::task::spawn_local;

pub use ask::Ask;
pub use crowd::{
    Crowd, FRESH, HALF_HEAD, HTTP2, IDLE, KEEP_ALIVE, MUTE, PIPELINED, RAW, SLOW_HEAD, SLOW_POST, SLOW_STREAM,
};
pub use tally::{Failure, Reason, Report, Tally, Timing};

use crate::wait;
use crowd::Kind;
use player::Player;

/// Crowds of clients that go on until they are told to stop, on a thread of their own.
#[derive(Debug)]
pub struct Storm {
    control: Arc<Control>,
    stage: watch::Sender<Stage>,
    clients: Option<JoinHandle<()>>,
}

/// Whether clients go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Storm,
    /// They do what is left to do, and go.
    Over,
}

/// What the clients' thread and the test's look at.
#[derive(Debug)]
pub(crate) struct Control {
    seed: u64,
    started: Instant,
    begun: AtomicUsize,
    crowds: Vec<(Kind, Mutex<Tally>)>,
}

impl Storm {
    /// Lets them loose, and waits until each is in the state in which its kind meets operations.
    ///
    /// # Panics
    /// When that does not happen.
    #[must_use]
    pub fn begin(crowds: impl IntoIterator<Item = Crowd>) -> Self {
        let crowds: Vec<Crowd> = crowds.into_iter().collect();
        let control = Arc::new(Control {
            seed: random::seed(),
            started: Instant::now(),
            begun: AtomicUsize::new(0),
            crowds: crowds.iter().map(|crowd| (crowd.kind, Mutex::default())).collect(),
        });
        let count: usize = crowds.iter().map(|crowd| crowd.clients).sum();
        let (stage, watched) = watch::channel(Stage::Storm);
        let shared = Arc::clone(&control);
        let clients = Some(thread::spawn(move || run(crowds, &shared, &watched)));
        let storm = Self { control, stage, clients };
        wait::until("every client has begun", || (storm.control.begun.load(Ordering::Relaxed) == count).then_some(()));
        storm
    }

    /// How long it has lasted; failures and timings tell their times from the same beginning.
    #[must_use]
    pub fn lasts(&self) -> Duration {
        self.control.started.elapsed()
    }

    /// Waits until every crowd, of those that are answered again and again, has `count` answers more.
    ///
    /// # Panics
    /// When they have not, in time.
    pub fn more(&self, count: u64) {
        let lively = self.control.crowds.iter().filter(|(kind, _)| kind.is_lively());
        let mut goals: Vec<_> = lively.map(|(_, tally)| (tally, locked(tally).answered + count)).collect();
        wait::until("more answers in the storm", || {
            goals.retain(|(tally, goal)| locked(tally).answered < *goal);
            goals.is_empty().then_some(())
        });
    }

    /// How many requests have failed by now.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.control.crowds.iter().map(|(_, tally)| locked(tally).failures.len()).sum()
    }

    /// Ends it: clients that waited for the end ask now, the others finish what
    /// they have asked. Tells what they have seen.
    ///
    /// # Panics
    /// When a client has panicked.
    #[must_use]
    pub fn finish(mut self) -> Report {
        self.stage.send_replace(Stage::Over);
        self.clients.take().expect("it is finished once").join().expect("the clients");
        self.control.take_report()
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.stage.send_replace(Stage::Over);
        if thread::panicking() && self.clients.is_some() {
            eprintln!("---- the storm so far\n{}", self.control.take_report());
        }
    }
}

impl Control {
    fn take_report(&self) -> Report {
        let crowds = self.crowds.iter().map(|(kind, tally)| (kind.name(), mem::take(&mut *locked(tally))));
        Report { seed: self.seed, crowds: crowds.collect() }
    }
}

/// A tally is right at every moment, also when somebody has panicked.
fn locked(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The clients' thread: an event loop costs the server that is tried less than a thread for each would.
fn run(crowds: Vec<Crowd>, control: &Arc<Control>, stage: &watch::Receiver<Stage>) {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).expect("a runtime");
    runtime.block_on(async {
        let mut clients = Vec::new();
        for (place, crowd) in crowds.into_iter().map(Rc::new).enumerate() {
            for number in 0..crowd.clients {
                let player = Player::new(Rc::clone(&crowd), Arc::clone(control), stage.clone(), [place, number]);
                clients.push(spawn_local(play(player)));
            }
        }
        for client in clients {
            client.await.expect("a client");
        }
    });
}

async fn play(player: Player) {
    match player.crowd.kind {
        Kind::Fresh => fresh::play(player).await,
        Kind::KeepAlive => keep_alive::at_random(player).await,
        Kind::SlowStream => keep_alive::in_order(player).await,
        Kind::Idle => idle::idle(player).await,
        Kind::Mute => idle::mute(player).await,
        Kind::HalfHead => heads::half(player).await,
        Kind::SlowHead => heads::slow(player).await,
        Kind::Pipelined => pipelined::play(player).await,
        Kind::SlowPost => slow_post::play(player).await,
        Kind::Http2 => http2::play(player).await,
        Kind::Raw => raw::play(player).await,
    }
}
