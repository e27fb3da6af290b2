//! The guide says what is so: its links lead somewhere, what it names exists, its code is tested.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use hatchery_tests::document::Document;
use hatchery_tests::program::{example, hatchery};
use hatchery_tests::sources::{HOLE, code, line, literals, of_crates, root};
use nix::sys::signal::Signal;

/// Programs whose flags are their own, by what a command begins with.
const OTHERS: &[&str] = &[
    "cargo",
    "curl",
    "docker",
    "git",
    "gunicorn",
    "install",
    "journalctl",
    "kubectl",
    "logrotate",
    "nft",
    "openssl",
    "pip",
    "puma",
    "rustup",
    "slowhttptest",
    "start_server",
    "strace",
    "sysctl",
    "systemctl",
    "systemd-",
    "tini",
    "unicorn",
    "wrk",
];

/// Flags of others that are named without their command.
const FLAGS_OF_OTHERS: &[&str] = &["pids-limit", "release", "rounds", "seconds", "ulimit"];

/// A path without its `..`.
fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(tidy.pop()),
            Component::CurDir => {}
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => tidy.push(part),
        }
    }
    tidy
}

fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The flags in a help text.
fn flags(text: &str) -> BTreeSet<String> {
    let is_end = |c: char| !(c.is_ascii_alphanumeric() || c == '-');
    let words = text.split(is_end).filter_map(|word| word.strip_prefix("--"));
    words.filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase())).map(str::to_owned).collect()
}

/// The names of all settings.
fn settings() -> BTreeSet<String> {
    let sample = printed(Command::new(example("lab")).arg("--sample-config"));
    let keys = sample.lines().filter_map(|line| line.trim_start_matches(['#', ' ']).split_once(" = "));
    let keys = keys.map(|(key, _)| key).filter(|key| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
    keys.map(|key| key.replace('_', "-")).chain(["config".to_owned()]).collect()
}

/// Everything that a program of ours understands after two dashes.
fn known_flags() -> BTreeSet<String> {
    let mut known = flags(&printed(Command::new(example("lab")).arg("--help")));
    known.extend(FLAGS_OF_OTHERS.iter().map(|&name| name.to_owned()));
    for command in subcommands().into_iter().filter(|name| name != "help") {
        known.append(&mut flags(&printed(Command::new(hatchery()).args([command.as_str(), "--help"]))));
    }
    known
}

/// The subcommands of `hatchery`.
fn subcommands() -> BTreeSet<String> {
    let help = printed(Command::new(hatchery()).arg("--help"));
    let rows = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let rows = rows.take_while(|line| line.starts_with(' '));
    // The rest of a description is indented further than a name.
    let names = rows.filter_map(|row| row.strip_prefix("  ").filter(|row| !row.starts_with(' ')));
    names.filter_map(|row| Some(row.split_whitespace().next()?.to_owned())).collect()
}

/// The commands and pieces of code that a chapter has, without what others call theirs.
fn pieces(document: &Document) -> Vec<String> {
    let migrating = document.path.ends_with("migrating.md");
    let prose = document.prose.iter().filter(|line| !line.starts_with('|') || !migrating);
    // There the first column is the other program's.
    let ours = document.prose.iter().filter(|line| line.starts_with('|') && migrating);
    let ours = ours.map(|line| line.splitn(3, '|').last().unwrap_or_default().to_owned());
    let text = Document { path: PathBuf::new(), prose: prose.cloned().chain(ours).collect(), blocks: Vec::new() };
    let blocks = document.blocks.iter().filter(|block| !block.kind.starts_with("rust"));
    text.spans().into_iter().chain(blocks.flat_map(|block| joined(&block.lines))).collect()
}

/// The lines of a block, those that end with a backslash together with the next.
fn joined(lines: &[String]) -> Vec<String> {
    let mut joined = vec![String::new()];
    for line in lines {
        let last = joined.last_mut().expect("one line");
        match line.strip_suffix('\\') {
            Some(begin) => last.push_str(begin),
            None => {
                last.push_str(line);
                joined.push(String::new());
            }
        }
    }
    joined
}

/// Whether it is a command of somebody else.
fn is_others(piece: &str) -> bool {
    let command = piece.trim_start_matches(['$', '#', '>', ' ', '(']);
    OTHERS.iter().any(|other| command.starts_with(other))
}

#[test]
fn every_chapter_is_in_the_table_of_contents() {
    let summary = Document::read("docs/SUMMARY.md").links();
    for document in Document::all() {
        let Ok(name) = document.path.strip_prefix("docs") else { continue };
        let name = name.display().to_string();
        assert!(name == "SUMMARY.md" || summary.contains(&name), "docs/{name} is not in docs/SUMMARY.md");
    }
}

#[test]
fn every_link_leads_somewhere() {
    let mut lost = Vec::new();
    for document in Document::all() {
        for link in document.links().into_iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => document.path.clone(),
                file => tidy(&document.path.with_file_name(file)),
            };
            let there = root().join(&target).exists();
            if !there || !anchor.is_empty() && !Document::read(&target).anchors().iter().any(|known| known == anchor) {
                lost.push(format!("{}: {link}", document.path.display()));
            }
        }
    }
    assert!(lost.is_empty(), "these links lead nowhere:\n{}", lost.join("\n"));
}

