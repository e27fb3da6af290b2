//! How this program was started, byte for byte.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::unistd::{AccessFlags, access};

/// What an upgrade needs to start the same program again, as it is then on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The program's path: absolute, with symbolic links left as they are.
    pub program: PathBuf,
    /// Its arguments, the name it was called by included.
    pub args: Vec<OsString>,
    /// Its environment, as whole `NAME=value` strings in their order.
    pub env: Vec<OsString>,
    /// The directory it was started in, by the name that the shell had for it.
    pub dir: PathBuf,
}

static CAPTURED: OnceLock<Origin> = OnceLock::new();

impl Origin {
    /// How this program was started. The first call finds it out, and later ones repeat it.
    ///
    /// Call it before the working directory changes and before
    /// [`crate::title::set`], which writes over what is read here.
    ///
    /// # Errors
    /// When the working directory, or the program itself, cannot be found.
    pub fn capture() -> io::Result<Self> {
        if let Some(origin) = CAPTURED.get() {
            return Ok(origin.clone());
        }
        let args = strings("/proc/self/cmdline").unwrap_or_else(|| env::args_os().collect());
        let env = strings("/proc/self/environ").unwrap_or_else(current_env);
        let dir = directory(variable(&env, "PWD"))?;
        let program = program(args.first().map(OsString::as_os_str), variable(&env, "PATH"), &dir)?;
        Ok(CAPTURED.get_or_init(|| Self { program, args, env, dir }).clone())
    }
}

impl Origin {
    /// Leaves variables out of the environment that the same program will be started with.
    pub fn forget(&mut self, names: &[&str]) {
        let is_one = |entry: &OsString| names.iter().any(|name| variable(std::slice::from_ref(entry), name).is_some());
        self.env.retain(|entry| !is_one(entry));
    }
}

/// The zero-terminated strings of a file in /proc; `None` without any.
fn strings(path: &str) -> Option<Vec<OsString>> {
    let bytes = fs::read(path).ok()?;
    let body = bytes.strip_suffix(b"\0")?;
    Some(body.split(|byte| *byte == 0).map(|entry| OsString::from_vec(entry.to_vec())).collect())
}

fn current_env() -> Vec<OsString> {
    let join = |(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        name
    };
    env::vars_os().map(join).collect()
}

fn variable<'a>(env: &'a [OsString], name: &str) -> Option<&'a OsStr> {
    let value = |entry: &'a OsString| entry.as_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b"=");
    env.iter().find_map(value).map(OsStr::from_bytes)
}

/// `$PWD` if it is this directory, so that a symbolic link in it is followed
/// anew at an upgrade; else the kernel's name for it.
fn directory(pwd: Option<&OsStr>) -> io::Result<PathBuf> {
    let here = fs::metadata(".")?;
    if let Some(pwd) = pwd.map(Path::new).filter(|pwd| pwd.is_absolute())
        && fs::metadata(pwd).is_ok_and(|named| same(&named, &here))
    {
        return Ok(pwd.to_owned());
    }
    env::current_dir()
}

fn same(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// The path that the shell has started: what `argv[0]` says, if that can be believed.
fn program(name: Option<&OsStr>, path: Option<&OsStr>, dir: &Path) -> io::Result<PathBuf> {
    let found = match name.filter(|name| !name.is_empty()) {
        Some(name) if name.as_bytes().contains(&b'/') => Some(dir.join(name)).filter(|path| is_program(path)),
        Some(name) => in_path(name, path, dir),
        None => None,
    };
    found.map_or_else(env::current_exe, Ok)
}

/// A bare name says little, since whoever starts a program may call it anything:
/// only a file that is this very program will do.
fn in_path(name: &OsStr, path: Option<&OsStr>, dir: &Path) -> Option<PathBuf> {
    let running = fs::metadata("/proc/self/exe").ok();
    let is_this = |path: &PathBuf| match (&running, fs::metadata(path)) {
        (Some(running), Ok(found)) => same(running, &found),
        (None, _) => true,
        (_, Err(_)) => false,
    };
    // An empty entry means the working directory, and so does joining one.
    let mut candidates = env::split_paths(path?).map(|entry| dir.join(entry).join(name));
    candidates.find(|path| is_program(path) && is_this(path))
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file()) && access(path, AccessFlags::X_OK).is_ok()
}
