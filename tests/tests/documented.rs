//! Every line that an operator may meet stands in `docs/reliability.md`.

use std::fs;

use hatchery_tests::sources::{calls, code, line, literals, of_crates, root};

fn says_something(line: &str) -> bool {
    line.split(|c: char| !c.is_alphabetic()).any(|word| word.len() > 2)
}

/// Every text that is logged, with its file.
fn logged() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for file in of_crates() {
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