/// The book is made of what is in docs/. A link out of there is left as it is, unless it leads to Markdown: that one would
/// be taken for a page.
#[test]
fn every_link_leads_somewhere_in_the_book() {
    for document in Document::all().into_iter().filter(|document| document.path.starts_with("docs")) {
        for link in document.links().into_iter().filter(|link| link.starts_with("../")) {
            let file = link.split('#').next().unwrap_or_default();
            assert!(!file.ends_with(".md"), "{}: {link} is no page of the book", document.path.display());
        }
    }
}

/// Whether there is a test, an example or a program of that name.
fn is_target(kind: &str, name: &str) -> bool {
    let folders: &[&str] = match kind {
        "--example" => &["examples"],
        "--test" => &["tests/tests", "examples/tests", "crates/hatchery-core/tests", "crates/hatchery-http/tests"],
        "--bin" => &["benches/src/bin", "benches/bin", "benches", "tests/helpers"],
        "--package" | "-p" => &["crates", ""],
        other => panic!("{other} is not looked at"),
    };
    let name = name.replace("hatchery-tests", "tests").replace("hatchery-benches", "benches");
    let name = name.replace("hatchery-examples", "examples");
    let files = |folder: &&str| [format!("{folder}/{name}"), format!("{folder}/{name}.rs")];
    // The program of an example is the reader's own.
    name == "app" || folders.iter().flat_map(files).any(|path| root().join(path.trim_start_matches('/')).exists())
}

/// What is wrong with the words of a command: files and programs of the project that are not there, signals that are none.
fn lost_words(piece: &str) -> Vec<String> {
    let words: Vec<&str> = piece.split(|c: char| c.is_whitespace() || "()`\"',;".contains(c)).collect();
    let mut lost = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let next = words.get(index + 1).copied().unwrap_or_default();
        let is_ours = piece.trim_start_matches(['$', ' ']).starts_with("cargo ");
        match *word {
            "--example" | "--test" | "--bin" | "--package" | "-p" if is_ours && !is_target(word, next) => {
                lost.push(format!("{word} {next}"));
            }
            "kill" if next.starts_with('-') && !next.starts_with("--") => {
                let name = next.trim_start_matches('-');
                let is_signal =
                    name.chars().all(|c| c.is_ascii_digit()) || Signal::from_str(&format!("SIG{name}")).is_ok();
                if !is_signal {
                    lost.push(next.to_owned());
                }
            }
            _ => {}
        }
        let is_file =
            ["examples/", "tests/", "crates/", "benches/", "docs/", "fuzz/"].iter().any(|it| word.starts_with(it));
        let word = word.split(':').next().unwrap_or_default().trim_end_matches(['.', ':']);
        let is_made = ["fuzz/corpus", "fuzz/artifacts"].contains(&word);
        // Of the core's tests it is said where they are from its own folder.
        let is_there = root().join(word).exists() || root().join("crates/hatchery-core").join(word).exists();
        if is_file && !is_made && !word.contains(['*', '{', '…', '<']) && !is_there {
            lost.push(word.to_owned());
        }
    }
    lost
}

#[test]
fn every_file_program_and_signal_exists() {
    let others = ["CONTRIBUTING.md", "ARCHITECTURE.md", "benches/README.md"].map(Document::read);
    let mut lost = Vec::new();
    let mut seen = 0;
    for document in Document::all().into_iter().chain(others) {
        let blocks = document.blocks.iter().filter(|block| !block.kind.starts_with("rust"));
        let pieces: Vec<String> =
            document.spans().into_iter().chain(blocks.flat_map(|block| joined(&block.lines))).collect();
        seen += pieces.len();
        let of_piece = |piece: &String| {
            lost_words(piece).into_iter().map(|word| format!("{word} in `{piece}`")).collect::<Vec<_>>()
        };
        let words = pieces.iter().flat_map(of_piece);
        lost.extend(words.map(|word| format!("{}: {word}", document.path.display())));
    }
    assert!(seen > 1000, "{seen}");
    assert!(lost.is_empty(), "there is no\n{}", lost.join("\n"));
    // It would say so.
    assert_eq!(lost_words("$ cargo run --example nothing"), ["--example nothing"]);
    assert_eq!(lost_words("kill -UR2 1; see examples/nothing.rs"), ["-UR2", "examples/nothing.rs"]);
}

