//! What cases share: forked children, pipes, system calls that are forbidden.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::time::Duration;

use hatchery_sys::fork::{Fork, fork};
use hatchery_sys::wait::{Status, reap};
use hatchery_sys::{Pid, poll, process, signals};

/// Forks; the child runs `role` with signals as they were, and ends with its answer.
pub(crate) fn child(role: impl FnOnce() -> i32) -> Pid {
    let blocked = signals::block_all().expect("signals can be blocked");
    match fork(&blocked).expect("a process is left") {
        Fork::Parent { child } => {
            blocked.restore();
            child
        }
        Fork::Child => {
            signals::reset_in_child();
            blocked.restore();
            // A panic must not unwind into the parent's half of the test.
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(role)).unwrap_or(101);
            process::exit_now(code)
        }
    }
}

/// Waits until `pid` has ended, and reaps it.
pub(crate) fn join(pid: Pid) -> Status {
    wait(pid, libc::WEXITED | libc::WNOWAIT);
    let (reaped, status) = reap().expect("reaping works").expect("one has ended");
    assert_eq!(reaped, pid);
    status
}

/// Waits until `pid` has stopped.
pub(crate) fn until_stopped(pid: Pid) {
    wait(pid, libc::WSTOPPED);
}

fn wait(pid: Pid, for_what: i32) {
    let id = u32::try_from(pid.as_raw()).expect("positive");
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: `info` is a valid place for the answer.
    assert_eq!(unsafe { libc::waitid(libc::P_PID, id, info.as_mut_ptr(), for_what) }, 0, "it is a child");
}

pub(crate) fn pipe() -> (PipeReader, PipeWriter) {
    io::pipe().expect("a pipe")
}

/// What is written to a pipe until nobody can write any more.
pub(crate) fn read_all(mut pipe: PipeReader) -> Vec<u8> {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).expect("a pipe can be read");
    bytes
}

/// Waits for one byte.
pub(crate) fn read_byte(pipe: &mut PipeReader) -> u8 {
    let mut byte = [0];
    pipe.read_exact(&mut byte).expect("the other side writes a byte");
    byte[0]
}

pub(crate) fn write_byte(pipe: &mut PipeWriter) {
    pipe.write_all(b"!").expect("the other side reads");
}

/// Waits for a signal that kills.
pub(crate) fn wait_for_ever() -> ! {
    loop {
        let _ = poll::readable(&[], Some(Duration::from_secs(3600)));
    }
}

/// The value of a line such as `SigIgn:` in /proc/self/status.
pub(crate) fn status_line(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the line is there");
    u64::from_str_radix(line.trim_start_matches(':').trim(), 16).expect("a hexadecimal number")
}

pub(crate) fn temp_file(text: &str) -> File {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("it can be written");
    file
}

/// From now on these system calls fail in this process and its children, as a
/// container's filter or an old kernel makes them fail.
#[cfg(target_os = "linux")]
pub(crate) fn forbid(calls: &[libc::c_long], errno: i32) {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

    let rules = calls.iter().map(|call| (*call, Vec::new())).collect();
    let arch = std::env::consts::ARCH.try_into().expect("a known machine");
    let refuse = SeccompAction::Errno(u32::try_from(errno).expect("positive"));
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).expect("a filter");
    let program: BpfProgram = filter.try_into().expect("a program");
    seccompiler::apply_filter(&program).expect("filters can be set");
}
