//! Stands in for a new version: writes down how it was started, and ends.
//!
//! The arguments go to `ARGV0.arguments` and the environment to
//! `ARGV0.environment`, byte for byte as the kernel has them.

use std::fs;

fn main() -> std::io::Result<()> {
    let program = std::env::args().next().unwrap_or_default();
    let environment = fs::read("/proc/self/environ")?;
    fs::write(format!("{program}.directory"), std::env::current_dir()?.into_os_string().into_encoded_bytes())?;
    fs::write(format!("{program}.environment"), environment)?;
    fs::write(format!("{program}.arguments"), fs::read("/proc/self/cmdline")?)
}
