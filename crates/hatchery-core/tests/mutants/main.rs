//! Whether the model notices what is wrong: faults are put into a copy of the
//! core, one at a time, and the model has to find each of them.
//!
//! A fault is a text that stands once in a file, and another one in its place.
//! One that does not compile, or that the model lives with, fails the test; so
//! does a text that the core does not have any more.

mod table;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use table::{MUTANTS, Mutant};

const MANIFEST: &str = r#"[package]
name = "hatchery-core"
version = "0.0.0"
edition = "2024"

[lib]
doctest = false

[profile.test]
opt-level = 1
debug = false
incremental = true

[workspace]
"#;

/// A copy of the core and of its model.
struct Copy {
    root: PathBuf,
}

impl Copy {
    fn make(name: &str) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let core = Path::new(env!("CARGO_MANIFEST_DIR"));
        for part in ["src", "tests/model"] {
            let _ = fs::remove_dir_all(root.join(part));
            copy(&core.join(part), &root.join(part));
        }
        fs::write(root.join("Cargo.toml"), MANIFEST).expect("the copy can be written");
        Self { root }
    }

    fn cargo(&self, arguments: &[&str]) -> Output {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut command = Command::new(cargo);
        command.args(["test", "--offline", "--quiet", "--test", "model"]).args(arguments);
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", self.root.join("target"));
        // Those of the run that this is a part of.
        for variable in ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "CARGO_BUILD_TARGET", "RUST_BACKTRACE"] {
            command.env_remove(variable);
        }
        command.output().expect("cargo runs")
    }

    /// Which rule finds the fault, or why none does.
    fn try_out(&self, mutant: &Mutant) -> Result<String, String> {
        let path = self.root.join("src").join(mutant.file);
        let sound = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", mutant.file))?;
        let found = sound.matches(mutant.text).count();
        if found != 1 {
            return Err(format!("its text stands {found} times in {}, and not once", mutant.file));
        }
        fs::write(&path, sound.replace(mutant.text, mutant.instead)).expect("the copy can be written");
        let verdict = self.verdict();
        fs::write(&path, sound).expect("the copy can be written");
        verdict
    }

    fn verdict(&self) -> Result<String, String> {
        let built = self.cargo(&["--no-run"]);
        if !built.status.success() {
            return Err(format!("it does not compile:\n{}", String::from_utf8_lossy(&built.stderr)));
        }
        let run = self.cargo(&["whatever_happens_in_whatever_order"]);
        if run.status.success() {
            return Err("the model lives with it".to_owned());
        }
        let said = [run.stdout, run.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let rule = said.lines().find_map(|line| line.split_once(": violated: "));
        let (scope, rule) = rule.ok_or_else(|| format!("the model ended without a verdict:\n{said}"))?;
        let rule = rule.split(": ").take(2).collect::<Vec<_>>().join(": ");
        Ok(format!("{rule} ({scope})"))
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the copy can be made");
    for entry in fs::read_dir(from).expect("the core can be read") {
        let entry = entry.expect("the core can be read");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).expect("the copy can be made");
        }
    }
}

fn try_all<'a>(name: &str, mutants: impl Iterator<Item = &'a Mutant>) {
    let copy = Copy::make(name);
    let mut missed = Vec::new();
    for mutant in mutants {
        let begin = Instant::now();
        let verdict = copy.try_out(mutant);
        let seconds = begin.elapsed().as_secs();
        match verdict {
            Ok(rule) => println!("caught  {:<62} {rule}, {seconds} s", mutant.name),
            Err(why) => {
                println!("MISSED  {:<62} {why}", mutant.name);
                missed.push(mutant.name);
            }
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

#[test]
fn the_model_finds_some_of_the_faults() {
    try_all("mutants-some", MUTANTS.iter().filter(|mutant| mutant.on_every_run));
}

/// Takes minutes: `cargo test -p hatchery-core --test mutants -- --ignored --nocapture`.
/// `MUTANT=words` tries those with these words in their names only.
#[test]
#[ignore = "takes minutes"]
fn the_model_finds_every_fault() {
    let words = std::env::var("MUTANT").unwrap_or_default();
    try_all("mutants-all", MUTANTS.iter().filter(|mutant| mutant.name.contains(&words)));
}
