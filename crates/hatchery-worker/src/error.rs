//! Why a worker cannot serve.

use hatchery_net::Address;
use thiserror::Error;

/// A mistake in how an application divides its listeners; found when it begins to serve.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// [`Worker::only`](crate::Worker::only) or [`Worker::without`](crate::Worker::without) named no listener.
    #[error("there is no listener with the name `{name}`")]
    NoSuchListener {
        /// The name.
        name: String,
    },
    /// Two calls serve the same listener. Each is served by one call in a worker's life.
    #[error("the listener on {address} is served already: narrow one call with `only`, another with `without`")]
    ServedTwice {
        /// Where it listens.
        address: Address,
    },
}