#[test]
fn every_flag_and_setting_exists() {
    let (settings, known) = (settings(), known_flags());
    assert!(settings.len() > 30 && settings.is_subset(&known), "{settings:?}\n{known:?}");
    let variables: BTreeSet<String> =
        settings.iter().map(|name| format!("HATCHERY_{}", name.replace('-', "_").to_uppercase())).collect();
    let literals: BTreeSet<String> = of_crates().iter().flat_map(|path| literals(&code(path))).collect();
    let mut wrong = Vec::new();
    for document in Document::all() {
        let mut wrongs = |what: String| wrong.push(format!("{}: {what}", document.path.display()));
        for piece in pieces(&document).iter().filter(|piece| !is_others(piece)) {
            // Behind a lone `--` begin the arguments of the program that cargo runs.
            for flag in flags(piece).difference(&known) {
                wrongs(format!("--{flag} in `{piece}`"));
            }
        }
        for span in document.spans() {
            let is_setting = !span.starts_with('-')
                && span.chars().all(|c| c.is_ascii_lowercase() || c == '-')
                && (span.ends_with("-timeout")
                    || span.starts_with("max-")
                    // Of what is counted, a label ends so.
                    || span.starts_with("tls-") && span.len() > 4 && !span.ends_with("-failed"));
            if is_setting && !settings.contains(&span) && !document.path.ends_with("migrating.md") {
                wrongs(format!("`{span}` is no setting"));
            }
        }
        for block in document.blocks.iter().filter(|block| block.kind == "toml") {
            let keys = block.lines.iter().take_while(|line| !line.starts_with('['));
            for (key, _) in keys.filter_map(|line| line.split_once(" = ")) {
                if !settings.contains(&key.replace('_', "-")) {
                    wrongs(format!("{key} is no key of the settings file"));
                }
            }
        }
        for text in document.spans().iter().chain(document.blocks.iter().flat_map(|block| &block.lines)) {
            if text.contains("in the environment is no setting") {
                continue;
            }
            let words = text.split(|c: char| !(c.is_ascii_uppercase() || c == '_'));
            for word in words.filter(|word| word.starts_with("HATCHERY_") && word.len() > 9) {
                if !variables.contains(word) && !literals.contains(word) {
                    wrongs(format!("{word} is no variable"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_subcommand_exists() {
    let known = subcommands();
    assert!(known.contains("status"), "{known:?}");
    for document in Document::all() {
        for piece in pieces(&document) {
            let command = piece.trim_start_matches(['$', '#', ' ']);
            let Some(rest) = command.strip_prefix("hatchery ") else { continue };
            let mut words = rest.split_whitespace().skip_while(|word| word.starts_with('-') || word.starts_with('/'));
            let word = words.next().unwrap_or_default().trim_end_matches([';', ',']);
            if word.starts_with(|c: char| c.is_ascii_lowercase()) {
                assert!(known.contains(word), "{}: `{piece}`: there is no `{word}`", document.path.display());
            }
        }
    }
}

#[test]
fn every_rust_block_is_tested() {
    let guide = root().join("examples/src/guide.rs");
    let guide = std::fs::read_to_string(guide).expect("the list of what is tested");
    for document in Document::all() {
        let name = document.path.display();
        let is_tested = guide.contains(&format!("\"../../{name}\""));
        for block in &document.blocks {
            // Without a kind it would be taken for Rust there.
            assert!(!is_tested || !block.kind.is_empty(), "{name}: a code block without a kind: {:?}", block.lines);
            assert!(!block.kind.contains("ignore"), "{name}: Rust that nobody compiles: {:?}", block.lines);
            assert!(is_tested || !block.kind.starts_with("rust"), "{name} is not in examples/src/guide.rs");
        }
    }
}

/// The titles in the chapter on errors are texts of the program.
#[test]
fn every_error_text_is_said_by_the_program() {
    let document = Document::read("docs/troubleshooting.md");
    let said: Vec<String> = of_crates().iter().flat_map(|path| literals(&code(path))).map(|text| line(&text)).collect();
    let titles: Vec<&String> = document.prose.iter().filter(|line| line.starts_with("### ")).collect();
    assert!(titles.len() > 20, "{titles:?}");
    for title in titles {
        let quote = Document { path: PathBuf::new(), prose: vec![title.clone()], blocks: Vec::new() }.spans();
        assert!(!quote.is_empty(), "no text in: {title}");
        // What is expected is put together of two.
        let quote: Vec<String> = quote.iter().map(|text| text.replace("expected ", "expected …")).collect();
        for part in quote.iter().flat_map(|quote| quote.split(HOLE)).map(str::trim).filter(|part| part.len() > 3) {
            assert!(said.iter().any(|line| line.contains(part)), "nobody says `{part}`, as in: {title}");
        }
    }
}
