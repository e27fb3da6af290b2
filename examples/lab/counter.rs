//! A protocol of the lab's own: a sum a connection.

use std::pin::pin;
use std::process;

use hatchery::{BoxError, Conn, Worker};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

/// The name of the listener.
pub(crate) const LISTENER: &str = "raw";

/// No sensible line is longer.
const LONGEST_LINE: u64 = 64;

/// Serves the worker's listeners until it has drained.
pub(crate) async fn serve(worker: Worker) -> Result<(), BoxError> {
    Ok(worker.serve(async |conn: Conn| count(conn).await).await?)
}

/// Answers each line; ends with the client, with a line that is wrong, or when
/// the worker drains and no line has come.
async fn count(conn: Conn) {
    let mut draining = pin!(conn.draining());
    let mut conn = BufReader::new(conn);
    let mut sum: i128 = 0;
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
            () = &mut draining => return,
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
}

/// The number of a whole line `add N`.
fn number(line: &[u8]) -> Option<i64> {
    std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?.strip_prefix("add ")?.trim().parse().ok()
}
