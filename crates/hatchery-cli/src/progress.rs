//! What is said on standard error while something goes on.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use hatchery_control::Level;
use ratatui::crossterm::terminal;

use crate::failure::folded;

/// How often the line on a terminal is written again.
pub(crate) const TICK: Duration = Duration::from_millis(200);

/// How the progress of an operation is shown.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Not at all.
    Quiet,
    /// A line each.
    Lines {
        /// One that is said when it is known that the outcome does not say the same.
        held: Option<String>,
    },
    /// One line, written again and again.
    Rewritten {
        /// The operation.
        what: &'static str,
        /// What the master has said last.
        last: String,
    },
}

impl Progress {
    /// As it fits to standard error.
    pub(crate) fn new(what: &'static str, quiet: bool) -> Self {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if quiet {
            Self::Quiet
        } else if io::stderr().is_terminal() && !is_dumb {
            Self::Rewritten { what, last: String::new() }
        } else {
            Self::Lines { held: None }
        }
    }

    /// The master has said what happens.
    pub(crate) fn said(&mut self, text: &str, level: Level, elapsed: Duration) {
        match self {
            Self::Quiet => {}
            Self::Lines { held } => {
                release(held, None);
                *held = Some(folded(text));
                if !may_be_the_outcome(text, level) {
                    release(held, None);
                }
            }
            Self::Rewritten { last, .. } => {
                *last = folded(text);
                self.tick(elapsed);
            }
        }
    }

    /// The master has said what needs a look: that stays, also on a terminal.
    pub(crate) fn warned(&mut self, text: &str, elapsed: Duration) {
        let line = format!("hatchery: warning: {}\n", folded(text));
        match self {
            Self::Quiet => {}
            Self::Lines { held } => {
                release(held, None);
                write(&line);
            }
            Self::Rewritten { .. } => {
                write(&format!("\r\x1b[K{line}"));
                self.tick(elapsed);
            }
        }
    }

    /// Some time has gone by.
    pub(crate) fn tick(&mut self, elapsed: Duration) {
        match self {
            Self::Quiet | Self::Lines { .. } => {}
            Self::Rewritten { what, last } => {
                let width = terminal::size().map_or(80, |(columns, _)| usize::from(columns));
                write(&format!("\r\x1b[K{}", line(what, last, elapsed, width)));
            }
        }
    }

    /// It is over, and the outcome is what is said next: nothing is left on the line.
    pub(crate) fn end(&mut self, outcome: &str) {
        match self {
            Self::Quiet => {}
            Self::Lines { held } => release(held, Some(outcome)),
            Self::Rewritten { .. } => write("\r\x1b[K"),
        }
    }
}

/// What is held is said now, unless the outcome says it.
fn release(held: &mut Option<String>, outcome: Option<&str>) {
    if let Some(line) = held.take().filter(|line| !outcome.is_some_and(|outcome| repeats(outcome, line))) {
        write(&format!("{line}\n"));
    }
}

/// Whether a line of the log is what an operation may end with.
fn may_be_the_outcome(text: &str, level: Level) -> bool {
    level == Level::Error || text == "stopped"
}

/// Whether the outcome says what a line has said, and perhaps more.
fn repeats(outcome: &str, line: &str) -> bool {
    outcome.strip_prefix(line).is_some_and(|more| more.is_empty() || more.starts_with([':', ',']))
}

/// One line of at most `width` columns: a longer one would wrap, and could not be written again.
fn line(what: &str, last: &str, elapsed: Duration, width: usize) -> String {
    let seconds = elapsed.as_secs_f64();
    let text = format!("{what} {seconds:.1}s  {last}");
    // The last column stays free: some terminals wrap when it is filled.
    text.chars().filter(|letter| !letter.is_control()).take(width.saturating_sub(1)).collect()
}

/// Says in one line why it was not done.
pub(crate) fn complain(text: &str) {
    write(&format!("hatchery: error: {text}\n"));
}

/// Says what is worth knowing beside what was asked for.
pub(crate) fn remark(text: &str) {
    write(&format!("hatchery: {text}\n"));
}

fn write(text: &str) {
    // Nobody is left who could be told that it did not work.
    let _ = io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_outcome_says_need_not_be_said_before() {
        assert!(repeats("upgrade failed: no", "upgrade failed: no"));
        assert!(repeats("stopped: everything was drained, exit code 0", "stopped"));
        assert!(repeats("stopped, but something had to be killed: exit code 2", "stopped"));
        assert!(!repeats("stopped", "worker 0 (pid 7) failed to boot: no"));
        assert!(!repeats("the stop has not ended within 1s", "stopped"));
    }

    #[test]
    fn a_line_fits_the_terminal() {
        let shown = |width| line("upgrade", "generation 2\x1b[31m boots", Duration::from_millis(3250), width);
        assert_eq!(shown(80), "upgrade 3.2s  generation 2[31m boots");
        assert_eq!(shown(10), "upgrade 3");
        assert_eq!(shown(0), "");
    }
}
