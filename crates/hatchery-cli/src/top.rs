//! The live view.
//!
//! * [`view`]: what is known, and what follows from it: pure
//! * [`draw`]: how that looks
//! * [`watch`]: threads that look at the server, the keyboard and signals

mod draw;
mod view;
mod watch;

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use crate::args::Server;
use crate::failure::Failure;
use crate::top::view::{Next, View};

/// Shows the server until somebody quits.
pub(crate) fn run(server: &Server, interval: Duration) -> Result<(), Failure> {
    let path = server.control()?.to_owned();
    if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        return Err(Failure::NoTerminal);
    }
    let failed = |source| Failure::Output { what: "the terminal failed", source };
    let mut terminal = ratatui::try_init().map_err(failed)?;
    // From here on it is put back also by a panic; and by a signal, which is one more thing to happen.
    let begun = Instant::now();
    let mut view = View::new(&path, interval);
    let happened = watch::start(server, interval);
    let shown = loop {
        view.now(begun.elapsed());
        if let Err(source) = terminal.draw(|frame| draw::draw(&view, frame)) {
            break Err(failed(source));
        }
        // A second: what has not answered is shown with its time.
        if let Ok(happened) = happened.recv_timeout(Duration::from_secs(1))
            && view.take(happened, begun.elapsed()) == Next::Quit
        {
            break Ok(());
        }
    };
    ratatui::restore();
    shown
}
