//! How the live view looks.

use hatchery_control::{Listener, MasterState, Status, WorkerState, WorkerStatus};
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Sparkline, SparklineBar, Table};

use crate::status::headline;
use crate::top::view::{Sort, View, WorkerRates};
use crate::words::{age, count, name, spell, whole};

/// How wide the bar of a worker's rate is.
const BAR: u16 = 8;
/// From how many columns on there is room for it.
const WIDE: u16 = 92;
/// From how many lines on there is room for the history.
const TALL: u16 = 18;

/// Draws all of it.
pub(crate) fn draw(view: &View, frame: &mut Frame<'_>) {
    let area = frame.area();
    let head = head(view);
    let Some(sample) = view.latest() else {
        frame.render_widget(Paragraph::new(head), area);
        return;
    };
    let listeners = lines(sample.status.listeners.len()) + 2;
    let [top, history, middle, below, foot] = Layout::vertical([
        Constraint::Length(lines(head.len())),
        Constraint::Length(if area.height >= TALL { 5 } else { 0 }),
        Constraint::Min(2),
        Constraint::Length(listeners.min(area.height / 4)),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(head), top);
    draw_history(view, frame, history);
    frame.render_widget(workers(view, if area.width >= WIDE { BAR } else { 0 }), middle);
    frame.render_widget(table_of_listeners(&sample.status), below);
    frame.render_widget(Paragraph::new(keys(view)), foot);
}

/// What is true of the whole server.
fn head(view: &View) -> Vec<Line<'_>> {
    let mut head = Vec::new();
    if let Some(sample) = view.latest() {
        let status = &sample.status;
        let style = Style::new().fg(state_of_master(status.state)).add_modifier(Modifier::BOLD);
        let silent = view.silence().is_some();
        // What is known of a server that does not answer is old.
        let style = if silent { Style::new().dim() } else { style };
        head.push(Line::styled(headline(status, sample.uptime), style));
        let rates = &view.rates;
        head.push(Line::raw(format!(
            "{:.1} requests/s  {:.1} connections/s  {:.1} moved/s",
            rates.requests, rates.connections, rates.moved
        )));
        let totals = &status.totals;
        head.push(Line::raw(format!(
            "in all: {}, {} ({} moved), {}",
            count(totals.requests, "request"),
            count(totals.connections, "connection"),
            totals.moved,
            count(totals.restarts, "restart")
        )));
        for predecessor in &status.predecessors {
            let text = format!("generation {}  master {}  draining", predecessor.generation, predecessor.master);
            head.push(Line::styled(text, Style::new().fg(Color::Yellow)));
        }
    } else if view.silence().is_none() {
        head.push(Line::raw(format!("asking the master at {}", view.path.display())));
    }
    if let Some((silence, reason)) = view.silence() {
        let text = format!("no answer for {}: {reason}", age(silence.as_secs_f64()));
        head.push(Line::styled(text, Style::new().fg(Color::Red).bold()));
    }
    head
}

/// Requests a second, the newest at the right.
fn draw_history(view: &View, frame: &mut Frame<'_>, area: Rect) {
    if area.height == 0 {
        return;
    }
    let [title, bars] = Layout::vertical([Constraint::Length(1), Constraint::Min(1)]).areas(area);
    let width = usize::from(bars.width);
    let text = format!("requests/s, {:.1} at most", view.peak());
    frame.render_widget(Paragraph::new(text).dim(), title);
    let shown = view.history.iter().skip(view.history.len().saturating_sub(width));
    let missing = width.saturating_sub(view.history.len());
    let blanks = std::iter::repeat_n(Some(0), missing);
    let rates = shown.map(|rate| rate.map(|rate| whole(rate * 10.0)));
    let bars_of = blanks.chain(rates).map(SparklineBar::from);
    let widget = Sparkline::default()
        .data(bars_of)
        .style(Style::new().fg(Color::Cyan))
        .absent_value_symbol("·")
        .absent_value_style(Style::new().fg(Color::Red));
    frame.render_widget(widget, bars);
}

