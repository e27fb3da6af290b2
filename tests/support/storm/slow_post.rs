//! Bodies that come in pieces.

use tokio::time::{Instant, sleep};

use super::ask::Ask;
use super::connection::Connection;
use super::player::{Next, Player, Rest};
use crate::client::Failure;

/// The most pieces of one body.
const PIECES: usize = 6;

pub(crate) async fn play(mut player: Player) {
    while player.goes_on() {
        let Some(mut connection) = player.connect().await else { continue };
        while player.goes_on() {
            let ask = player.pick();
            let sent = send(&mut player, &mut connection, &ask).await;
            if player.answer(&mut connection, &ask, Instant::now(), sent).await == Next::Ends {
                break;
            }
            if player.pause(&mut connection, None).await == Rest::Gone {
                break;
            }
        }
    }
}

async fn send(player: &mut Player, connection: &mut Connection, ask: &Ask) -> Result<(), Failure> {
    let has_length = player.random.coin();
    let headers = if has_length {
        format!("Content-Length: {}\r\n", ask.body.len())
    } else {
        "Transfer-Encoding: chunked\r\n".into()
    };
    connection.send(ask.head(&headers).as_bytes()).await?;
    let count = 2 + player.random.below(PIECES - 1);
    let size = ask.body.len().div_ceil(count).max(1);
    for piece in ask.body.chunks(size) {
        // Not cut short by the storm's end: what was begun is finished. The answer may have begun.
        sleep(player.random.within(&player.crowd.pause)).await;
        if has_length {
            connection.send(piece).await?;
        } else {
            let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
            connection.send(&chunk).await?;
        }
    }
    if has_length { Ok(()) } else { connection.send(b"0\r\n\r\n").await }
}
