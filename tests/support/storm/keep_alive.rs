//! A connection for as long as it lasts.

use super::ask::Ask;
use super::player::{Next, Player, Rest};

/// Asks one of its requests after the other, chosen at random.
pub(crate) async fn at_random(player: Player) {
    keep(player, |player, _| player.pick()).await;
}

/// Asks all its requests in their order, over and over.
pub(crate) async fn in_order(player: Player) {
    keep(player, |player, count| player.crowd.asks[count % player.crowd.asks.len()].clone()).await;
}

async fn keep(mut player: Player, next: impl Fn(&mut Player, usize) -> Ask) {
    while player.goes_on() {
        let Some(mut connection) = player.connect().await else { continue };
        let mut count = 0;
        loop {
            let ask = next(&mut player, count);
            count += 1;
            if player.exchange(&mut connection, &ask).await == Next::Ends {
                break;
            }
            match player.pause(&mut connection, None).await {
                Rest::Rested => {}
                Rest::Over | Rest::Gone => break,
            }
        }
    }
}
