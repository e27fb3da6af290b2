//! The servers that are tried, each as its manual says, and what they have in common: `run`.

pub(super) mod gunicorn;
pub(super) mod haproxy;
pub(super) mod lab;
pub(super) mod nginx;
pub(super) mod puma;
mod run;
