//! Threads that look at the server, the keyboard and signals. They end with the process.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use hatchery_control::{Request, Status};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::args::Server;
use crate::ask::Question;
use crate::failure::Failure;
use crate::status;

/// The longest wait for one answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// What the view hears of.
#[derive(Debug)]
pub(crate) enum Happened {
    /// The server has said how it is.
    Answer {
        /// How.
        status: Box<Status>,
        /// How long its master has run, where that can be seen.
        uptime: Option<f64>,
    },
    /// It has not answered.
    NoAnswer(Failure),
    /// A key.
    Key(KeyCode),
    /// The terminal has another size.
    Resized,
    /// It is to end.
    Quit,
}

/// Begins to look.
pub(crate) fn start(server: &Server, interval: Duration) -> Receiver<Happened> {
    let (tell, happened) = mpsc::channel();
    watch_keys(tell.clone());
    watch_signals(tell.clone());
    let server = server.within(server.timeout.unwrap_or(PATIENCE));
    thread::spawn(move || {
        while tell.send(look(&server)).is_ok() {
            thread::sleep(interval);
        }
    });
    happened
}

/// One look, on a connection of its own: the path leads to whoever serves by now. It may
/// take for ever; that nobody has answered, the view sees by the clock as well.
fn look(server: &Server) -> Happened {
    let answer = Question::at_once(server, Request::Status).and_then(|question| question.converse(|_| ()));
    match answer.and_then(status::read) {
        Ok(status) => Happened::Answer { uptime: status::uptime(&status), status: Box::new(status) },
        Err(failure) => Happened::NoAnswer(failure),
    }
}

fn watch_keys(tell: Sender<Happened>) {
    thread::spawn(move || {
        loop {
            let happened = match event::read() {
                Ok(Event::Key(key)) if key.kind == KeyEventKind::Press => {
                    let is_interrupt = key.code == KeyCode::Char('c') && key.modifiers == KeyModifiers::CONTROL;
                    if is_interrupt { Happened::Quit } else { Happened::Key(key.code) }
                }
                Ok(Event::Resize(..)) => Happened::Resized,
                Ok(_) => continue,
                // The terminal is gone.
                Err(_) => Happened::Quit,
            };
            let is_over = matches!(happened, Happened::Quit);
            if tell.send(happened).is_err() || is_over {
                return;
            }
        }
    });
}

/// Without this a signal would leave the terminal as it is.
fn watch_signals(tell: Sender<Happened>) {
    let Ok(mut signals) = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM]) else { return };
    thread::spawn(move || {
        for _ in signals.forever() {
            let _ = tell.send(Happened::Quit);
        }
    });
}
