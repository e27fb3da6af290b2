//! A UDP service with a socket for each worker, which every generation keeps: what
//! comes while a worker is replaced, or the program, waits in its socket and is answered.
//!
//! ```sh
//! cargo run --release --example udp -- --workers 4
//! echo hello | nc -u -w1 127.0.0.1 9000     # worker 2 gen 1: hello
//! curl 127.0.0.1:8080                       # how many this worker has answered
//! ```
//! The sockets share one address by `SO_REUSEPORT`: the kernel puts each datagram into
//! one of them, by where it comes from, as long as the socket is open, whether or not
//! somebody reads it. So somebody always has to. Each worker reads its own at once,
//! and looks after those of the others when something has waited there for a moment:
//! their workers may be blocked, dead, or away by TTOU.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use hatchery::http::{self, Request};
use hatchery::{BoxError, Exit, Server, Worker, cli};
use socket2::{Domain, Socket, Type};
use tokio::net::UdpSocket;
use tokio::task::spawn_local;
use tokio::time::sleep;

/// Answers datagrams.
#[derive(Debug, Parser)]
struct Args {
    /// Address that answers datagrams
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    udp: SocketAddr,
    /// Sockets that share it; as many as workers, if not set. More come with an upgrade,
    /// fewer with a restart: what waits in one that is closed is lost
    #[arg(long, value_name = "N")]
    sockets: Option<u16>,
    #[command(flatten)]
    server: cli::ServerArgs,
}

/// How long others may take for what waits in their socket.
const PATIENCE: Duration = Duration::from_millis(5);

fn main() -> Exit {
    let args: Args = cli::parse();
    let mut server = Server::from_args(args.server).bind("127.0.0.1:8080");
    // Settings that are wrong are said when the server runs.
    let sockets = args.sockets.or_else(|| server.settings().ok().map(|it| it.workers)).unwrap_or(1).max(1);
    for index in 0..sockets {
        server = server.keep(name(index), move || open(args.udp, index));
    }
    server.run(async move |worker: Worker, nothing: &'static ()| run(worker, nothing, sockets).await)
}

fn name(index: u16) -> String {
    format!("udp-{index}")
}

/// Called in the first generation, and in a later one that has more sockets.
fn open(address: SocketAddr, index: u16) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    // The first one is bound without it: so a second program is refused.
    socket.set_reuse_port(index > 0)?;
    socket.bind(&address.into())?;
    socket.set_reuse_port(true)?;
    Ok(socket)
}

/// What every worker does.
async fn run(worker: Worker, nothing: &'static (), sockets: u16) -> Result<(), BoxError> {
    let answered = Rc::new(Cell::new(0_u64));
    let mut readers = Vec::new();
    for index in 0..sockets {
        let socket = UdpSocket::from_std(worker.kept(&name(index))?.into())?;
        let is_own = worker.slot().0 % sockets == index;
        let patience = if is_own { Duration::ZERO } else { PATIENCE };
        readers.push(spawn_local(answer(socket, patience, worker.clone(), Rc::clone(&answered))));
    }
    let page = http::serve_fn(async move |_: Request| Ok::<_, Infallible>(http::text(format!("{}\n", answered.get()))));
    page(worker, nothing).await?;
    // What was taken out of a socket is answered before this process ends.
    for reader in readers {
        reader.await??;
    }
    Ok(())
}

/// Answers what comes to a socket until the worker drains: then others read it.
async fn answer(socket: UdpSocket, patience: Duration, worker: Worker, answered: Rc<Cell<u64>>) -> io::Result<()> {
    let mut draining = pin!(worker.draining());
    let mut buffer = vec![0; 65_536];
    loop {
        let is_last = tokio::select! {
            ready = socket.readable() => ready.map(|()| false)?,
            () = &mut draining => true,
        };
        if !is_last && !patience.is_zero() {
            sleep(patience).await;
        }
        loop {
            match socket.try_recv_from(&mut buffer) {
                Ok((length, client)) => {
                    let mut text = format!("worker {} gen {}: ", worker.slot(), worker.generation()).into_bytes();
                    text.extend_from_slice(&buffer[..length]);
                    // A client that cannot be reached has lost its answer, as datagrams are lost.
                    let _unreachable = socket.send_to(&text, client).await;
                    answered.set(answered.get() + 1);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if is_last {
            return Ok(());
        }
    }
}
