//! A protocol of one's own: every line comes back.
//!
//! Try `nc 127.0.0.1 7000`.

use std::pin::pin;

use hatchery::{Conn, Exit, Server, Worker};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

fn main() -> Exit {
    Server::new()
        .bind("127.0.0.1:7000")
        .run(async |worker: Worker, _: &'static ()| worker.serve(async |conn: Conn| echo(conn).await).await)
}

/// Gives each line back until the client leaves, or until this worker has to
/// drain and waits for nothing but the next line.
async fn echo(conn: Conn) {
    let mut draining = pin!(conn.draining());
    let mut conn = BufReader::new(conn);
    let mut line = Vec::new();
    loop {
        tokio::select! {
            biased;
            read = conn.read_until(b'\n', &mut line) => match read {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            },
            () = &mut draining => return,
        }
        if conn.write_all(&line).await.is_err() {
            return;
        }
        line.clear();
    }
}