fn workers(view: &View, bar: u16) -> Table<'_> {
    let names = [
        ("SLOT", Some(Sort::Slot)),
        ("PID", None),
        ("GEN", None),
        ("STATE", None),
        ("CONNS", Some(Sort::Connections)),
        ("IN FLIGHT", Some(Sort::InFlight)),
        ("REQ/S", Some(Sort::Rate)),
        ("", None),
        ("CONN/S", None),
        ("REQUESTS", None),
        ("AGE", Some(Sort::Age)),
        ("NAME", None),
    ];
    let sorted = |(name, sort): (&'static str, Option<Sort>)| {
        let style = if sort == Some(view.sort) { Style::new().bold().underlined() } else { Style::new().bold() };
        let text = Line::styled(name, style);
        Cell::from(if is_word(name) { text } else { text.alignment(Alignment::Right) })
    };
    let all = view.workers();
    let most = all.iter().map(|worker| view.rates_of(worker.pid).requests).fold(1.0, f64::max);
    let rows: Vec<Row<'_>> = all.iter().skip(view.first).map(|worker| row(view, worker, most)).collect();
    let widths = [4, 8, 4, 9, 5, 9, 9, bar, 7, 11, 7].map(Constraint::Length);
    Table::new(rows, widths.into_iter().chain([Constraint::Min(0)])).header(Row::new(names.map(sorted)))
}

fn row<'a>(view: &View, worker: &WorkerStatus, most: f64) -> Row<'a> {
    let WorkerRates { requests: rate, connections } = view.rates_of(worker.pid);
    let number = |text: String| Cell::from(Line::raw(text).alignment(Alignment::Right));
    Row::new([
        number(worker.slot.to_string()),
        number(worker.pid.to_string()),
        number(worker.generation.to_string()),
        Cell::from(Span::styled(name(worker.state), Style::new().fg(state_of_worker(worker.state)))),
        number(worker.connections.to_string()),
        number(worker.in_flight.to_string()),
        number(format!("{rate:.1}")),
        Cell::from(Span::styled(bar(rate / most), Style::new().fg(Color::Cyan))),
        number(format!("{connections:.1}")),
        number(worker.requests.to_string()),
        number(age(worker.age_seconds)),
        Cell::from(worker.name.clone().unwrap_or_default()),
    ])
}

fn table_of_listeners(status: &Status) -> Table<'_> {
    let bold = |name: &'static str| {
        let text = Line::styled(name, Style::new().bold());
        Cell::from(if is_word(name) { text } else { text.alignment(Alignment::Right) })
    };
    let number = |text: String| Cell::from(Line::raw(text).alignment(Alignment::Right));
    let row = |listener: &Listener| {
        let queued = listener.queued.map_or_else(|| "-".to_owned(), |queued| queued.to_string());
        Row::new([
            Cell::from(listener.address.clone()),
            number(listener.queues.to_string()),
            number(queued),
            number(listener.backlog.to_string()),
        ])
    };
    let widths = [Constraint::Length(40), Constraint::Length(6), Constraint::Length(6), Constraint::Length(7)];
    let names = ["LISTENER", "QUEUES", "QUEUED", "BACKLOG"].map(bold);
    Table::new(status.listeners.iter().map(row), widths).header(Row::new(names).top_margin(1))
}

fn keys(view: &View) -> Line<'static> {
    let keys = [("s", "slot"), ("c", "connections"), ("f", "in flight"), ("r", "requests/s"), ("a", "age")];
    let mut spans = vec![Span::raw("q").bold(), Span::raw(" quit  sort:").dim()];
    for (key, what) in keys {
        spans.extend([Span::raw(format!(" {key}")).bold(), Span::raw(format!(" {what}")).dim()]);
    }
    spans.push(Span::raw(format!("  every {}", spell(view.interval))).dim());
    Line::from(spans)
}

/// Whether what stands below this name is no number.
fn is_word(name: &str) -> bool {
    matches!(name, "STATE" | "NAME" | "LISTENER" | "")
}

/// A part of 1, in eighths of a column.
fn bar(part: f64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = usize::try_from(whole(part.clamp(0.0, 1.0) * f64::from(8 * BAR))).unwrap_or_default();
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

fn lines(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX - 2)
}

fn state_of_master(state: MasterState) -> Color {
    match state {
        MasterState::Serving => Color::Green,
        MasterState::Starting | MasterState::LameDuck | MasterState::Draining | MasterState::Resting => Color::Yellow,
        MasterState::Degraded => Color::Red,
        // Of a newer server.
        _ => Color::Reset,
    }
}

