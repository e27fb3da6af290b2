//! `docs/getting-started.md`, done as it stands there: its files are written, its commands typed one after another, and what
//! it shows is what they say.
//!
//! So that it takes a minute and not ten: the `hatchery` command is the one that the tests have built, and the program is built
//! into the target folder of the tests, with the same versions of all crates. It runs in a network of its own, and the part on
//! systemd with a real one, where that can be started.

use std::collections::VecDeque;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hatchery_tests::document::{Block, Document};
use hatchery_tests::network::Network;
use hatchery_tests::program::hatchery;
use hatchery_tests::sources::root;
use hatchery_tests::systemd::Systemd;
use hatchery_tests::terminal::{Terminal, Typed};
use hatchery_tests::wait;

/// Whoever builds is given more time.
const BUILD: Duration = Duration::from_secs(900);

/// A folder whose name stays the same, so that crates of the workspace, which are known by their
/// paths, are built once and not in each run.
fn folder() -> PathBuf {
    let mut hasher = DefaultHasher::new();
    root().hash(&mut hasher);
    let folder = std::env::temp_dir().join(format!("hatchery-newcomer-{:x}", hasher.finish()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("said")).expect("a folder");
    symlink(root(), folder.join("hatchery")).expect("a link");
    folder
}

/// A command of a block, and what it shows of its output.
#[derive(Debug)]
struct Step {
    command: String,
    shown: Vec<String>,
}

fn steps(block: &Block) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in &block.lines {
        let goes_on = steps.last().is_some_and(|step| step.command.ends_with('\\'));
        match (line.strip_prefix("$ "), line.strip_prefix("> "), steps.last_mut()) {
            (Some(command), _, _) => steps.push(Step { command: command.to_owned(), shown: Vec::new() }),
            (None, Some(more), Some(step)) => step.command = format!("{}\n{more}", step.command),
            (None, None, Some(step)) if goes_on => step.command = format!("{}\n{line}", step.command),
            (None, _, Some(step)) => step.shown.push(line.clone()),
            (None, _, None) => panic!("in {}: `{line}` is no command's", block.section),
        }
    }
    steps
}

/// A line without what is another one each time: numbers, times, places, how wide a column is.
fn alike(line: &str, folder: &Path) -> String {
    if line.starts_with('{') {
        return line.to_owned();
    }
    let line = line.replace(&format!("{}/app", folder.display()), "/srv/app");
    let word = |word: &str| {
        let mut numbered = String::new();
        for c in word.chars() {
            let digit = c.is_ascii_digit() || c == '.' && numbered.ends_with('0');
            match digit {
                true if numbered.ends_with('0') => {}
                true => numbered.push('0'),
                false => numbered.push(c),
            }
        }
        // An age: 0.3s, 1m 4s, 2026-11-21T17:20:00.2Z.
        let numbered = numbered.replace("0m0s", "0s");
        if numbered.ends_with("0Z") { "TIME".to_owned() } else { numbered }
    };
    line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

/// Whether what the guide shows is said at another moment on a busy machine: who drains is looked at later, and the last old
/// worker may go before its reload has ended or after it.
fn is_by_chance(line: &str) -> bool {
    line.ends_with("  draining") || line.contains(" exited: drained, ")
}

/// Whether every line that the guide shows was said.
fn shows(shown: &[String], said: &str, folder: &Path) -> bool {
    let said: Vec<String> = said.lines().map(|line| alike(line, folder)).collect();
    let shown = shown.iter().filter(|line| !(line.is_empty() || *line == "..." || is_by_chance(line)));
    shown.map(|line| alike(line, folder)).all(|line| said.contains(&line))
}

/// Somebody who reads the guide.
struct Newcomer<'a> {
    folder: &'a Path,
    launcher: Vec<&'a str>,
    first: Terminal,
    second: Terminal,
    third: Option<(Terminal, Typed)>,
    systemd: Option<Terminal>,
}

