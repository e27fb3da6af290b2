//! A protocol of one's own: every line comes back, numbered.
//!
//! Try `nc 127.0.0.1 7000`, and `kill -HUP` or `kill -USR2` the master meanwhile: the
//! connection moves to another process, and its numbers go on.

use std::pin::pin;

use hatchery::{Conn, Exit, Server, Worker};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

fn main() -> Exit {
    Server::new()
        .bind("127.0.0.1:7000")
        .run(async |worker: Worker, _: &'static ()| worker.carrying("echo", 1).serve(echo).await)
}

/// Gives each line back until the client leaves, or until this worker has to
/// drain and waits for nothing but the next line: then another one goes on.
async fn echo(conn: Conn) {
    let mut count = conn.carried().and_then(|state| state.try_into().ok()).map_or(0, u64::from_be_bytes);
    let mut draining = pin!(conn.draining());
    let mut conn = BufReader::new(conn);
    let mut line = Vec::new();
    loop {
        tokio::select! {
            // What has come is answered first.
            biased;
            read = conn.read_until(b'\n', &mut line) => match read {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            },
            () = &mut draining => break,
        }
        count += 1;
        let answer = [format!("{count} ").as_bytes(), &line].concat();
        if conn.write_all(&answer).await.is_err() {
            return;
        }
        line.clear();
    }
    // Half a line, and what was read together with it.
    line.extend_from_slice(conn.buffer());
    if let Err(mut stays) = conn.into_inner().hand_over(&count.to_be_bytes(), &line).await {
        // The whole service stops, or the next program takes another state.
        let _client_gone = stays.conn.write_all(b"bye\n").await;
    }
}
