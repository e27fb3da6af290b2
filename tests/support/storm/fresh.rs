//! A connection a request.

use super::player::{Player, Rest};

pub(crate) async fn play(mut player: Player) {
    while player.goes_on() {
        one(&mut player).await;
        player.pause_alone().await;
    }
}

async fn one(player: &mut Player) {
    let Some(mut connection) = player.connect().await else { return };
    if player.random.coin() && player.pause(&mut connection, None).await == Rest::Gone {
        return;
    }
    let ask = player.pick();
    let ask = if player.random.coin() { ask.closing() } else { ask };
    player.exchange(&mut connection, &ask).await;
}