impl Newcomer<'_> {
    /// A terminal in which the program's folder is the current one.
    fn terminal(launcher: &[&str], folder: &Path) -> Terminal {
        let said = folder.join("said");
        let mut terminal = Terminal::open(launcher, &said, &said.display().to_string());
        let tools = hatchery().parent().expect("a folder").display().to_string();
        let _ = terminal.enter(&format!("export PATH={tools}:$PATH CARGO_NET_OFFLINE=true CARGO_INCREMENTAL=0"));
        let _ = terminal.enter("unset CARGO_TARGET_DIR HATCHERY_CONTROL NOTIFY_SOCKET");
        let _ = terminal.enter(&format!("cd {}/app 2>/dev/null || cd {}", folder.display(), folder.display()));
        terminal
    }

    fn type_in(&mut self, step: &Step, section: &str) {
        let Step { command, shown } = step;
        let launcher = self.launcher.clone();
        if command.starts_with("cargo install ") {
            return;
        }
        if command == "bin/app --config app.toml" {
            self.first = Self::terminal(&launcher, self.folder);
            let typed = self.first.enter(command);
            return typed.until("what is shown", |said| shows(shown, said, self.folder));
        }
        if command.starts_with("for i in") {
            let mut terminal = Self::terminal(&launcher, self.folder);
            let before = self.requests();
            let typed = terminal.enter(command);
            self.third = Some((terminal, typed));
            return wait::until("the client has begun", || (self.requests() > before + 3).then_some(()));
        }
        let of_systemd = section == "Under systemd";
        let terminal = match &mut self.systemd {
            Some(terminal) if of_systemd => terminal,
            None if of_systemd => return,
            Some(_) | None => &mut self.second,
        };
        let typed = terminal.enter(command);
        if command.ends_with('&') {
            return typed.until("that it is ready", |said| said.contains("is ready,") || said.contains("Listening on"));
        }
        let patience = if command.starts_with("cargo ") { BUILD } else { wait::PATIENCE };
        let code = wait::within(patience, || typed.code());
        let said = typed.said();
        let code = code.unwrap_or_else(|| panic!("`{command}` has not ended:\n{said}"));
        assert!(shows(shown, &said, self.folder), "`{command}` shows\n{}\nand says\n{said}", shown.join("\n"));
        let fails = shown.iter().any(|line| line.contains("error: "));
        assert_eq!(code != 0, fails, "`{command}` ends with {code}:\n{said}");
        if command == "cargo new app" {
            self.share_what_is_built();
        }
    }

    /// How many requests the server has had.
    fn requests(&mut self) -> u64 {
        let typed = self.second.enter("hatchery status --json | grep '\"requests\"' | tail -n 1 | tr -dc 0-9");
        wait::until("an answer", || typed.code());
        typed.said().trim().parse().unwrap_or(0)
    }

    /// The versions and the target folder of the tests.
    fn share_what_is_built(&self) {
        let app = self.folder.join("app");
        fs::copy(root().join("Cargo.lock"), app.join("Cargo.lock")).expect("a file");
        let target = hatchery().ancestors().nth(2).expect("a target folder").to_owned();
        symlink(target, app.join("target")).expect("a link");
    }

    /// What the client counted: both versions, and nothing else.
    fn compare_with_client(&mut self, block: &Block) {
        let (_terminal, typed) = self.third.take().expect("a client");
        wait::until("the client has ended", || typed.code());
        let without_number = |line: &str| line.trim_start().split_once(' ').map(|(_, rest)| rest.to_owned());
        let said: Vec<_> = typed.said().lines().map(without_number).collect();
        let shown: Vec<_> = block.lines.iter().map(|line| without_number(line)).collect();
        assert_eq!(said, shown, "{}", typed.said());
    }
}

/// The name of the file that a block is: `before` begins with it.
fn file_name(block: &Block) -> Option<&str> {
    let (name, _) = block.before.strip_prefix('`')?.split_once('`')?;
    Path::new(name).extension().map(|_| name)
}

#[test]
fn the_first_hour_is_as_the_guide_says() {
    let Some(network) = Network::of(1) else { return };
    let folder = folder();
    let systemd = Systemd::boot_with(Some(&folder));
    let launcher = network.host(0).launcher();
    let mut newcomer = Newcomer {
        folder: &folder,
        first: Newcomer::terminal(&launcher, &folder),
        second: Newcomer::terminal(&launcher, &folder),
        third: None,
        systemd: None,
        launcher,
    };
    let guide = Document::read("docs/getting-started.md");
    let mut blocks: VecDeque<&Block> = guide.blocks.iter().collect();
    while let Some(block) = blocks.pop_front() {
        match (block.kind.as_str(), file_name(block)) {
            ("console", _) if !block.lines[0].starts_with("$ ") => newcomer.compare_with_client(block),
            ("console", _) => {
                if block.section == "Under systemd" && newcomer.systemd.is_none() {
                    newcomer.systemd = systemd.as_ref().map(|systemd| {
                        let mut terminal =
                            Terminal::open(&systemd.launcher(), &folder.join("said"), "/opt/shared/said");
                        let _ = terminal.enter("cd /opt/shared/app; sudo() { \"$@\"; }");
                        terminal
                    });
                }
                for step in steps(block) {
                    newcomer.type_in(&step, &block.section);
                }
            }
            (_, Some(name)) => fs::write(folder.join("app").join(name), block.lines.join("\n") + "\n").expect("a file"),
            (kind, None) => panic!("in {}: a block that nobody uses: {kind} after `{}`", block.section, block.before),
        }
    }
    drop(newcomer);
    let _ = fs::remove_dir_all(folder);
}
