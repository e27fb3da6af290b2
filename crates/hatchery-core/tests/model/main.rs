//! Every order in which things can happen to real masters, within bounds.
//!
//! A world is one or more [`Master`](hatchery_core::Master)s, their workers,
//! and the messages between them. From each world every choice is tried:
//! commands of an operator, workers that boot, do not boot, drain, hang, crash
//! or are killed, masters that die, requests that the system refuses, messages
//! that are heard now or later, and time. What [`check`] says holds in each of
//! them, and from each of them, if all goes well from there on, the masters come
//! to rest: serving, resting, or gone after a stop.
//!
//! * [`world`]: what there is, in a form that can be compared
//! * [`choice`]: what can happen next
//! * [`perform`]: what follows from it; here the actions are performed
//! * [`check`]: what has to hold
//! * [`explore`]: the search, and the way to a violation in words
//! * [`scope`], [`scopes`]: the bounds
//!
//! The search is written out, without a library for it: it is a queue and a set
//! of fingerprints, and the part that a library would not know is the longer one,
//! where a choice asks for answers and a liveness check follows one path for
//! each state. A dependency would buy a web page and a second vocabulary.
//!
//! Both masters of an upgrade are real. That the space stays small enough is the
//! work of [`Master::canonical`](hatchery_core::Master::canonical), of budgets
//! for whatever need not happen, and of two reductions that lose nothing: an
//! order to a worker takes effect at once, since what a worker has said before it
//! was told is the same as what it says late; and the answers to a fork or a
//! start come before anything else, as they do in the driver.

mod check;
mod choice;
mod explore;
mod perform;
mod scope;
mod scopes;
mod world;

use std::time::Duration;

use crate::explore::{Outcome, explore};
use crate::scope::Scope;

fn run(scopes: &[Scope], most: usize) {
    println!("{:<42} {:>9} {:>9} {:>6} {:>8} {:>8}", "scope", "states", "edges", "depth", "to rest", "seconds");
    let mut total = (0, 0, Duration::ZERO);
    for scope in scopes {
        let outcome = explore(scope, most);
        line(scope.name, &outcome);
        total = (total.0 + outcome.states, total.1 + outcome.edges, total.2 + outcome.time);
        if let Some(found) = &outcome.found {
            for line in &found.story {
                println!("{line}");
            }
            panic!("{}: violated: {}: {}", scope.name, found.violation.rule, found.violation.detail);
        }
    }
    println!("{:<42} {:>9} {:>9} {:>24.1}", "all", total.0, total.1, total.2.as_secs_f64());
}

fn line(name: &str, outcome: &Outcome) {
    let seconds = outcome.time.as_secs_f64();
    let Outcome { states, edges, depth, longest, .. } = outcome;
    println!("{name:<42} {states:>9} {edges:>9} {depth:>6} {longest:>8} {seconds:>8.1}");
}

#[test]
fn whatever_happens_in_whatever_order() {
    run(scopes::EVERY_RUN, 1_000_000);
}

/// Takes some minutes and some gigabytes: `cargo test -p hatchery-core --test model -- --ignored --nocapture`.
#[test]
#[ignore = "takes minutes"]
fn whatever_happens_in_a_larger_scope() {
    run(scopes::LARGE, 20_000_000);
}
