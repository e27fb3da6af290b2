//! One request and its answer, with a deadline, and Ctrl-C meanwhile.
//!
//! The blocking client works in a thread of its own, so that whoever waits can also
//! look at the clock, and at signals.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use hatchery_control::{Client, ClientError, Refusal, Reply, Request};
use signal_hook::consts::SIGINT;
use signal_hook::iterator::{Handle, Signals};

use crate::args::Server;
use crate::failure::Failure;
use crate::progress::TICK;

/// How long to wait for what a master answers at once; that an operation begins, or waits, is such an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait for an answer.
#[derive(Clone, Copy, Debug)]
enum Limit {
    /// It comes at once, or something is wrong.
    AtOnce(Duration),
    /// It comes at the end of something.
    AtTheEnd {
        /// Of what.
        what: &'static str,
        /// How long that may take.
        timeout: Option<Duration>,
    },
}

/// What is heard while the answer is waited for.
#[derive(Debug)]
pub(crate) enum Meanwhile {
    /// The master has said something, and will say more.
    Said(Reply),
    /// Nothing, for a moment.
    Nothing,
}

enum News {
    Said(Reply),
    Over(Result<Reply, Failure>),
    Interrupted,
}

/// A request to a server.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    path: PathBuf,
    request: Request,
    limit: Limit,
}

impl Question {
    /// One that a master answers at once.
    pub(crate) fn at_once(server: &Server, request: Request) -> Result<Self, Failure> {
        let path = server.control()?.to_owned();
        Ok(Self { path, request, limit: Limit::AtOnce(server.timeout.unwrap_or(PATIENCE)) })
    }

    /// One that it answers when `what` has ended.
    pub(crate) fn at_the_end(server: &Server, request: Request, what: &'static str) -> Result<Self, Failure> {
        let path = server.control()?.to_owned();
        Ok(Self { path, request, limit: Limit::AtTheEnd { what, timeout: server.timeout } })
    }

    /// Asks, tells `meanwhile` what is heard and how much time has gone by, and returns the last reply.
    ///
    /// # Errors
    /// When there is none in time, and when it says that it was not done.
    pub(crate) fn ask(self, mut meanwhile: impl FnMut(Meanwhile, Duration)) -> Result<Reply, Failure> {
        let begun = Instant::now();
        let (tell, news) = mpsc::channel();
        let interrupts = match self.limit {
            // Then Ctrl-C does what it always does.
            Limit::AtOnce(_) => None,
            Limit::AtTheEnd { .. } => watch(tell.clone()),
        };
        let limit = self.limit;
        let path = self.path.clone();
        thread::spawn(move || {
            let last = self.converse(|reply| drop(tell.send(News::Said(reply))));
            // Nobody listens any more if the time was over.
            let _ = tell.send(News::Over(last));
        });
        let mut is_heard = false;
        let answer = loop {
            let elapsed = begun.elapsed();
            let left = limit.span(is_heard).map(|span| span.saturating_sub(elapsed));
            if left.is_some_and(|left| left.is_zero()) {
                break Err(limit.over(path, is_heard));
            }
            match news.recv_timeout(left.map_or(TICK, |left| left.min(TICK))) {
                Ok(News::Said(reply)) => {
                    is_heard = true;
                    meanwhile(Meanwhile::Said(reply), begun.elapsed());
                }
                Ok(News::Over(last)) => break last,
                Ok(News::Interrupted) => break Err(Failure::Interrupted { what: limit.what() }),
                Err(RecvTimeoutError::Timeout) => meanwhile(Meanwhile::Nothing, begun.elapsed()),
                Err(RecvTimeoutError::Disconnected) => break Err(Failure::Unexpected),
            }
        };
        if let Some(interrupts) = interrupts {
            interrupts.close();
        }
        answer
    }

