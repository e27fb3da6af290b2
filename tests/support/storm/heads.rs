//! Requests that come in two parts.

use tokio::time::Instant;

use super::ask::Ask;
use super::connection::Connection;
use super::player::{Next, Player, Rest};

/// A request of which the first part was sent.
struct Half {
    ask: Ask,
    rest: Vec<u8>,
}

/// Sends the first part of a request, and the second when the storm is over.
pub(crate) async fn half(mut player: Player) {
    let Some(mut connection) = player.connect().await else { return };
    let is_second = player.number % 2 == 1;
    if is_second {
        let ask = player.pick();
        if player.exchange(&mut connection, &ask).await == Next::Ends {
            return;
        }
    }
    let Some(half) = Half::send(&mut player, &mut connection).await else { return };
    player.begun();
    if player.wait_for_the_end(&mut connection, Some(&half.ask)).await == Rest::Over {
        half.finish(&mut player, &mut connection).await;
    }
}

/// Sends request after request, each in two parts.
pub(crate) async fn slow(mut player: Player) {
    while player.goes_on() {
        let Some(mut connection) = player.connect().await else { continue };
        while player.goes_on() {
            let Some(half) = Half::send(&mut player, &mut connection).await else { break };
            if player.pause(&mut connection, Some(&half.ask)).await == Rest::Gone {
                break;
            }
            if half.finish(&mut player, &mut connection).await == Next::Ends {
                break;
            }
        }
    }
}

impl Half {
    async fn send(player: &mut Player, connection: &mut Connection) -> Option<Self> {
        let ask = player.pick();
        let mut first = ask.request();
        // Somewhere in the head: what comes after it is another kind's business.
        let cut = 1 + player.random.below(first.len() - ask.body.len() - 1);
        let rest = first.split_off(cut);
        let asked = Instant::now();
        match connection.send(&first).await {
            Ok(()) => Some(Self { ask, rest }),
            Err(failure) => {
                player.failed(asked, connection.answered, ask, failure).await;
                None
            }
        }
    }

    async fn finish(&self, player: &mut Player, connection: &mut Connection) -> Next {
        let asked = Instant::now();
        let sent = connection.send(&self.rest).await;
        player.answer(connection, &self.ask, asked, sent).await
    }
}
