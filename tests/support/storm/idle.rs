//! Clients that say nothing while the storm lasts.

use super::player::{Next, Player, Rest};

/// Asks once, and once more when the storm is over.
pub(crate) async fn idle(mut player: Player) {
    let Some(mut connection) = player.connect().await else { return };
    let ask = player.pick();
    if player.exchange(&mut connection, &ask).await == Next::Ends {
        return;
    }
    if player.wait_for_the_end(&mut connection, None).await == Rest::Over {
        let ask = player.pick();
        player.exchange(&mut connection, &ask).await;
    }
}

/// Asks when the storm is over.
pub(crate) async fn mute(mut player: Player) {
    let Some(mut connection) = player.connect().await else { return };
    player.begun();
    if player.wait_for_the_end(&mut connection, None).await == Rest::Over {
        let ask = player.pick();
        player.exchange(&mut connection, &ask).await;
    }
}