    /// Asks whoever serves at the path, and once more if another one does by then. Blocks
    /// without a look at the clock where nobody accepts.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub(crate) fn converse(&self, mut said: impl FnMut(Reply)) -> Result<Reply, Failure> {
        let mut is_heard = false;
        let first = self.once(|reply| {
            is_heard = true;
            said(reply);
        });
        let is_asked_again = match &first {
            Ok(Reply::Failed { because, .. }) => *because == Refusal::Replaced,
            // Its successor has taken over in this moment. Only what changes nothing is asked twice.
            Err(ClientError::Gone { .. }) => self.only_looks() && !is_heard,
            Ok(_) | Err(_) => false,
        };
        let answer = if is_asked_again { self.once(said) } else { first };
        match answer {
            Ok(Reply::Failed { text, .. }) => Err(Failure::Refused { text }),
            Ok(reply) => Ok(reply),
            Err(ClientError::Broken { path, source }) if source.kind() == ErrorKind::WouldBlock => {
                Err(self.limit.over(path, is_heard))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn once(&self, said: impl FnMut(Reply)) -> Result<Reply, ClientError> {
        let mut client = Client::connect(&self.path)?;
        if let Limit::AtOnce(span) = self.limit {
            // No more can be done about one that is zero, which the command line does not let through.
            let _ = client.set_patience(Some(span));
        }
        let last = client.ask(&self.request, said)?;
        if let (Request::Stop { wait: true }, Reply::Done { .. }) = (&self.request, &last) {
            client.wait_for_end(PATIENCE);
        }
        Ok(last)
    }

    fn only_looks(&self) -> bool {
        matches!(self.request, Request::Status | Request::Connections)
    }
}

impl Limit {
    fn span(self, is_heard: bool) -> Option<Duration> {
        match self {
            Self::AtOnce(span) => Some(span),
            Self::AtTheEnd { timeout, .. } if is_heard => timeout,
            Self::AtTheEnd { timeout, .. } => Some(timeout.map_or(PATIENCE, |timeout| timeout.min(PATIENCE))),
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::AtOnce(_) => "operation",
            Self::AtTheEnd { what, .. } => what,
        }
    }

    /// What it means that the time is over.
    fn over(self, path: PathBuf, is_heard: bool) -> Failure {
        match self {
            Self::AtTheEnd { what, timeout: Some(span) } if is_heard => Failure::Unfinished { what, span },
            Self::AtTheEnd { .. } | Self::AtOnce(_) => {
                Failure::Silent { path, span: self.span(is_heard).unwrap_or_default() }
            }
        }
    }
}

/// Tells of Ctrl-C. Where that cannot be had, it ends the process as ever.
fn watch(tell: Sender<News>) -> Option<Handle> {
    let mut signals = Signals::new([SIGINT]).ok()?;
    let handle = signals.handle();
    thread::spawn(move || {
        for _ in signals.forever() {
            let _ = tell.send(News::Interrupted);
        }
    });
    Some(handle)
}

#[cfg(test)]
mod tests {
    use hatchery_control::{Level, Until};

    use super::*;
    use crate::fake::{Fake, text};

    fn asked(fake: &Fake, request: Request) -> Result<Reply, Failure> {
        Question::at_once(&fake.server(), request)?.ask(|_, _| ())
    }

    #[test]
    fn who_was_replaced_sends_to_its_successor() {
        let replaced = Reply::Failed { because: Refusal::Replaced, text: text("gone") };
        let fake = Fake::answers([vec![replaced.clone()], vec![Reply::Done { text: text("ok") }]]);
        assert_eq!(asked(&fake, Request::Reopen).unwrap(), Reply::Done { text: text("ok") });
        assert_eq!(fake.heard(), [Request::Reopen, Request::Reopen]);
        let fake = Fake::answers([vec![replaced.clone()], vec![replaced]]);
        assert_eq!(asked(&fake, Request::Reopen).unwrap_err().to_string(), "gone");
    }

    #[test]
    fn only_what_changes_nothing_is_asked_again_of_one_that_went_away() {
        let fake = Fake::answers([vec![], vec![Reply::Done { text: text("ok") }]]);
        assert!(asked(&fake, Request::Status).is_ok());
        let fake = Fake::answers([vec![], vec![Reply::Done { text: text("ok") }]]);
        let failure = asked(&fake, Request::Reload { wait: true }).unwrap_err();
        assert!(failure.to_string().contains("went away before it had answered"), "{failure}");
    }

    #[test]
    fn a_master_that_does_not_answer_is_not_waited_for() {
        let fake = Fake::silent();
        let server = fake.server().within(Duration::from_millis(50));
        let failure = Question::at_once(&server, Request::Status).unwrap().ask(|_, _| ()).unwrap_err().to_string();
        assert!(failure.contains("no answer") && failure.contains("within 50ms"), "{failure}");
        let failure =
            Question::at_the_end(&server, Request::Upgrade { wait: Until::Done }, "upgrade").unwrap().ask(|_, _| ());
        assert!(matches!(failure, Err(Failure::Silent { .. })), "{failure:?}");
    }

    #[test]
    fn what_takes_too_long_goes_on() {
        let fake = Fake::begins([Reply::Progress { text: text("upgrade begins"), level: Level::Info }]);
        let server = fake.server().within(Duration::from_millis(300));
        let question = Question::at_the_end(&server, Request::Upgrade { wait: Until::Done }, "upgrade").unwrap();
        let mut said = Vec::new();
        let failure = question.ask(|heard, _| match heard {
            Meanwhile::Said(reply) => said.push(reply),
            Meanwhile::Nothing => {}
        });
        assert_eq!(said, [Reply::Progress { text: text("upgrade begins"), level: Level::Info }]);
        let failure = failure.unwrap_err().to_string();
        assert_eq!(failure, "the upgrade has not ended within 300ms: it goes on, see `hatchery status`");
    }
}
