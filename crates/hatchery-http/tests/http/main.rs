//! hatchery-http in real workers, by real clients.

mod arrivals;
mod drain;
mod flood;
mod goaway;
mod http2;
mod journey;
mod limits;
mod moves;
mod requests;
mod shed;
mod sizes;
mod stays;
mod streams;
mod support;
mod upgrades;

/// Not a test of its own: it is how a test starts a worker, and does nothing when it is run with the others.
#[test]
fn worker_process() {
    support::child();
}
