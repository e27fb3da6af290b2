//! Which signal asks for what.

use std::io;

use hatchery_core::Command;
use hatchery_sys::Signal;
use hatchery_sys::signals::{Caught, SelfPipe, Sender};

/// The signals that a master listens to.
pub const SIGNALS: [Signal; 10] = [
    Signal::SIGTERM,
    Signal::SIGQUIT,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGCHLD,
];

/// Those that are meant for the master that serves, and would end or stop a successor
/// that still loads: they are held over its exec, until it [listens](listen_early).
/// The others end it, as an operator and its predecessor want it.
pub(crate) const HELD: [Signal; 5] =
    [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGTTIN, Signal::SIGTTOU];

/// In a successor: catches from now on what was held over its exec. It is heard when
/// the master's loop begins. To be called before any code of the application runs.
///
/// # Errors
/// When the self-pipe cannot be made.
pub fn listen_early() -> io::Result<SelfPipe> {
    SelfPipe::install(&HELD)
}

/// What an operator means by a signal; `None` for one that is no command.
///
/// The kernel sends some of them by itself: a terminal that is gone hangs up,
/// which is a stop; one that is resized sends WINCH, and a background process
/// that touches it gets TTIN or TTOU, which mean nothing.
#[must_use]
pub fn command(caught: &Caught) -> Option<Command> {
    match (caught.signal, caught.sender) {
        (Signal::SIGTERM | Signal::SIGQUIT, _) => Some(Command::Stop),
        // Somebody sits at the terminal, or has left it.
        (Signal::SIGINT, _) | (Signal::SIGHUP, Sender::Kernel) => Some(Command::StopAtOnce),
        (Signal::SIGHUP, Sender::Process | Sender::Relay) => Some(Command::Reload),
        (Signal::SIGUSR1, _) => Some(Command::Reopen),
        (Signal::SIGUSR2, _) => Some(Command::Upgrade),
        (Signal::SIGWINCH, Sender::Process | Sender::Relay) => Some(Command::Rest),
        (Signal::SIGTTIN, Sender::Process | Sender::Relay) => Some(Command::More),
        (Signal::SIGTTOU, Sender::Process | Sender::Relay) => Some(Command::Fewer),
        // The kernel's own WINCH, TTIN and TTOU; and CHLD, which means "reap".
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_can_ask_for_what_the_terminal_does_by_itself() {
        let meaning = |signal, sender| command(&Caught { signal, times: 1, sender });
        assert_eq!(meaning(Signal::SIGHUP, Sender::Process), Some(Command::Reload));
        assert_eq!(meaning(Signal::SIGHUP, Sender::Kernel), Some(Command::StopAtOnce));
        assert_eq!(meaning(Signal::SIGINT, Sender::Kernel), Some(Command::StopAtOnce));
        assert_eq!(meaning(Signal::SIGTERM, Sender::Kernel), Some(Command::Stop));
        for signal in [Signal::SIGWINCH, Signal::SIGTTIN, Signal::SIGTTOU] {
            assert!(meaning(signal, Sender::Process).is_some());
            assert_eq!(meaning(signal, Sender::Relay), meaning(signal, Sender::Process));
            assert_eq!(meaning(signal, Sender::Kernel), None);
        }
        assert_eq!(meaning(Signal::SIGCHLD, Sender::Kernel), None);
    }
}
