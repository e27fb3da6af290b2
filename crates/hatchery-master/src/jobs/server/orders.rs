//! Orders: accepted, refused, or deserted by who has sent them.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use hatchery_core::wire::jobs::{Answer, LONGEST, Order, Wants};
use hatchery_sys::channel::{Channel, Received};
use tracing::{error, warn};

use super::{LOG, Server, Stage};

/// A job that was accepted and has not begun.
pub(super) struct Waiting {
    pub(super) order: Order,
    pub(super) answer: Channel,
    pub(super) sheet: File,
}

impl Server {
    pub(super) fn read_orders(&mut self) {
        let mut message = [0; LONGEST];
        loop {
            match self.orders.recv(&mut message) {
                Ok(Received::Message { len, fds }) => self.take_order(&message[..len], fds),
                // Who waits for it sees that its answer will never come.
                Ok(Received::Truncated | Received::Stripped { .. }) => {
                    warn!(target: LOG, "an order for a job of `{}` is lost: too long, or no descriptor is left", self.name);
                }
                Ok(Received::Closed) => return self.no_more_orders(),
                Err(failure) if failure.kind() == io::ErrorKind::WouldBlock => return,
                Err(failure) => {
                    error!(target: LOG, "the queue of jobs `{}` cannot be read any more: {failure}", self.name);
                    return self.no_more_orders();
                }
            }
        }
    }

    fn take_order(&mut self, message: &[u8], fds: Vec<OwnedFd>) {
        let Ok([answer, sheet]) = <[OwnedFd; 2]>::try_from(fds) else {
            return warn!(target: LOG, "an order for a job of `{}` has not its two descriptors", self.name);
        };
        let answer = match Channel::from_fd(answer) {
            Ok(answer) => answer,
            Err(failure) => {
                return warn!(target: LOG, "an order for a job of `{}` cannot be answered: {failure}", self.name);
            }
        };
        let said = match Order::decode(message) {
            Err(failure) => Answer::Refused { text: failure.to_string() },
            Ok(order) if order.len > self.config.max_input as u64 => {
                Answer::Refused { text: format!("its input has {} bytes, more than its `max_input`", order.len) }
            }
            Ok(_) if self.waiting.len() + self.running.len() >= self.room => Answer::Full,
            Ok(order) => {
                if answer.send(&Answer::Accepted.encode(), &[]).is_ok() || order.wants == Wants::Nothing {
                    self.waiting.push_back(Waiting { order, answer, sheet: sheet.into() });
                }
                return;
            }
        };
        let _ = answer.send(&said.encode(), &[]);
    }

    /// Nobody is left who could send one.
    pub(super) fn no_more_orders(&mut self) {
        self.stage = Stage::Draining;
        self.entitle("draining");
    }

    /// Jobs that nobody waits for any more: `gone` has a flag for each that somebody has waited for.
    pub(super) fn drop_deserted(&mut self, mut gone: impl Iterator<Item = bool>) {
        self.waiting.retain(|job| !job.is_awaited() || gone.next() != Some(true));
        for job in self.running.iter_mut().filter(|job| job.is_awaited()) {
            if gone.next() == Some(true) {
                job.kill();
            }
        }
    }
}

impl Waiting {
    /// Whether it is dropped when nobody waits for it any more.
    pub(super) fn is_awaited(&self) -> bool {
        self.order.wants == Wants::Answer
    }
}
