//! What stands in the project's own sources: the texts that documents are held against.

use std::fs;
use std::path::{Path, PathBuf};

/// What stands for whatever is put into a line.
pub const HOLE: char = '…';

/// The folder of the whole project.
#[must_use]
pub fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The sources of the crates, without their tests.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" {
            sources(&path, found);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            found.push(path);
        }
    }
}

/// The sources of all crates, without their tests.
///
/// # Panics
/// When they are not there.
#[must_use]
pub fn of_crates() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root().join("crates")).expect("crates") {
        sources(&entry.expect("a crate").path().join("src"), &mut files);
    }
    assert!(files.len() > 100, "{files:?}");
    files
}

/// The code of a file: no comments, no examples, none of its unit tests.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source");
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The string literals of some code, in their order.
#[must_use]
pub fn literals(code: &str) -> Vec<String> {
    let (mut found, mut open, mut escaped) = (Vec::new(), None::<String>, false);
    for c in code.chars() {
        match (&mut open, c) {
            (None, '"') => open = Some(String::new()),
            (None, _) => {}
            (Some(text), _) if escaped => {
                escaped = false;
                if c != '\n' {
                    text.push(c);
                }
            }
            (Some(_), '\\') => escaped = true,
            (Some(text), '"') => {
                found.push(std::mem::take(text));
                open = None;
            }
            (Some(text), _) => text.push(c),
        }
    }
    found
}

/// What follows `begin` in a source, up to the bracket that closes the one which that ends with.
pub fn calls<'a>(code: &'a str, begin: &'a str) -> impl Iterator<Item = &'a str> {
    code.match_indices(begin).filter_map(move |(at, _)| {
        let rest = &code[at + begin.len()..];
        let (mut depth, mut quoted, mut escaped) = (1, false, false);
        let end = rest.find(|c: char| {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => quoted = !quoted,
                '(' | '{' if !quoted => depth += 1,
                ')' | '}' if !quoted => depth -= 1,
                _ => {}
            }
            depth == 0
        })?;
        Some(&rest[..end])
    })
}

/// A line as the document has it: each `{}` is a hole, and several beside each other are one.
#[must_use]
pub fn line(literal: &str) -> String {
    let (mut line, mut depth) = (String::new(), 0);
    for c in literal.replace("{{", "(").replace("}}", ")").chars() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if !line.ends_with(HOLE) {
                    line.push(HOLE);
                }
            }
            _ if depth == 0 => line.push(c),
            _ => {}
        }
    }
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
