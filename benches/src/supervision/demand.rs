//! What the first client pays of a server that holds nothing but its sockets.

use std::io;
use std::process::Command;
use std::time::Instant;

use crate::client::Client;
use crate::compare::figures::Figures;
use crate::compare::group::{Group, PATIENCE};
use crate::compare::peers::example;

/// Milliseconds from connecting to the whole answer: of the first client, and of one that comes later. A server for
/// each round.
///
/// # Errors
///
/// When a server does not start or answer.
pub fn measure(workers: u16, rounds: u32) -> io::Result<(Figures, Figures)> {
    let (mut first, mut later) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let mut command = Command::new(example("lab")?);
        command.args(["--bind", "127.0.0.1:0", "--workers", &workers.to_string(), "--on-demand", "on"]);
        let group = Group::start(&mut command)?;
        let line = group.wait_for("listening on", 0)?;
        let port = line.text.split_once("listening on ").and_then(|(_, rest)| rest.split_whitespace().next());
        let port = port.and_then(|address| address.rsplit_once(':')?.1.parse().ok());
        let port = port.ok_or_else(|| io::Error::other(line.text.clone()))?;
        let from = group.wait_for("waiting for the first connection", 0)?.number;
        first.push(asked(port)?);
        // All workers are there then.
        group.wait_for("is ready, ", from)?;
        later.push(asked(port)?);
    }
    Ok((Figures::new(first), Figures::new(later)))
}

fn asked(port: u16) -> io::Result<f64> {
    let begin = Instant::now();
    Client::connect(port)?.ask_within(PATIENCE)?;
    Ok(begin.elapsed().as_secs_f64() * 1e3)
}
