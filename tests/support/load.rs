//! Many clients at once that never retry, and count.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::client::{self, Client, Failure};
use crate::wait;

/// Clients that go on until they are told to stop.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Tally>>,
}

/// What clients have seen.
#[derive(Debug, Default)]
pub struct Tally {
    /// Requests with a whole and right answer.
    pub answered: u64,
    /// Every other request, each with its reason.
    pub failures: Vec<String>,
    /// Answers with `connection: close`.
    pub announced: u64,
    /// Connections that were found closed, unannounced, before a request was sent.
    pub closed_idle: u64,
}

#[derive(Debug)]
struct Shared {
    address: String,
    started: Instant,
    stop: AtomicBool,
    answered: AtomicU64,
}

/// The pause of a client that opens a connection a request: the tests are about
/// failures, not about speed, and leave some of the machine to the servers.
const PAUSE: Duration = Duration::from_micros(700);

impl Load {
    /// `clients` that open a connection for every request.
    #[must_use]
    pub fn fresh(address: &str, clients: usize) -> Self {
        Self::start(address, clients, |shared| {
            let mut tally = Tally::default();
            while shared.goes_on() {
                let sent = Instant::now();
                let answer = client::get(&shared.address, "/");
                shared.count(&mut tally, sent, answer.as_ref());
                wait::think(PAUSE);
            }
            tally
        })
    }

    /// `clients` that keep their connection, and think between two requests.
    ///
    /// A request that was sent before the client saw `connection: close`, or
    /// the end of the connection, has to be answered.
    #[must_use]
    pub fn keep_alive(address: &str, clients: usize, think: Duration) -> Self {
        Self::start(address, clients, move |shared| {
            let mut tally = Tally::default();
            while shared.goes_on() {
                match Client::connect(&shared.address) {
                    Ok(client) => shared.keep(client, think, &mut tally),
                    Err(failure) => shared.count(&mut tally, Instant::now(), Err(&failure)),
                }
            }
            tally
        })
    }

    /// Waits until `count` more requests were answered.
    ///
    /// # Panics
    /// When they are not in time.
    pub fn more(&self, count: u64) {
        let goal = self.shared.answered.load(Ordering::Relaxed) + count;
        wait::until("more answers under load", || (self.shared.answered.load(Ordering::Relaxed) >= goal).then_some(()));
    }

    /// Stops the clients and adds up what they have seen.
    ///
    /// # Panics
    /// When a client has panicked.
    #[must_use]
    pub fn finish(mut self) -> Tally {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut sum = Tally::default();
        for client in self.clients.drain(..) {
            let tally = client.join().expect("a client");
            sum.answered += tally.answered;
            sum.announced += tally.announced;
            sum.closed_idle += tally.closed_idle;
            sum.failures.extend(tally.failures);
        }
        sum
    }

    /// Like [`finish`](Self::finish), for load that nothing may have failed for.
    ///
    /// # Panics
    /// When a request failed, or none was answered.
    pub fn finish_without_failure(self) {
        let tally = self.finish();
        assert!(tally.failures.is_empty() && tally.answered > 0, "clients paid for it: {tally}");
    }

    fn start(address: &str, clients: usize, client: impl Fn(&Shared) -> Tally + Clone + Send + 'static) -> Self {
        let shared = Arc::new(Shared {
            address: address.to_owned(),
            started: Instant::now(),
            stop: AtomicBool::new(false),
            answered: AtomicU64::new(0),
        });
        let start = |_| {
            let (shared, client) = (Arc::clone(&shared), client.clone());
            thread::spawn(move || client(&shared))
        };
        Self { clients: (0..clients).map(start).collect(), shared }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Uses one connection for as long as it lasts.
    fn keep(&self, mut client: Client, think: Duration, tally: &mut Tally) {
        while self.goes_on() {
            match client.is_closed() {
                Ok(false) => {}
                Ok(true) => {
                    tally.closed_idle += 1;
                    return;
                }
                Err(failure) => return self.count(tally, Instant::now(), Err(&failure)),
            }
            let sent = Instant::now();
            let answer = client.get("/");
            self.count(tally, sent, answer.as_ref());
            match answer {
                Ok(answer) if answer.announces_close() => {
                    tally.announced += 1;
                    return;
                }
                Ok(_) => wait::think(think),
                Err(_) => return,
            }
        }
    }

    fn count(&self, tally: &mut Tally, sent: Instant, answer: Result<&client::Answer, &Failure>) {
        let reason = match answer {
            Ok(answer) if answer.status == 200 && answer.body == b"Hello, World!" => {
                tally.answered += 1;
                self.answered.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Ok(answer) => format!("status {}: {}", answer.status, answer.text()),
            Err(failure) => failure.to_string(),
        };
        let began = (sent - self.started).as_millis();
        tally.failures.push(format!("sent at {began} ms, {} ms later: {reason}", sent.elapsed().as_millis()));
        // A server that is gone refuses at once: do not fill the memory with it.
        wait::think(Duration::from_millis(20));
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answered, failures, announced, closed_idle } = self;
        write!(f, "{answered} answered, {} failed, {announced} announced closes, ", failures.len())?;
        write!(f, "{closed_idle} closed while idle")?;
        for failure in failures.iter().take(20) {
            write!(f, "\n  {failure}")?;
        }
        Ok(())
    }
}
