//! Every line that an operator may meet stands in `docs/reliability.md`.

use std::fs;
use std::path::{Path, PathBuf};

/// What stands for whatever is put into a line.
const HOLE: char = '…';

fn root() -> PathBuf {
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

/// The code of a file: no comments, no examples, none of its unit tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source");
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The string literals of some code, in their order.
fn literals(code: &str) -> Vec<String> {
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
fn calls<'a>(code: &'a str, begin: &'a str) -> impl Iterator<Item = &'a str> {
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
fn line(literal: &str) -> String {
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

fn says_something(line: &str) -> bool {
    line.split(|c: char| !c.is_alphabetic()).any(|word| word.len() > 2)
}

/// Every text that is logged, with its file.
fn logged() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root().join("crates")).expect("crates") {
        sources(&entry.expect("a crate").path().join("src"), &mut files);
    }
    assert!(files.len() > 100, "{files:?}");
    let mut found = Vec::new();
    for file in files {
        let code = code(&file);
        let name = file.to_string_lossy().rsplit_once("crates/").expect("a crate's file").1.to_owned();
        for level in ["error!(", "warn!(", "info!("] {
            for call in calls(&code, level) {
                // Targets are constants: the first text is the line.
                let text = literals(call).into_iter().find(|text| text != "hatchery").unwrap_or_default();
                found.push((name.clone(), line(&text)));
            }
        }
        if name.ends_with("hatchery-core/src/notice.rs") {
            for block in
                calls(&code, "impl fmt::Display for Cause {").chain(calls(&code, "impl fmt::Display for Notice {"))
            {
                found.extend(literals(block).into_iter().map(|text| (name.clone(), line(&text))));
            }
        }
        if name.ends_with("hatchery-worker/src/dump.rs") {
            // The rest of a line is put together of parts.
            let lines = literals(&code).into_iter().filter(|text| text.starts_with("hatchery: "));
            found.extend(lines.map(|text| (name.clone(), line(&text))));
        }
        if name.starts_with("hatchery/src/") || name.starts_with("hatchery-net/src/") {
            for call in calls(&code, "#[error(") {
                found.extend(literals(call).into_iter().take(1).map(|text| (name.clone(), line(&text))));
            }
        }
    }
    found.retain(|(_, line)| says_something(line));
    found
}

#[test]
fn every_log_line_is_explained() {
    let document = fs::read_to_string(root().join("docs/reliability.md")).expect("the document");
    let document = document.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines = logged();
    assert!(lines.len() > 120, "only {} lines were found in the sources", lines.len());
    let missing: Vec<_> = lines.iter().filter(|(_, line)| !document.contains(line.as_str())).collect();
    let list: Vec<String> = missing.iter().map(|(file, line)| format!("{file}: {line}")).collect();
    assert!(list.is_empty(), "not in docs/reliability.md:\n{}", list.join("\n"));
}

#[test]
fn every_exit_code_is_explained() {
    let document = fs::read_to_string(root().join("docs/reliability.md")).expect("the document");
    let section = document.split("\n## ").find(|section| section.starts_with("Exit codes")).expect("the section");
    for code in ["0", "1", "2", "3", "128 + n", "101"] {
        assert!(section.contains(&format!("| {code} |")), "{code}");
    }
}

#[test]
fn texts_are_found_in_code() {
    let code = "error!(target: LOG, pid = 3, \"it \\\"is\\\" {error}{more} here: {}\", f(\"no\"));";
    let call = calls(code, "error!(").next().expect("a call");
    assert_eq!(line(&literals(call)[0]), "it \"is\" … here: …");
    assert_eq!(literals("\"one \\\n  line\"").first().map(|text| line(text)).as_deref(), Some("one line"));
}
