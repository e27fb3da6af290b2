//! What supervision costs, and how fast it is.
//!
//! * [`deaths`]: a worker is killed, and its place is taken
//! * [`idle`]: how often a master wakes that has nothing to do
//! * [`calls`]: which system calls a worker makes because of its supervision
//! * [`demand`]: what the first client pays of a server that holds nothing but its sockets

pub mod calls;
pub mod deaths;
pub mod demand;
pub mod idle;
