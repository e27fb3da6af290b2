//! A protocol of one's own: every line comes back, numbered.
//!
//! Try `nc 127.0.0.1 7000`, and `kill -HUP` or `kill -USR2` the master meanwhile: the
//! connection moves to another process, and its numbers go on.

use clap::Parser;
use hatchery::{Conn, Exit, Server, Worker, cli};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

/// Numbers lines.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    server: cli::ServerArgs,
}

fn main() -> Exit {
    let args: Args = cli::parse();
    Server::from_args(args.server)
        .bind("127.0.0.1:7000")
        .run(async |worker: Worker, _: &'static ()| worker.carrying("echo", 1).serve(echo).await)
}

/// Gives each line back until the client leaves, or until it waits for nothing
/// but the next line and should move: then another worker goes on.
async fn echo(conn: Conn) {
    let mut count = conn.carried().and_then(|state| state.try_into().ok()).map_or(0, u64::from_be_bytes);
    let mut conn = BufReader::new(conn);
    let mut line = Vec::new();
    loop {
        let asked = conn.get_ref().asked_to_move();
        tokio::select! {
            // What has come is answered first.
            biased;
            read = conn.read_until(b'\n', &mut line) => match read {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            },
            () = asked => {
                // Half a line at most, since every whole one was read first.
                match conn.into_inner().hand_over(&count.to_be_bytes(), &line).await {
                    Ok(()) => return,
                    // The whole service stops, or the next program takes another state.
                    Err(mut stays) if stays.conn.is_draining() => {
                        let _client_gone = stays.conn.write_all(b"bye\n").await;
                        return;
                    }
                    // There was no room on the way: it goes on here.
                    Err(stays) => conn = BufReader::new(stays.conn),
                }
                continue;
            }
        }
        count += 1;
        let answer = [format!("{count} ").as_bytes(), &line].concat();
        if conn.write_all(&answer).await.is_err() {
            return;
        }
        line.clear();
    }
}
