//! What is answered instead of serving: `--check-config` and `--sample-config`.

use std::fmt::Write as _;

use super::error::SettingsError;
use super::sources::{Given, Sources};
use super::table::{Kind, Setting, TABLE, Unset};

/// What a command line asks to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Which settings would be used, and where each comes from.
    Check,
    /// A settings file with every setting, each commented out.
    Sample,
}

/// A settings file with every setting and its default, each commented out.
pub(crate) fn sample() -> String {
    let mut text = String::from(
        "# Settings of a hatchery server: remove the `#` in front of what is to differ.\n\
         # Each is also a flag (--pid-file) and an environment variable (HATCHERY_PID_FILE);\n\
         # the command line decides before the environment, and that before this file.\n",
    );
    for setting in TABLE.iter().filter(|setting| setting.kind != Kind::File) {
        let default = match setting.unset {
            Unset::Off => "off unless it is given".to_owned(),
            Unset::Text(_) => "the default".to_owned(),
            Unset::Cpus => "by default as many as there are CPUs".to_owned(),
        };
        let _ = write!(text, "\n# {}\n# ({default})\n# {} = {}\n", setting.help, setting.key(), setting.example());
    }
    text
}

/// The chapter of the guide that lists the settings.
#[cfg(test)]
fn chapter() -> String {
    let mut text = String::from(
        "# Settings\n\n\
         Every setting is a flag, an environment variable and a key of the settings file: `--pid-file`,\n\
         `HATCHERY_PID_FILE` and `pid_file`. The command line decides before the environment, that before\n\
         the file, and that before what the program sets itself. `--check-config` tells what would be used and\n\
         where each value comes from, `--sample-config` prints a [file](hatchery.toml) with all of them.\n\n\
         A key that the file must not have is an error. A variable that begins with `HATCHERY_` and is no setting is a\n\
         [warning](troubleshooting.md#it-does-not-start-settings): an environment is shared.\n\n\
         `DUR` is `500ms`, `10s`, `2m`, `1h`; `SIZE` is `512KiB`, `1GiB`. A list is repeated on the command line,\n\
         separated by commas in the environment, and an array in the file.\n\n\
         | flag | meaning | default | a change takes effect at |\n|---|---|---|---|\n",
    );
    for setting in TABLE {
        let default = match setting.unset {
            Unset::Off => "none".to_owned(),
            Unset::Text(default) => format!("`{default}`"),
            Unset::Cpus => "number of CPUs".to_owned(),
        };
        let when = crate::run::takes_effect_at(setting.name);
        let (value, help) = (setting.value.replace('|', "\\|"), setting.help.replace('|', "\\|"));
        let _ = writeln!(text, "| `--{} {value}` | {help} | {default} | {when} |", setting.name);
    }
    text.push_str(
        "\nAt a stop, and after an upgrade, one `drain-timeout` is for the workers and then for the [sidecars](beside.md#sidecars), \
         which have 5 s at the least;\njob servers and the admin process go last, with a `drain-timeout` of their own. Whoever stops \
         the server must wait for all of that, and for `stop-delay`.\n",
    );
    text
}

/// The settings as a file in TOML, with the source of each behind it.
pub(crate) fn report(sources: &Sources) -> Result<String, SettingsError> {
    let given = sources.deciding()?;
    let speaks_tls = given.iter().any(|given| given.setting.name == "tls-bind");
    let mut text = String::new();
    for setting in TABLE {
        let line = match given.iter().find(|given| given.setting.name == setting.name) {
            Some(given) => format!("{} = {}  # {}", setting.key(), given.as_toml(), given.origin),
            // Nobody has said where to listen, and the program has listeners of its own.
            None if setting.name == "bind" && (!sources.named.is_empty() || speaks_tls) => {
                format!("# {} is not set", setting.key())
            }
            None => match setting.unset {
                Unset::Off => format!("# {} is not set", setting.key()),
                Unset::Text(_) => format!("{} = {}  # default", setting.key(), setting.example()),
                Unset::Cpus => format!("{} = {}  # default: CPUs", setting.key(), super::sources::cpus()),
            },
        };
        // The file cannot name itself.
        let mark = if setting.kind == Kind::File && !line.starts_with('#') { "# " } else { "" };
        let _ = writeln!(text, "{mark}{line}");
    }
    for named in &sources.named {
        let _ = writeln!(text, "# the program itself listens on {}", named.bind);
    }
    for stray in &sources.strays {
        let _ = writeln!(text, "# {stray}");
    }
    Ok(text)
}

