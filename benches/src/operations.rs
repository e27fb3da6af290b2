//! What operators do to servers, and what it does to clients that never retry.
//!
//! * [`subject`]: what is done, and what a server that it is done to has to be able to
//! * `servers`: a file for each, how its manual says that each [`Operation`](subject::Operation) is done
//! * [`contestants`]: which of them, with which settings
//! * [`cell`]: one server, one operation, clients of four kinds, and what they counted
//! * what was counted, as Markdown: [`table`]

pub mod cell;
pub mod contestants;
mod servers;
pub mod subject;
pub mod table;
