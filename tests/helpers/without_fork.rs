//! Starts a program where `fork` fails for want of memory.

use std::error::Error;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let program = arguments.next().ok_or("usage: without-fork PROGRAM [ARGUMENT...]")?;
    let enomem = SeccompAction::Errno(libc::ENOMEM.unsigned_abs());
    let rules = [libc::SYS_clone, libc::SYS_clone3].map(|call| (call, Vec::new())).into();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, enomem, std::env::consts::ARCH.try_into()?)?;
    seccompiler::apply_filter(&BpfProgram::try_from(filter)?)?;
    Err(Command::new(program).args(arguments).exec().into())
}
