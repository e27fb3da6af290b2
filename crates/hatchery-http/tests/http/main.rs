//! hatchery-http in a real worker, by real clients.

mod drain;
mod http2;
mod limits;
mod requests;
mod support;

/// Not a test of its own: it is how a test starts a worker, and does nothing when it is run with the others.
#[test]
fn worker_process() {
    support::child();
}
