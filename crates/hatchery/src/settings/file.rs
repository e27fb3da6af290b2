//! The settings file: TOML, with a line number in every error.

use std::fs;
use std::io;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::error::{Origin, SettingsError};
use super::sources::Given;
use super::table::{Kind, Setting, TABLE};

/// Reads the file into settings that are known, with values of the right type.
pub(super) fn read(path: &Path, named_by: &str) -> Result<Vec<Given>, SettingsError> {
    let unreadable = |source| SettingsError::File { path: path.to_owned(), setting: named_by.to_owned(), source };
    // A pipe or a device could keep a master that reads its settings again from
    // ever serving on.
    let kind = fs::metadata(path).map_err(unreadable)?;
    if !kind.is_file() {
        return Err(unreadable(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")));
    }
    // Bytes that are not UTF-8 are an error of the same kind.
    let text = fs::read_to_string(path).map_err(unreadable)?;
    parse(&text, path)
}

fn parse(text: &str, path: &Path) -> Result<Vec<Given>, SettingsError> {
    let origin = |offset: usize| Origin::File { path: path.to_owned(), line: line(text, offset) };
    let table = DeTable::parse(text).map_err(|error| SettingsError::Syntax {
        origin: origin(error.span().map_or(0, |span| span.start)),
        reason: error.message().lines().collect::<Vec<_>>().join("; "),
    })?;
    let given = table.get_ref().iter().map(|(key, value)| {
        let origin = origin(key.span().start);
        let key = key.get_ref();
        let Some(setting) = Setting::of_key(key) else {
            let reason = if holds_others(value.get_ref()) { NOT_OURS.to_owned() } else { expected_keys(key) };
            return Err(SettingsError::UnknownKey { key: key.to_string(), origin, reason });
        };
        let values = match texts(value.get_ref(), setting) {
            Ok(values) => values.into_iter().map(Into::into).collect(),
            Err(reason) => return Err(SettingsError::Value { setting: key.to_string(), origin, reason }),
        };
        Ok(Given { setting, values, origin })
    });
    given.collect()
}

const NOT_OURS: &str =
    "there is no such setting; those of an application belong into a file of their own, this one is hatchery's";

/// No setting has keys of its own: somebody else's do.
fn holds_others(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::Table(_) => true,
        DeValue::Array(items) => items.iter().any(|item| holds_others(item.get_ref())),
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
            false
        }
    }
}

/// The value as the texts that a command line would have.
fn texts(value: &DeValue<'_>, setting: &Setting) -> Result<Vec<String>, String> {
    match (setting.kind, value) {
        (Kind::Text | Kind::File | Kind::List | Kind::Switch, DeValue::String(text)) => Ok(vec![text.to_string()]),
        (Kind::Switch, DeValue::Boolean(truth)) => Ok(vec![if *truth { "on" } else { "off" }.to_owned()]),
        (Kind::Number, DeValue::Integer(number)) if number.radix() == 10 => Ok(vec![number.as_str().to_owned()]),
        (Kind::List, DeValue::Array(items)) => {
            let text = |item: &toml::Spanned<DeValue<'_>>| match item.get_ref() {
                DeValue::String(text) => Ok(text.to_string()),
                other => Err(format!("expected {}, found {} in it", setting.expected(), spell(other))),
            };
            items.iter().map(text).collect()
        }
        (Kind::Text | Kind::File | Kind::Switch | Kind::List | Kind::Number, other) => {
            Err(format!("expected {}, found {}", setting.expected(), spell(other)))
        }
    }
}

impl Setting {
    /// What the file may have for it.
    fn expected(&self) -> &'static str {
        match (self.kind, self.name, self.value) {
            (Kind::Number, ..) => "a whole number",
            (Kind::Switch, ..) => "true or false",
            (Kind::List, _, "ADDR") => "an array of addresses, as in [\"127.0.0.1:8080\"]",
            (Kind::List, ..) => "an array of paths, as in [\"a.pem\"]",
            (Kind::Text, "control-mode" | "umask", _) => "octal digits, as in \"022\"",
            (Kind::Text, _, "DUR") => "a time, as in \"5s\"",
            (Kind::Text, _, "SIZE") => "a size, as in \"512KiB\"",
            (Kind::Text, _, "ADDR") => "an address, as in \"127.0.0.1:8080\"",
            (Kind::Text, _, "NET") => "networks, as in \"10.0.0.0/8\"",
            (Kind::Text, _, "NAME") => "a name or a number, as in \"33\"",
            (Kind::Text, _, "on|off|FILE") => "`on`, `off` or a path, as in \"on\"",
            (Kind::Text, _, "FILE" | "PATH") | (Kind::File, ..) => "a path, as in \"/run/app\"",
            (Kind::Text, ..) => "a word in quotes",
        }
    }
}

