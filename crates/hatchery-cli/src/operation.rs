//! What a server is told to do.

use hatchery_control::{Level, Reply, Request, Until, Whom};

use crate::args::Server;
use crate::ask::{Meanwhile, Question};
use crate::failure::{Failure, folded};
use crate::output;
use crate::progress::Progress;

/// What a server is told to do.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Upgrade,
    Reload,
    Scale { workers: u16 },
    Recycle { whom: Whom },
    Reopen,
    Stop,
}

impl Operation {
    /// Tells the server, and returns when it has come so far.
    ///
    /// # Errors
    /// When it was not.
    pub(crate) fn run(&self, server: &Server, until: Until) -> Result<(), Failure> {
        let text = self.done(server, until)?;
        if server.quiet { Ok(()) } else { output::print(&format!("{text}\n")) }
    }

    /// What the master says when it was done.
    fn done(&self, server: &Server, until: Until) -> Result<String, Failure> {
        let what = self.name();
        let question = if until != Until::Begun && !matches!(self, Self::Reopen) {
            Question::at_the_end(server, self.request(until), what)?
        } else {
            Question::at_once(server, self.request(until))?
        };
        let mut progress = Progress::new(what, server.quiet);
        let last = question.ask(|heard, elapsed| match heard {
            Meanwhile::Said(Reply::Progress { text, level: Level::Warn }) => progress.warned(&text, elapsed),
            Meanwhile::Said(Reply::Progress { text, level }) => progress.said(&text, level, elapsed),
            Meanwhile::Said(_) | Meanwhile::Nothing => progress.tick(elapsed),
        });
        let outcome = match last {
            Ok(Reply::Done { text }) => Ok(folded(&text)),
            Ok(_) => Err(Failure::Unexpected),
            Err(failure) => Err(failure),
        };
        progress.end(&outcome.as_ref().map_or_else(ToString::to_string, Clone::clone));
        outcome
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Upgrade => "upgrade",
            Self::Reload => "reload",
            Self::Scale { .. } => "scaling",
            Self::Recycle { .. } => "replacement",
            Self::Reopen => "reopening",
            Self::Stop => "stop",
        }
    }

    fn request(&self, until: Until) -> Request {
        let wait = until != Until::Begun;
        match self {
            Self::Upgrade => Request::Upgrade { wait: until },
            Self::Reload => Request::Reload { wait },
            Self::Scale { workers } => Request::Scale { workers: *workers, wait },
            Self::Recycle { whom } => Request::Recycle { whom: whom.clone(), wait },
            Self::Reopen => Request::Reopen,
            Self::Stop => Request::Stop { wait },
        }
    }
}

#[cfg(test)]
mod tests {
    use hatchery_control::Refusal;

    use super::*;
    use crate::fake::{Fake, text};

    #[test]
    fn each_asks_for_what_it_is() {
        let table = [
            (Operation::Upgrade, Request::Upgrade { wait: Until::Done }),
            (Operation::Reload, Request::Reload { wait: true }),
            (Operation::Scale { workers: 4 }, Request::Scale { workers: 4, wait: true }),
            (Operation::Recycle { whom: Whom::Slot(1) }, Request::Recycle { whom: Whom::Slot(1), wait: true }),
            (Operation::Reopen, Request::Reopen),
            (Operation::Stop, Request::Stop { wait: true }),
        ];
        for (operation, request) in table {
            let fake = Fake::answers([vec![Reply::Done { text: text("done\n") }]]);
            assert_eq!(operation.done(&fake.server(), Until::Done).unwrap(), "done");
            assert_eq!(fake.heard(), [request]);
        }
    }

    #[test]
    fn what_failed_is_one_line() {
        let reason = text("the successor did not boot:\n  lab told to fail\n");
        let fake = Fake::answers([vec![
            Reply::Progress { text: text("upgrade begins"), level: Level::Info },
            Reply::Failed { because: Refusal::Failed, text: reason },
        ]]);
        let failure = Operation::Upgrade.done(&fake.server(), Until::Done).unwrap_err().to_string();
        assert_eq!(failure, "the successor did not boot:; lab told to fail");
    }

    #[test]
    fn another_answer_is_no_answer() {
        let fake = Fake::answers([vec![Reply::Status { status: Box::new(crate::fake::status()) }]]);
        assert!(matches!(Operation::Reopen.done(&fake.server(), Until::Done), Err(Failure::Unexpected)));
    }
}
