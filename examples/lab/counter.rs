//! A protocol of the lab's own: a sum a connection, which goes along wherever the connection goes.

use std::pin::pin;
use std::process;

use hatchery::{BoxError, Conn, Worker};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::boot::Lab;

/// The name of the listener.
pub(crate) const LISTENER: &str = "raw";

/// The name of what it speaks.
const SERVICE: &str = "counter";

/// No sensible line is longer.
const LONGEST_LINE: u64 = 64;

/// Serves the worker's listeners until it has drained.
pub(crate) async fn serve(worker: Worker, lab: &Lab) -> Result<(), BoxError> {
    Ok(worker.carrying(SERVICE, lab.counter).serve(count).await?)
}

/// Answers each line; ends with the client, with a line that is wrong, or when
/// the worker drains, no line has come, and nobody takes the connection.
async fn count(conn: Conn) {
    let Some(mut sum) = carried(&conn) else { return };
    let mut draining = pin!(conn.draining());
    let mut conn = BufReader::new(conn);
    let mut line = Vec::new();
    loop {
        let mut limited = (&mut conn).take(LONGEST_LINE);
        tokio::select! {
            // What has come is answered first.
            biased;
            read = limited.read_until(b'\n', &mut line) => match read {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            },
            () = &mut draining => break,
        }
        let (answer, go_on) = match number(&line) {
            Some(number) => {
                sum += i128::from(number);
                (format!("sum {sum} pid {}\n", process::id()), true)
            }
            None => ("error: expected `add N`\n".to_owned(), false),
        };
        if conn.write_all(answer.as_bytes()).await.is_err() || !go_on {
            return;
        }
        line.clear();
    }
    // A part of a line, and what was read together with it.
    line.extend_from_slice(conn.buffer());
    // Where nobody takes it, it is idle and may be closed.
    let _stays = conn.into_inner().hand_over(&sum.to_be_bytes(), &line).await;
}

/// The sum so far; `None` when what was carried is none.
fn carried(conn: &Conn) -> Option<i128> {
    match conn.carried() {
        None => Some(0),
        Some(state) => state.try_into().ok().map(i128::from_be_bytes),
    }
}

/// The number of a whole line `add N`.
fn number(line: &[u8]) -> Option<i64> {
    std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?.strip_prefix("add ")?.trim().parse().ok()
}
