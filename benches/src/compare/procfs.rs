//! What the kernel says of the processes of a group.

use std::fs;
use std::io;
use std::time::Duration;

/// The pids of a process group, zombies left out.
#[must_use]
pub fn group(group: i32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let is_member = |pid: &i32| stat(*pid).is_some_and(|stat| stat.group == group && stat.state != 'Z');
    pids.filter(is_member).collect()
}

/// The process group of a process; none of one that is gone.
#[must_use]
pub fn group_of(pid: i32) -> Option<i32> {
    stat(pid).map(|stat| stat.group)
}

/// The living children of a process, in no order.
#[must_use]
pub fn children(parent: i32) -> Vec<i32> {
    let all = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    let pids = all.split_whitespace().filter_map(|pid| pid.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|stat| stat.state != 'Z')).collect()
}

/// The title of a process: empty for one that is gone.
#[must_use]
pub fn title(pid: i32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).trim_end_matches('\0').replace('\0', " ")
}

/// Time on a CPU, user and system, that all threads of some processes have had.
///
/// By `schedstat`, which counts nanoseconds; `stat` counts ticks of 10 ms.
///
/// # Errors
///
/// When a process is gone, since its time is gone with it.
pub fn cpu(pids: &[i32]) -> io::Result<Duration> {
    let mut nanos = 0;
    for pid in pids {
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let schedstat = fs::read_to_string(thread?.path().join("schedstat"))?;
            let ran = schedstat.split_whitespace().next().and_then(|ran| ran.parse::<u64>().ok());
            nanos += ran.ok_or_else(|| io::Error::other("schedstat has no time: CONFIG_SCHED_INFO is off"))?;
        }
    }
    Ok(Duration::from_nanos(nanos))
}

/// Time on a CPU that the children of a process have had that it has reaped, in steps of 10 ms.
///
/// # Errors
///
/// When it is gone.
pub fn cpu_of_the_reaped(parent: i32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{parent}/stat"))?;
    // Of what follows the name: `cutime` and `cstime`, in what is a hundredth of a second for every program.
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().skip(13).take(2));
    let ticks = fields.map(|fields| fields.filter_map(|field| field.parse::<u64>().ok()).sum::<u64>());
    ticks.map(|ticks| Duration::from_millis(ticks * 10)).ok_or_else(|| io::Error::other("stat has no name"))
}

/// Memory of some processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Proportional set size in kB: a page that n processes map counts a n-th.
    pub pss: u64,
    /// Page tables in kB.
    pub tables: u64,
}

impl Memory {
    /// Both together, in kB.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.pss + self.tables
    }
}

/// `Pss` of `smaps_rollup` and `VmPTE` of `status`, summed.
///
/// # Errors
///
/// When a process is gone.
pub fn memory(pids: &[i32]) -> io::Result<Memory> {
    let mut sum = Memory::default();
    for pid in pids {
        sum.pss += kilobytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:")?;
        sum.tables += kilobytes(&format!("/proc/{pid}/status"), "VmPTE:")?;
    }
    Ok(sum)
}

fn kilobytes(file: &str, name: &str) -> io::Result<u64> {
    let text = fs::read_to_string(file)?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
    value.ok_or_else(|| io::Error::other(format!("{file} has no {name}")))
}

struct Stat {
    state: char,
    group: i32,
}

fn stat(pid: i32) -> Option<Stat> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in brackets, and may hold brackets and spaces itself.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some(Stat { state: fields.next()?.chars().next()?, group: fields.nth(1)?.parse().ok()? })
}
