//! HTTP/2 with prior knowledge, by a client that is not ours.

use std::fmt::Display;
use std::rc::Rc;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::Instant;

use super::ask::Ask;
use super::connection::{connect, in_time};
use super::frames::{Seen, Watched};
use super::player::Player;
use super::tally::Reason;
use crate::client::Failure;

/// The most streams at once.
const STREAMS: usize = 4;

/// A connection that is used.
struct Used {
    client: SendRequest<Bytes>,
    /// Ends with it.
    task: JoinHandle<Result<(), h2::Error>>,
    seen: Rc<Seen>,
}

/// How one request ended.
enum Outcome {
    Answered(u16, Vec<u8>),
    /// The connection was known to end before it was sent.
    NotSent,
    Failed(Reason),
}

pub(crate) async fn play(mut player: Player) {
    while player.goes_on() {
        let asked = Instant::now();
        match in_time(handshake(&player.crowd.address)).await {
            Ok(connection) => {
                player.opened();
                use_up(&mut player, &connection).await;
                drop(connection.client);
                // Nobody holds the client any more, so this side ends it when the server does not.
                let reason = match in_time(async { Ok(connection.task.await) }).await {
                    Ok(end) => end.expect("a connection").err().map(Reason::http2),
                    Err(failure) => Some(failure.into()),
                };
                if let Some(reason) = reason {
                    player.failed(asked, 0, "the end of a connection", reason).await;
                }
            }
            Err(failure) => player.failed(asked, 0, "connect", failure).await,
        }
    }
}

async fn handshake(address: &str) -> Result<Used, Failure> {
    let (socket, seen) = Watched::new(connect(address).await?);
    let garbled = |error: h2::Error| Failure::Garbled(error.to_string());
    let (client, connection) = h2::client::handshake(socket).await.map_err(garbled)?;
    let task = spawn_local(connection);
    Ok(Used { client: client.ready().await.map_err(garbled)?, task, seen })
}

/// Uses a connection until the server says that it ends, or the storm is over.
async fn use_up(player: &mut Player, connection: &Used) {
    let mut answered = 0;
    while player.goes_on() {
        let count = 1 + player.random.below(STREAMS);
        let asks: Vec<Ask> = (0..count).map(|_| player.pick()).collect();
        let asked = Instant::now();
        let mut open = Vec::new();
        let mut end = None;
        for ask in asks {
            match send(connection.client.clone(), &ask).await {
                Ok((answer, upload)) => {
                    let outcome = exchange(answer, upload, ask.body.clone(), Rc::clone(&connection.seen));
                    open.push((ask, spawn_local(outcome)));
                }
                Err(error) => end = Some(error),
            }
        }
        for (ask, outcome) in open {
            let reason = match outcome.await.expect("a stream") {
                Outcome::Answered(status, body) => match ask.objects_to(status, &body) {
                    None => {
                        answered += 1;
                        player.answered(asked);
                        continue;
                    }
                    Some(wrong) => Reason::Wrong(wrong),
                },
                Outcome::NotSent => continue,
                Outcome::Failed(reason) => reason,
            };
            player.failed(asked, answered, ask, reason).await;
        }
        match end {
            Some(error) if error.is_go_away() => return player.announced(),
            Some(_) => return player.closed_idle(),
            None => player.pause_alone().await,
        }
    }
}

/// Opens a stream; an error means that nothing of it is sent.
async fn send(client: SendRequest<Bytes>, ask: &Ask) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
    let request = Request::builder().method(ask.method).uri(format!("http://storm{}", ask.path));
    let request = request.body(()).expect("a request");
    client.ready().await?.send_request(request, ask.body.is_empty())
}

async fn exchange(answer: ResponseFuture, upload: SendStream<Bytes>, body: Vec<u8>, seen: Rc<Seen>) -> Outcome {
    let stream = answer.stream_id().as_u32();
    // A stream that stays silent has failed as much as one that breaks.
    match in_time(async { Ok(whole(answer, upload, body).await) }).await {
        Ok(Ok((status, body))) => Outcome::Answered(status, body),
        Ok(Err(_)) if !seen.was_sent_in_time(stream) => Outcome::NotSent,
        Ok(Err(error)) => Outcome::Failed(Reason::http2(error)),
        Err(failure) => Outcome::Failed(failure.into()),
    }
}

async fn whole(
    answer: ResponseFuture,
    mut upload: SendStream<Bytes>,
    body: Vec<u8>,
) -> Result<(u16, Vec<u8>), h2::Error> {
    if !body.is_empty() {
        upload.send_data(Bytes::from(body), true)?;
    }
    let answer: Response<RecvStream> = answer.await?;
    let status = answer.status().as_u16();
    let mut stream = answer.into_body();
    let mut body = Vec::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk?;
        stream.flow_control().release_capacity(chunk.len())?;
        body.extend_from_slice(&chunk);
    }
    Ok((status, body))
}

impl Reason {
    fn http2(error: impl Display) -> Self {
        Self::Http2(error.to_string())
    }
}
