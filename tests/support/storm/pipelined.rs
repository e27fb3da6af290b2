//! Several requests at once on one connection.

use tokio::time::Instant;

use super::ask::Ask;
use super::connection::Connection;
use super::player::{Next, Player, Rest};
use super::tally::Reason;

/// The most requests of one burst.
const BURST: usize = 8;

pub(crate) async fn play(mut player: Player) {
    while player.goes_on() {
        let Some(mut connection) = player.connect().await else { continue };
        while player.goes_on() {
            if burst(&mut player, &mut connection).await == Next::Ends {
                break;
            }
            if player.pause(&mut connection, None).await == Rest::Gone {
                break;
            }
        }
    }
}

async fn burst(player: &mut Player, connection: &mut Connection) -> Next {
    let count = 2 + player.random.below(BURST - 1);
    let asks: Vec<Ask> = (0..count).map(|_| player.pick()).collect();
    let mut first = asks.iter().flat_map(Ask::request).collect::<Vec<u8>>();
    let cut = player.random.below(first.len()) + 1;
    let second = first.split_off(if player.random.coin() { cut } else { first.len() });

    let asked = Instant::now();
    let mut sent = connection.send(&first).await;
    if sent.is_ok() && !second.is_empty() {
        // Else the two would come together.
        tokio::task::yield_now().await;
        sent = connection.send(&second).await;
    }
    let mut asks = asks.into_iter();
    while let Some(ask) = asks.next() {
        let before = connection.answered;
        if player.answer(connection, &ask, asked, sent).await == Next::Ends {
            let was_announced = connection.answered > before;
            for dropped in asks.by_ref().filter(|_| was_announced) {
                player.failed(asked, connection.answered, dropped, Reason::Dropped).await;
            }
            return Next::Ends;
        }
        sent = Ok(());
    }
    Next::GoesOn
}
