//! Which listeners are served.

use std::collections::BTreeSet;
use std::rc::Rc;

use hatchery_net::{Address, Listener};

use super::Worker;
use crate::ServeError;

/// A listener, as the application knows it.
///
/// ```no_run
/// use hatchery_worker::ListenerInfo;
///
/// fn describe(listener: &ListenerInfo) -> String {
///     let name = listener.name.as_deref().unwrap_or("unnamed");
///     format!("{name} on {}", listener.address)
/// }
/// # let _ = describe;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenerInfo {
    /// What the program calls it, if anything.
    pub name: Option<String>,
    /// Where it listens, with its real port.
    pub address: Address,
    /// Whether the settings ask for it; else it is a number and nothing more.
    pub(crate) is_asked: bool,
}

/// What listeners are called that speak TLS.
pub const TLS: &str = "tls";

impl Worker {
    /// The listeners that this value would serve.
    ///
    /// ```no_run
    /// use hatchery_worker::{Conn, ServeError, Worker};
    ///
    /// async fn app(worker: Worker) -> Result<(), ServeError> {
    ///     // Not every installation has an admin listener.
    ///     if worker.listeners().all(|listener| listener.name.as_deref() != Some("admin")) {
    ///         return worker.serve(public).await;
    ///     }
    ///     tokio::try_join!(worker.only("admin").serve(admin), worker.without("admin").serve(public)).map(|_| ())
    /// }
    /// # async fn public(_: Conn) {}
    /// # async fn admin(_: Conn) {}
    /// # let _ = app;
    /// ```
    pub fn listeners(&self) -> impl Iterator<Item = &ListenerInfo> {
        self.scope.iter().flat_map(|scope| scope.iter()).map(|&index| &self.shared.listeners[index])
    }

    /// The same worker with one listener only.
    ///
    /// A name that no listener has is an error when it is served.
    ///
    /// ```no_run
    /// use hatchery_worker::{Conn, ServeError, Worker};
    ///
    /// async fn app(worker: Worker) -> Result<(), ServeError> {
    ///     let public = worker.only("public").serve(async |conn: Conn| drop(conn));
    ///     let admin = worker.only("admin").serve(async |conn: Conn| drop(conn));
    ///     tokio::try_join!(public, admin).map(|_| ())
    /// }
    /// # let _ = app;
    /// ```
    #[must_use]
    pub fn only(&self, name: &str) -> Self {
        self.narrowed(name, |is_it| is_it)
    }

    /// The same worker with all listeners but one.
    ///
    /// A name that no listener has is an error when the rest is served.
    ///
    /// ```no_run
    /// use hatchery_worker::{Conn, ServeError, Worker};
    ///
    /// async fn app(worker: Worker) -> Result<(), ServeError> {
    ///     // However many public listeners the settings have, they need no names.
    ///     let public = worker.without("admin").serve(async |conn: Conn| drop(conn));
    ///     let admin = worker.only("admin").serve(async |conn: Conn| drop(conn));
    ///     tokio::try_join!(public, admin).map(|_| ())
    /// }
    /// # let _ = app;
    /// ```
    #[must_use]
    pub fn without(&self, name: &str) -> Self {
        self.narrowed(name, |is_it| !is_it)
    }

    #[doc(hidden)] // For protocol crates: whether TLS is spoken on a listener, by its index.
    #[must_use]
    pub fn is_secure(&self, listener: usize) -> bool {
        self.shared.listeners.get(listener).is_some_and(ListenerInfo::is_secure)
    }

    #[doc(hidden)] // For protocol crates that make handshakes where that is wanted.
    #[must_use]
    pub fn speaking_tls(&self) -> Self {
        Self { speaks_tls: true, ..self.clone() }
    }

    /// What this call would take and cannot speak.
    pub(crate) fn unspeakable(&self) -> Option<ServeError> {
        let secure = self.listeners().find(|listener| listener.is_secure() && !self.speaks_tls)?;
        Some(ServeError::SpeaksTls { address: secure.address.clone() })
    }

    pub(crate) fn listener_indices(&self) -> Result<Rc<[usize]>, ServeError> {
        self.scope.clone()
    }

    fn narrowed(&self, name: &str, keep: impl Fn(bool) -> bool) -> Self {
        let is_it = |index: &usize| self.shared.listeners[*index].name.as_deref() == Some(name);
        let scope = self.scope.clone().and_then(|scope| {
            if !scope.iter().any(is_it) {
                let named = scope.iter().filter_map(|index| self.shared.listeners[*index].name.clone());
                let known: BTreeSet<String> = named.collect();
                return Err(ServeError::NoSuchListener { name: name.to_owned(), known: known.into_iter().collect() });
            }
            Ok(scope.iter().copied().filter(|index| keep(is_it(index))).collect())
        });
        Self { scope, ..self.clone() }
    }
}

impl ListenerInfo {
    /// Whether TLS is spoken there.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.name.as_deref() == Some(TLS)
    }

    /// How a line of the log calls it.
    pub(crate) fn in_words(&self) -> String {
        match &self.name {
            Some(name) => format!("`{name}` on {}", self.address),
            None => self.address.to_string(),
        }
    }

    pub(crate) fn of(listener: &Listener) -> Self {
        let is_asked = listener.is_asked();
        Self { name: listener.name().map(str::to_owned), address: listener.bound().clone(), is_asked }
    }
}