impl Setting {
    /// A value as the file has it: the default, or what stands for one.
    pub(super) fn example(&self) -> String {
        match self.unset {
            Unset::Text(default) => self.as_toml([default]),
            Unset::Cpus => "4".to_owned(),
            Unset::Off => match self.kind {
                Kind::Number => "0".to_owned(),
                Kind::Switch => "true".to_owned(),
                Kind::Text | Kind::File | Kind::List => self.as_toml([self.value]),
            },
        }
    }

    fn as_toml<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> String {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let mut texts = texts.into_iter();
        match self.kind {
            Kind::List => format!("[{}]", texts.map(quoted).collect::<Vec<_>>().join(", ")),
            Kind::Number => texts.next().unwrap_or_default().to_owned(),
            Kind::Switch => (texts.next() == Some("on")).to_string(),
            Kind::Text | Kind::File => quoted(texts.next().unwrap_or_default()),
        }
    }
}

impl Given {
    fn as_toml(&self) -> String {
        let texts: Vec<_> = self.values.iter().map(|value| value.to_string_lossy()).collect();
        self.setting.as_toml(texts.iter().map(AsRef::as_ref))
    }
}

impl Sources {
    /// What was given for each setting, as far as nothing outranks it; all of it is right.
    fn deciding(&self) -> Result<Vec<Given>, SettingsError> {
        self.resolve()?;
        let in_file = self.in_file()?;
        let all = self.program.iter().chain(&in_file).chain(&self.environment).chain(&self.command_line);
        let mut deciding: Vec<Given> = Vec::new();
        for given in all {
            deciding.retain(|earlier| earlier.setting.name != given.setting.name);
            deciding.push(given.clone());
        }
        Ok(deciding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Origin;

    #[test]
    fn the_sample_is_a_settings_file_with_every_key() {
        let text = sample();
        let active: String = text
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|line| TABLE.iter().any(|setting| line.starts_with(&format!("{} = ", setting.key()))))
            .map(|line| format!("{line}\n"))
            .collect();
        let table: toml::Table = active.parse().expect("TOML");
        for setting in TABLE.iter().filter(|setting| setting.kind != Kind::File) {
            assert!(table.contains_key(&setting.key()), "{}", setting.name);
        }
    }

    /// Compares a file of the repository with what it is made of, or writes it where that is wanted.
    fn generated(path: &str, text: &str) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
        if std::env::var_os("WRITE_DOCS").is_some() {
            std::fs::write(&path, text).expect("the repository can be written to");
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == text, "{} is old: WRITE_DOCS=1 cargo test -p hatchery --lib generated", path.display());
    }

    #[test]
    fn the_generated_files_are_those_of_the_table() {
        generated("docs/settings.md", &chapter());
        generated("docs/hatchery.toml", &sample());
    }

    #[test]
    fn a_report_names_each_source() {
        let setting = Setting::named("workers");
        let sources = Sources {
            command_line: vec![Given { setting, values: vec!["3".into()], origin: Origin::CommandLine }],
            program: vec![Given { setting, values: vec!["2".into()], origin: Origin::Program }],
            ..Sources::default()
        };
        let report = report(&sources).expect("right settings");
        assert!(report.contains("workers = 3  # command line\n"), "{report}");
        assert!(report.contains("drain_timeout = \"30s\"  # default\n"), "{report}");
        assert!(report.contains("# pid_file is not set\n"), "{report}");
    }
}
