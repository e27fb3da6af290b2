//! Whole servers, master and workers, beside each other: by CPU time, by the clock, by memory.
//!
//! * [`peers`]: which servers, and how each is started; [`serve`]: those that are this program
//! * [`group`]: a server's processes, its log with the time of each line, its end
//! * [`procfs`]: what the kernel says of processes
//! * [`load`]: wrk and h2load
//! * [`pairs`]: interleaved pairs and their ratios
//! * [`worker_memory`], [`deaths`], [`changes`]: one more worker, a killed one, upgrade and reload
//! * [`figures`]: median and range

pub mod changes;
pub mod deaths;
pub mod figures;
pub mod group;
pub mod load;
pub mod pairs;
pub mod peers;
pub mod procfs;
pub mod serve;
pub mod worker_memory;
