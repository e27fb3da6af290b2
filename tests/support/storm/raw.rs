//! The lab's counter, whose sums have to go on.

use tokio::time::Instant;

use super::connection::Connection;
use super::player::{Player, Rest};
use super::tally::Reason;
use crate::client::Failure;

pub(crate) async fn play(mut player: Player) {
    while player.goes_on() {
        let Some(mut connection) = player.connect().await else { continue };
        let mut sum = 0;
        // The last lines of each come when the storm is over: nobody goes away after a move that nobody has seen.
        while add(&mut player, &mut connection, &mut sum).await && player.goes_on() {
            match player.pause(&mut connection, None).await {
                Rest::Rested | Rest::Over => {}
                Rest::Gone => break,
            }
        }
    }
}

/// Adds once or twice, and looks at the sums; tells whether all is well.
async fn add(player: &mut Player, connection: &mut Connection, sum: &mut u64) -> bool {
    let numbers: Vec<u64> = (0..1 + player.random.below(2)).map(|_| player.random.next() % 1000).collect();
    let lines: String = numbers.iter().map(|number| format!("add {number}\n")).collect();
    let asked = Instant::now();
    let sent = send(player, connection, lines.as_bytes()).await;
    if let Err(failure) = sent {
        player.failed(asked, connection.answered, lines.trim(), failure).await;
        return false;
    }
    for number in numbers {
        *sum += number;
        let before = connection.answered;
        let reason = match connection.line().await {
            Ok(line) if line.starts_with(&format!("sum {sum} pid ")) => {
                player.answered(asked);
                continue;
            }
            Ok(line) => Reason::Wrong(format!("`{line}`, and the sum is {sum}")),
            Err(failure) => failure.into(),
        };
        player.failed(asked, before, format!("add {number}"), reason).await;
        return false;
    }
    true
}

/// Sends it whole, or in two parts.
async fn send(player: &mut Player, connection: &mut Connection, lines: &[u8]) -> Result<(), Failure> {
    let (first, second) = lines.split_at(player.random.below(lines.len()));
    if !first.is_empty() {
        connection.send(first).await?;
        let span = player.random.within(&player.crowd.pause);
        tokio::time::sleep(span).await;
    }
    connection.send(second).await
}
