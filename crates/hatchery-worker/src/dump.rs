//! What a worker says when it is aborted: what it was doing.
//!
//! All of this runs in a signal handler, on top of a loop that may be anywhere.
//! It reads the board's cell, the ledger, and what tokio counts in atomics
//! (`num_alive_tasks` and `global_queue_depth` are a load each), asks the kernel
//! for the address of a peer, and formats on the stack. No allocation, no lock,
//! no `RefCell`, no tracing, nothing that can panic.

use std::fmt::{self, Write};
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hatchery_core::{Generation, Slot};
use hatchery_net::Address;
use hatchery_sys::abort::{self, Lines};
use hatchery_sys::board::Cell;
use hatchery_sys::{process, socket};

use crate::ledger::{Ledger, Protocol, Record};
use crate::shared::Shared;

/// How many connections have a line of their own; of the others there is a count.
const MOST: usize = 64;

/// Who aborts.
struct Witness {
    slot: Slot,
    generation: Generation,
    cell: &'static Cell,
    ledger: &'static Ledger,
    /// Where each listener listens, as text.
    listeners: Vec<String>,
}

/// From now on this worker says what it was doing when it is aborted.
pub(crate) fn install(shared: &Shared, cell: &'static Cell) -> io::Result<()> {
    let address = |address: &Address| address.to_string();
    let witness: &'static Witness = Box::leak(Box::new(Witness {
        slot: shared.slot,
        generation: shared.generation,
        cell,
        ledger: shared.records.ledger,
        listeners: shared.listeners.iter().map(|listener| address(&listener.address)).collect(),
    }));
    abort::on_abort(Box::leak(Box::new(|lines: &mut Lines| {
        let _lines_never_fail = witness.say(lines);
    })))
}

impl Witness {
    fn say(&self, out: &mut impl Write) -> fmt::Result {
        let Self { slot, generation, cell, ledger, .. } = self;
        let pid = process::pid();
        writeln!(
            out,
            "hatchery: worker {slot} (pid {pid}, generation {generation}) aborts, this is what it was doing:"
        )?;
        let at_work = cell.turn.load(Relaxed) % 2 == 1;
        match at_work {
            // What is known is when the loop was last seen to turn, and it may have turned since.
            true => {
                let since = Seconds(ledger.unseen());
                writeln!(out, "hatchery: worker {slot}: its loop is in the middle of a turn, for {since} at most")?;
            }
            false => writeln!(out, "hatchery: worker {slot}: its loop waits for events, it is not blocked")?,
        }
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed);
        let (open, in_flight, requests) = (count(&cell.open), count(&cell.in_flight), cell.requests());
        write!(out, "hatchery: worker {slot}: {open} connections, {in_flight} requests in flight, {requests} so far")?;
        if let Some(metrics) = ledger.metrics.get() {
            let (tasks, queued) = (metrics.num_alive_tasks(), metrics.global_queue_depth());
            write!(out, ", {tasks} tasks, {queued} of them woken by other threads")?;
        }
        writeln!(out)?;
        self.say_connections(out)
    }

    /// The one that runs, then those in which something goes on, then the others.
    fn say_connections(&self, out: &mut impl Write) -> fmt::Result {
        let rank = |record: &Record| match (record.is_polled(), record.doing()) {
            (true, _) => 0,
            (false, Some(doing)) if doing.is_busy() => 1,
            (false, _) => 2,
        };
        let (mut said, mut unsaid) = (0, 0_usize);
        for group in 0..3 {
            for record in self.ledger.open().filter(|record| rank(record) == group) {
                if said < MOST {
                    self.say_connection(record, out)?;
                    said += 1;
                } else {
                    unsaid += 1;
                }
            }
        }
        if unsaid > 0 {
            writeln!(out, "hatchery: worker {}: and {unsaid} connections more", self.slot)?;
        }
        Ok(())
    }

    fn say_connection(&self, record: &Record, out: &mut impl Write) -> fmt::Result {
        let Some(doing) = record.doing() else { return Ok(()) };
        write!(out, "hatchery: worker {}: connection", self.slot)?;
        if let Some(peer) = socket::peer(record.fd()) {
            write!(out, " from {peer}")?;
        }
        let listener = self.listeners.get(record.listener()).map_or("?", String::as_str);
        let (age, requests) = (Seconds(self.ledger.age(record)), record.requests());
        write!(out, " to {listener}, {age} old, ")?;
        match record.protocol() {
            protocol @ (Protocol::Http1 | Protocol::Http2) => write!(out, "{protocol} {doing}, {requests} requests")?,
            Protocol::Unknown => write!(out, "{doing}, {requests} requests")?,
            Protocol::Raw => write!(out, "raw {doing}")?,
        }
        if record.is_polled() {
            write!(out, ", the loop is in its handler")?;
        }
        writeln!(out)
    }
}

/// Seconds with three digits after the point.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} s", self.0.as_secs(), self.0.subsec_millis())
    }
}
