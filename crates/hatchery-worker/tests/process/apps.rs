//! What workers of these tests do.

use std::convert::Infallible;

use hatchery_sys::process;
use hatchery_worker::{Conn, Worker};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

/// Echoes lines with the worker's pid. Some lines are orders.
pub(crate) async fn echo(worker: Worker, _: &'static ()) -> Result<(), hatchery_worker::ServeError> {
    worker.serve(echo_lines).await
}

pub(crate) async fn echo_lines(conn: Conn) {
    let draining = conn.draining();
    tokio::pin!(draining);
    let pid = process::pid();
    let mut conn = tokio::io::BufReader::new(conn);
    let mut line = String::new();
    loop {
        line.clear();
        tokio::select! {
            biased;
            read = conn.read_line(&mut line) => match (read, line.trim_end()) {
                (Ok(0) | Err(_), _) => return,
                (_, "panic") => panic!("told to panic"),
                (_, "deaf") => {
                    // Does not care for a drain: ends with its client.
                    let _ = conn.write_all(b"deaf 0\n").await;
                    while conn.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
                    return;
                }
                (_, said) => {
                    let answer = format!("{said} {pid}\n");
                    if conn.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            },
            () = &mut draining => {
                let _ = conn.write_all(b"bye 0\n").await;
                return;
            }
        }
    }
}

/// Counts lines, for as long as there is somebody who goes on with it.
pub(crate) async fn counter(worker: Worker, _: &'static ()) -> Result<(), hatchery_worker::ServeError> {
    worker.carrying("counter", 1).serve(count_lines).await
}

pub(crate) async fn count_lines(conn: Conn) {
    if let Some(Counted { conn, state, unused }) = count_until_drain(conn).await
        && let Err(mut stays) = conn.hand_over(&state, &unused).await
    {
        let _ = stays.conn.write_all(format!("bye: {}\n", stays.why).as_bytes()).await;
    }
}

/// A connection that could move, with what it would take along.
pub(crate) struct Counted {
    pub(crate) conn: Conn,
    /// The number of lines, and a ballast.
    pub(crate) state: Vec<u8>,
    pub(crate) unused: Vec<u8>,
}

/// Answers each line with the line, its number on this connection, and the pid,
/// until the worker drains. Some lines are orders.
pub(crate) async fn count_until_drain(mut conn: Conn) -> Option<Counted> {
    let pid = process::pid();
    let mut state = conn.carried().map_or_else(|| vec![0; 8], <[u8]>::to_vec);
    let mut unused = Vec::new();
    loop {
        let draining = conn.draining();
        tokio::select! {
            biased;
            read = conn.read_buf(&mut unused) => if !read.is_ok_and(|read| read > 0) { return None },
            () = draining => return Some(Counted { conn, state, unused }),
        }
        while let Some(end) = unused.iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8(unused.drain(..=end).collect()).unwrap();
            let count = 1 + u64::from_be_bytes(state[..8].try_into().unwrap());
            state[..8].copy_from_slice(&count.to_be_bytes());
            let answer = match line.trim_end().split_once(' ') {
                Some(("ballast", size)) => {
                    state.resize(8 + size.parse::<usize>().unwrap(), b'x');
                    format!("ballast {count} {pid}\n")
                }
                Some(("moves", _)) => format!("{} {} {pid}\n", conn.journey().moves, state.len() - 8),
                _ => format!("{} {count} {pid}\n", line.trim_end()),
            };
            conn.write_all(answer.as_bytes()).await.ok()?;
        }
    }
}

/// An application that never becomes ready.
pub(crate) async fn hang(_: Worker, _: &'static ()) -> Result<(), Infallible> {
    std::future::pending().await
}