fn state_of_worker(state: WorkerState) -> Color {
    match state {
        WorkerState::Ready => Color::Green,
        WorkerState::Starting | WorkerState::Draining => Color::Yellow,
        WorkerState::Blocked | WorkerState::Killed => Color::Red,
        // Of a newer server.
        _ => Color::Reset,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::failure::Failure;
    use crate::fake::status;
    use crate::top::watch::Happened;

    fn view() -> View {
        View::new(Path::new("/run/app.ctl"), Duration::from_secs(1))
    }

    fn answer(status: Status) -> Happened {
        Happened::Answer { status: Box::new(status), uptime: Some(3600.0) }
    }

    fn screen(view: &View, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(view, frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |cells: &[ratatui::buffer::Cell]| {
            let text: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
            text.trim_end().to_owned() + "\n"
        };
        buffer.content().chunks(usize::from(width)).map(line).collect()
    }

    /// A server with some load.
    fn busy() -> View {
        let mut view = view();
        view.take(answer(status()), Duration::from_secs(1));
        let mut later = status();
        later.workers[0].requests += 40;
        later.workers[1].requests += 10;
        later.workers[1].accepted += 3;
        later.totals.requests += 50;
        later.totals.connections += 3;
        view.take(answer(later), Duration::from_secs(2));
        view
    }

    #[test]
    fn before_the_first_answer_it_says_whom_it_asks() {
        assert_eq!(screen(&view(), 50, 3), "asking the master at /run/app.ctl\n\n\n");
    }

    #[test]
    fn a_screen_of_a_busy_server() {
        let expected = "\
generation 3  master 4242  serving  reload goes on  up 1h00m
50.0 requests/s  3.0 connections/s  0.0 moved/s
in all: 180371 requests, 4714 connections (96 moved), 2 restarts
generation 2  master 4100  draining
requests/s, 50.0 at most
                                                                                                   █
                                                                                                   █
                                                                                                   █
                                                                                                   █
SLOT      PID  GEN STATE     CONNS IN FLIGHT     REQ/S           CONN/S    REQUESTS     AGE NAME
   0     4243    3 ready        12         1      40.0 ████████     0.0       90250   1m15s
   1     4244    3 draining     12         1      10.0 ██           3.0       90121   1m15s
   2     4250    3 ready         0         0       0.0              0.0           0   1m15s metrics

LISTENER                                 QUEUES QUEUED BACKLOG
127.0.0.1:8080                                1      0    4096
unix:/run/app.sock                            1      -    4096
q quit  sort: s slot c connections f in flight r requests/s a age  every 1s
";
        assert_eq!(screen(&busy(), 100, 18), expected);
    }

    #[test]
    fn a_small_terminal_shows_what_fits() {
        let small = screen(&busy(), 60, 10);
        assert!(small.contains("generation 3") && small.contains("4243"), "{small}");
        for (width, height) in [(1, 1), (5, 2), (20, 3), (300, 4), (80, 24)] {
            assert_eq!(screen(&busy(), width, height).lines().count(), usize::from(height));
        }
    }

    #[test]
    fn while_nobody_answers_the_last_answer_stays_and_is_said_to_be_old() {
        let mut view = busy();
        view.take(Happened::NoAnswer(Failure::Unexpected), Duration::from_secs(3));
        view.now(Duration::from_secs(10));
        let shown = screen(&view, 100, 20);
        assert!(shown.contains("no answer for 7.0s: the master's answer does not fit"), "{shown}");
        assert!(shown.contains("180371 requests") && shown.contains("4243") && shown.contains('·'), "{shown}");
        assert!(shown.contains("0.0 requests/s"), "{shown}");
    }

    #[test]
    fn bars_are_as_long_as_their_part() {
        let full = "█".repeat(8);
        assert_eq!((bar(0.0), bar(1.0), bar(2.0)), (String::new(), full.clone(), full.clone()));
        assert_eq!(bar(0.5).chars().count(), 4);
        assert_eq!(bar(1.0 / 64.0), "▏");
        assert_eq!(bar(f64::NAN), "");
    }
}
