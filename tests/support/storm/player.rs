//! What every client does, whatever its kind: ask, rest, count.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::ask::Ask;
use super::connection::{Connection, Unasked};
use super::crowd::Crowd;
use super::random::Random;
use super::tally::{Failure, Reason, Tally, Timing};
use super::{Control, Stage, locked};
use crate::client;

/// A server that is gone refuses at once: failures do not come faster than this.
const AFTER_FAILURE: Duration = Duration::from_millis(20);

/// One client.
pub(crate) struct Player {
    pub(crate) crowd: Rc<Crowd>,
    pub(crate) random: Random,
    pub(crate) number: usize,
    control: Arc<Control>,
    /// Which of the storm's crowds it belongs to.
    place: usize,
    stage: watch::Receiver<Stage>,
    has_begun: bool,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The connection may be asked again.
    GoesOn,
    /// It may not: it is broken, or its close was announced.
    Ends,
}

/// How a pause ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// With its time.
    Rested,
    /// The storm is over.
    Over,
    /// The connection is gone.
    Gone,
}

impl Player {
    pub(crate) fn new(
        crowd: Rc<Crowd>,
        control: Arc<Control>,
        stage: watch::Receiver<Stage>,
        [place, number]: [usize; 2],
    ) -> Self {
        let random = Random::new(control.seed, (place << 32 | number) as u64);
        Self { crowd, random, number, control, place, stage, has_begun: false }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        locked(&self.control.crowds[self.place].1)
    }

    /// Whether the storm lasts.
    pub(crate) fn goes_on(&self) -> bool {
        *self.stage.borrow() == Stage::Storm
    }

    /// Says that it does from now on what its kind does.
    pub(crate) fn begun(&mut self) {
        if !self.has_begun {
            self.has_begun = true;
            self.control.begun.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Opens a connection, or counts a failure.
    pub(crate) async fn connect(&mut self) -> Option<Connection> {
        let asked = Instant::now();
        match Connection::connect(&self.crowd.address).await {
            Ok(connection) => {
                self.opened();
                Some(connection)
            }
            Err(failure) => {
                self.failed(asked, 0, "connect", failure).await;
                None
            }
        }
    }

    /// One of the crowd's requests.
    pub(crate) fn pick(&mut self) -> Ask {
        self.random.one_of(&self.crowd.asks).clone()
    }

    /// Sends a request and reads the answer.
    pub(crate) async fn exchange(&mut self, connection: &mut Connection, ask: &Ask) -> Next {
        let asked = Instant::now();
        let sent = connection.send(&ask.request()).await;
        self.answer(connection, ask, asked, sent).await
    }

    /// Reads the answer to a request that was sent.
    pub(crate) async fn answer(
        &mut self,
        connection: &mut Connection,
        ask: &Ask,
        asked: Instant,
        sent: Result<(), client::Failure>,
    ) -> Next {
        let before = connection.answered;
        let answer = match sent {
            Ok(()) => connection.answer().await,
            Err(failure) => Err(failure),
        };
        match answer {
            Ok(answer) => {
                let announces_close = answer.announces_close();
                // One that the client itself has asked for is no news.
                if announces_close && !ask.closes {
                    self.announced();
                }
                match ask.objects_to(answer.status, &answer.body) {
                    None => self.answered(asked),
                    Some(wrong) => self.failed(asked, before, ask, Reason::Wrong(wrong)).await,
                }
                if announces_close { Next::Ends } else { Next::GoesOn }
            }
            Err(failure) => {
                self.failed(asked, before, ask, failure).await;
                Next::Ends
            }
        }
    }

    /// Pauses as its crowd does, and looks meanwhile whether the connection stays as it is.
    /// `open` is a request of which a part was sent.
    pub(crate) async fn pause(&mut self, connection: &mut Connection, open: Option<&Ask>) -> Rest {
        if self.crowd.pause.end.is_zero() {
            // The shortest sleep is ten times as long as a request. As in a pool, the next one is sent without a look.
            return if self.goes_on() { Rest::Rested } else { Rest::Over };
        }
        let span = self.random.within(&self.crowd.pause);
        self.rest(connection, span, open).await
    }

    /// Rests until the storm is over.
    pub(crate) async fn wait_for_the_end(&mut self, connection: &mut Connection, open: Option<&Ask>) -> Rest {
        self.rest(connection, Duration::from_secs(24 * 3600), open).await
    }

    async fn rest(&mut self, connection: &mut Connection, span: Duration, open: Option<&Ask>) -> Rest {
        let asked = Instant::now();
        let unasked = tokio::select! {
            biased;
            unasked = connection.unasked() => unasked,
            _ = self.stage.wait_for(|stage| *stage == Stage::Over) => return Rest::Over,
            () = sleep(span) => return Rest::Rested,
        };
        let answered = connection.answered;
        let request = open.map_or_else(|| "nothing".to_owned(), |ask| format!("a part of {ask}"));
        let reason = match unasked {
            Unasked::Closed if open.is_none() => {
                self.closed_idle();
                self.begun();
                return Rest::Gone;
            }
            Unasked::Closed => client::Failure::ClosedBeforeAnswer.into(),
            Unasked::Broken(error) => client::Failure::Broken(error).into(),
            Unasked::Bytes(bytes) => Reason::Unasked(bytes),
        };
        self.failed(asked, answered, request, reason).await;
        Rest::Gone
    }

    /// Pauses without a connection.
    pub(crate) async fn pause_alone(&mut self) {
        if self.crowd.pause.end.is_zero() {
            return;
        }
        let span = self.random.within(&self.crowd.pause);
        tokio::select! {
            _ = self.stage.wait_for(|stage| *stage == Stage::Over) => {}
            () = sleep(span) => {}
        }
    }

    pub(crate) fn opened(&self) {
        self.tally().connections += 1;
    }

    /// An idle connection was closed in order.
    pub(crate) fn closed_idle(&self) {
        self.tally().closed_idle += 1;
    }

    /// A close was announced.
    pub(crate) fn announced(&self) {
        self.tally().announced += 1;
    }

    pub(crate) fn answered(&mut self, asked: Instant) {
        let took = asked.elapsed();
        let at = self.control.started.elapsed();
        let mut tally = self.tally();
        tally.answered += 1;
        tally.slowest = tally.slowest.max(took);
        if self.crowd.timed {
            tally.timings.push(Timing { at, took });
        }
        drop(tally);
        self.begun();
    }

    pub(crate) async fn failed(
        &mut self,
        asked: Instant,
        answered: u64,
        request: impl ToString,
        reason: impl Into<Reason>,
    ) {
        let after = asked.elapsed();
        let asked = self.control.started.elapsed().saturating_sub(after);
        let (client, request, reason) = (self.number, request.to_string(), reason.into());
        self.tally().failures.push(Failure { client, answered, asked, after, request, reason });
        self.begun();
        sleep(AFTER_FAILURE).await;
    }
}