fn spell(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the string {text:?}"),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(truth) => format!("{truth}"),
        DeValue::Datetime(time) => format!("the time {time}"),
        DeValue::Array(_) => "an array".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// What stands in the place of an unknown key: the nearest one, or where all of them are.
fn expected_keys(wrong: &str) -> String {
    let dashed = wrong.replace('-', "_").to_ascii_lowercase();
    if TABLE.iter().any(|setting| setting.kind == Kind::File && setting.key() == dashed) {
        return "a file cannot name another one; only the command line and the environment can".to_owned();
    }
    let keys = TABLE.iter().filter(|setting| setting.kind != Kind::File).map(Setting::key);
    let near = keys.min_by_key(|key| distance(key, &dashed)).filter(|key| distance(key, &dashed) <= 2);
    let meant = near.map(|near| format!("did you mean `{near}`?"));
    // A file may be for a newer program than the one that reads it.
    let list = || concat!("`--help` lists those of hatchery ", env!("CARGO_PKG_VERSION")).to_owned();
    format!("there is no such setting; {}", meant.unwrap_or_else(list))
}

/// How many letters have to be changed, added or removed to make one of the other.
pub(super) fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.bytes().enumerate() {
            let change = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

/// The line of a byte, counted from 1.
fn line(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(text, Path::new("/etc/lab.toml")).unwrap_err().to_string()
    }

    #[test]
    fn values_become_the_texts_of_a_command_line() {
        let text = "# two workers\nworkers = 2\npid_file = '/run/lab.pid'\nbind = [\"[::1]:80\", \"127.0.0.1:80\"]\n";
        let mut given = parse(text, Path::new("/etc/lab.toml")).unwrap();
        given.sort_by_key(|given| given.setting.name);
        let seen: Vec<_> = given.iter().map(|given| (given.setting.name, given.values.len())).collect();
        assert_eq!(seen, [("bind", 2), ("pid-file", 1), ("workers", 1)]);
        assert_eq!(given[2].values, ["2"]);
        assert_eq!(given[2].origin, Origin::File { path: "/etc/lab.toml".into(), line: 2 });
        assert!(parse("", Path::new("x")).unwrap().is_empty());
    }

    #[test]
    fn a_single_address_needs_no_array() {
        assert_eq!(parse("bind = \"127.0.0.1:80\"", Path::new("x")).unwrap()[0].values, ["127.0.0.1:80"]);
    }

    #[test]
    fn a_switch_is_a_truth_value_or_its_word() {
        for (text, value) in [("balance = true", "on"), ("balance = false", "off"), ("balance = 'off'", "off")] {
            assert_eq!(parse(text, Path::new("x")).unwrap()[0].values, [value], "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let table = [
            (
                "a = 1\nworkers = 2",
                "a (/etc/lab.toml line 1): there is no such setting; `--help` lists those of hatchery ",
            ),
            (
                "workers = 2\nwrokers = 3",
                "wrokers (/etc/lab.toml line 2): there is no such setting; did you mean `workers`?",
            ),
            ("pid-file = 'x'", "pid-file (/etc/lab.toml line 1): there is no such setting; did you mean `pid_file`?"),
            ("config = 'x'", "config (/etc/lab.toml line 1): a file cannot name another one; only the command line"),
            (
                "workers = 2\n[shop]\nname = 'x'",
                "shop (/etc/lab.toml line 2): there is no such setting; those of an application belong into a file of their own, ",
            ),
            ("[[shop]]\nname = 'x'", "shop (/etc/lab.toml line 1): there is no such setting; those of an application "),
            ("shop.name = 'x'", "shop (/etc/lab.toml line 1): there is no such setting; those of an application "),
            ("[log]\nfile = 'x'", "log (/etc/lab.toml line 1): expected a path, as in \"/run/app\", found a table"),
            (
                "\n\nworkers = 'many'",
                "workers (/etc/lab.toml line 3): expected a whole number, found the string \"many\"",
            ),
            ("workers = 2.5", "workers (/etc/lab.toml line 1): expected a whole number, found the number 2.5"),
            (
                "drain_timeout = 30",
                "drain_timeout (/etc/lab.toml line 1): expected a time, as in \"5s\", found the number 30",
            ),
            ("umask = 0o22", "umask (/etc/lab.toml line 1): expected octal digits, as in \"022\", found the number "),
            (
                "bind = 8080",
                "bind (/etc/lab.toml line 1): expected an array of addresses, as in [\"127.0.0.1:8080\"], found the number 8080",
            ),
            (
                "bind = ['127.0.0.1:80', 8080]",
                "bind (/etc/lab.toml line 1): expected an array of addresses, as in [\"127.0.0.1:8080\"], found the number 8080 in it",
            ),
            ("on_demand = 1", "on_demand (/etc/lab.toml line 1): expected true or false, found the number 1"),
            ("workers = true", "workers (/etc/lab.toml line 1): expected a whole number, found true"),
            (
                "max_memory = 1",
                "max_memory (/etc/lab.toml line 1): expected a size, as in \"512KiB\", found the number 1",
            ),
            (
                "user = 33",
                "user (/etc/lab.toml line 1): expected a name or a number, as in \"33\", found the number 33",
            ),
            ("admin = 9000", "admin (/etc/lab.toml line 1): expected an address, as in \"127.0.0.1:8080\", found "),
            (
                "access_log = true",
                "access_log (/etc/lab.toml line 1): expected `on`, `off` or a path, as in \"on\", found true",
            ),
            ("anchor = true", "anchor (/etc/lab.toml line 1): expected a word in quotes, found true"),
            ("workers = 2\nworkers = 3", "/etc/lab.toml line 2: "),
            ("workers = 2\nlog = = 3", "/etc/lab.toml line 2: "),
        ];
        for (text, expected) in table {
            let error = error(text);
            assert!(error.starts_with(expected), "{text:?}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn distances() {
        for (one, other, far) in
            [("", "", 0), ("a", "", 1), ("workers", "wrokers", 2), ("log", "lag", 1), ("log", "logs", 1)]
        {
            assert_eq!((distance(one, other), distance(other, one)), (far, far), "{one} {other}");
        }
    }
}
