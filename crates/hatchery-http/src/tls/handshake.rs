//! How TLS begins on a connection.

use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hatchery_worker::Counter;
use rustls::ServerConfig;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::{FallibleAccept, TlsStream};
use tracing::debug;

use super::session::{Session, Socket};
use crate::client::Facts;
use crate::parked::Parked;
use crate::phase::{LINGER, Order, Phase};
use crate::server::Shared;
use crate::service::Handle;
use crate::sweep::{Hub, Registered};
use crate::transport::Transport;

/// What a client gets that speaks HTTP where TLS is spoken.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    connection: close\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    content-length: 40\r\n\r\n\
    This address speaks TLS: try https://.\r\n";

/// Makes a connection speak TLS, and goes on with it.
pub(crate) async fn secure<S: Handle>(server: Rc<Shared<S>>, config: Arc<ServerConfig>, parked: Parked) {
    match Handshake::new(&server.hub, config, parked).await {
        Shaken::Secured(parked) => server.begin(parked, Duration::ZERO, None),
        Shaken::Refused(mut parked) => {
            // What was said to it is to arrive.
            if parked.shut().is_ok() {
                let _closed_or_not = timeout(LINGER, poll_fn(|cx| parked.poll_closed(cx))).await;
            }
        }
        Shaken::Gone => {}
    }
}

/// What becomes of a handshake.
enum Shaken {
    /// It is done.
    Secured(Parked),
    /// There is none: the client was told why.
    Refused(Parked),
    /// The client has gone, or had its time.
    Gone,
}

/// A connection on its way to TLS.
struct Handshake {
    hub: Rc<Hub>,
    registered: Registered,
    config: Arc<ServerConfig>,
    stage: Stage,
}

enum Stage {
    /// Not a byte has come: a plain value, as long as the client is silent.
    Silent(Parked),
    /// rustls has it; what is known of the connection stands aside.
    Shaking(Box<FallibleAccept<Socket>>, Facts),
    Over,
}

impl Handshake {
    fn new(hub: &Rc<Hub>, config: Arc<ServerConfig>, parked: Parked) -> Self {
        let registered = hub.register(Phase::Handshake, Duration::ZERO);
        Self { hub: Rc::clone(hub), registered, config, stage: Stage::Silent(parked) }
    }

    /// The client has said something: to rustls, if it can be a handshake.
    fn begin(&self, mut parked: Parked) -> ControlFlow<Shaken, Stage> {
        if parked.prefix.first().is_some_and(u8::is_ascii_uppercase) {
            self.hub.counters.count(Counter::HandshakeFailed);
            debug!("a client speaks HTTP without TLS");
            parked.transport.say(NOT_TLS);
            return ControlFlow::Break(Shaken::Refused(parked));
        }
        let Parked { transport, prefix, facts } = parked;
        let Transport::Plain(stream) = transport else { return ControlFlow::Break(Shaken::Gone) };
        let accept = TlsAcceptor::from(Arc::clone(&self.config)).accept(Socket::new(stream, prefix));
        ControlFlow::Continue(Stage::Shaking(Box::new(accept.into_fallible()), facts))
    }

    /// What the end of rustls' work means.
    fn conclude(&self, shaken: Result<TlsStream<Socket>, (io::Error, Socket)>, mut facts: Facts) -> Shaken {
        match shaken {
            Ok(stream) => {
                let session = Session::new(stream);
                facts.secured(session.info());
                let transport = Transport::Tls(Box::new(session));
                Shaken::Secured(Parked { transport, prefix: Box::default(), facts })
            }
            Err((error, socket)) => {
                // Who only goes away has not tried.
                if error.kind() == io::ErrorKind::InvalidData {
                    self.hub.counters.count(Counter::HandshakeFailed);
                }
                debug!("no TLS handshake: {error}");
                // rustls has told the client why, if it is still there.
                Shaken::Refused(Parked { transport: Transport::Plain(socket.stream), prefix: Box::default(), facts })
            }
        }
    }
}

impl Future for Handshake {
    type Output = Shaken;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Shaken> {
        let this = &mut *self;
        let entry = &this.registered.entry;
        entry.remember(cx.waker());
        match entry.take_order() {
            Order::None | Order::Park | Order::Look | Order::Shed => {}
            // A client that has just come is answered, if it does not take long.
            Order::Drain => entry.enter(Phase::Handshake, this.hub.now()),
            Order::Expire => {
                this.hub.counters.count(Counter::HandshakeTimeout);
                debug!("a TLS handshake took too long");
                return Poll::Ready(Shaken::Gone);
            }
        }
        loop {
            match &mut this.stage {
                Stage::Silent(parked) => {
                    parked.note(Phase::Handshake);
                    // What a proxy has said may have come with the beginning of the handshake.
                    if parked.prefix.is_empty() && !ready!(parked.poll_more(cx)) {
                        return Poll::Ready(Shaken::Gone);
                    }
                    let Stage::Silent(parked) = mem::replace(&mut this.stage, Stage::Over) else { continue };
                    match this.begin(parked) {
                        ControlFlow::Continue(stage) => this.stage = stage,
                        ControlFlow::Break(shaken) => return Poll::Ready(shaken),
                    }
                }
                Stage::Shaking(accept, _) => {
                    let shaken = ready!(Pin::new(&mut **accept).poll(cx));
                    let Stage::Shaking(_, facts) = mem::replace(&mut this.stage, Stage::Over) else { continue };
                    return Poll::Ready(this.conclude(shaken, facts));
                }
                Stage::Over => return Poll::Ready(Shaken::Gone),
            }
        }
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.hub.remove(&self.registered);
    }
}
