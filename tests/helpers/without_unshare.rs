//! Starts a program where `unshare` is forbidden, as it is in many containers.

use std::error::Error;
use std::os::unix::process::CommandExt;
use std::process::Command;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let program = arguments.next().ok_or("usage: without-unshare PROGRAM [ARGUMENT...]")?;
    let eperm = SeccompAction::Errno(nix::libc::EPERM.unsigned_abs());
    let rules = [(nix::libc::SYS_unshare, Vec::new())].into();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, eperm, std::env::consts::ARCH.try_into()?)?;
    seccompiler::apply_filter(&BpfProgram::try_from(filter)?)?;
    Err(Command::new(program).args(arguments).exec().into())
}
