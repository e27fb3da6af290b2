//! Where settings come from, and which of them decides.

use std::ffi::OsString;
use std::path::PathBuf;
use std::{env, thread};

use hatchery_core::policy::MAX_WORKERS;
use hatchery_core::wire::handoff::VARIABLE;
use hatchery_net::Bind;

use super::asked::Asked;
use super::error::{Origin, SettingsError};
use super::table::{Kind, Setting, TABLE, Unset};
use super::told::{Place, Told};
use super::{Settings, contradictions, file};

/// Everything that settings are made of, kept as it was given: a reload makes
/// them again from the same command line, environment and program, and from the
/// file as it is then.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    pub(crate) command_line: Vec<Given>,
    pub(crate) environment: Vec<Given>,
    pub(crate) program: Vec<Given>,
    /// The folder that the program was started in: relative paths begin there.
    pub(crate) start: PathBuf,
    /// What the program listens on by a name, beside `bind`.
    pub(crate) named: Vec<Named>,
    /// Variables that look like settings and are none, as one line each.
    pub(crate) strays: Vec<String>,
    /// What is to be said instead of serving.
    pub(crate) asked: Option<Asked>,
    /// What the program has asked for and cannot have: a setting, and why.
    pub(crate) refused: Option<(String, String)>,
}

/// What the program listens on, by its own name for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) bind: Bind,
}

/// A setting as it was given: one value, or several for a list.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) setting: &'static Setting,
    pub(crate) values: Vec<OsString>,
    pub(crate) origin: Origin,
}

impl Sources {
    /// Makes the settings.
    ///
    /// Every value has to be right, also one that another outranks: who removes
    /// that other one must not be surprised.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(crate) fn resolve(&self) -> Result<Settings, SettingsError> {
        if let Some((setting, reason)) = &self.refused {
            let (setting, reason) = (setting.clone(), reason.clone());
            return Err(SettingsError::Value { setting, origin: Origin::Program, reason });
        }
        let in_file = self.in_file()?;
        let mut settings = Settings::blank();
        for setting in TABLE.iter().filter(|setting| setting.kind != Kind::List) {
            put_default(setting, &mut settings);
        }
        // Whatever comes later decides.
        for given in self.program.iter().chain(&in_file).chain(&self.environment).chain(&self.command_line) {
            given.put(&mut settings)?;
        }
        // What the program says about it is a default as well.
        let mut operators = in_file.iter().chain(&self.environment).chain(&self.command_line);
        settings.bind_given = operators.any(|given| given.setting.name == "bind");
        // An empty list cannot be given, so nobody has said where to listen.
        if settings.bind.is_empty() && settings.tls_bind.is_empty() && self.named.is_empty() {
            TABLE.iter().filter(|setting| setting.kind == Kind::List).for_each(|list| put_default(list, &mut settings));
        }
        settings.make_absolute(&self.start);
        contradictions::refuse(&settings, &self.told(&in_file))?;
        Ok(settings)
    }

    /// An error about a value of the right form, which only the system could find
    /// wrong: it names the setting as it is where it was given.
    pub(crate) fn wrong(&self, name: &'static str, reason: impl Into<String>) -> SettingsError {
        self.told(&self.in_file().unwrap_or_default()).wrong(name, reason)
    }

    /// Who asks for something to listen on.
    pub(crate) fn asker(&self, settings: &Settings, wanted: &Bind) -> Option<Place> {
        let binds = self.told(&self.in_file().unwrap_or_default()).binds(settings);
        binds.into_iter().find_map(|(place, bind)| (bind == *wanted).then_some(place))
    }

    fn told<'a>(&'a self, in_file: &'a [Given]) -> Told<'a> {
        let all = self.program.iter().chain(in_file).chain(&self.environment).chain(&self.command_line);
        Told { given: all.collect(), named: &self.named }
    }

    /// What the settings file says now; nothing if there is none.
    pub(super) fn in_file(&self) -> Result<Vec<Given>, SettingsError> {
        match self.file()? {
            Some((path, named_by)) => file::read(&path, &named_by),
            None => Ok(Vec::new()),
        }
    }

    /// The file to read, and the flag or variable that names it: the program
    /// and the file itself cannot.
    fn file(&self) -> Result<Option<(PathBuf, String)>, SettingsError> {
        let mut outranking = self.environment.iter().chain(&self.command_line);
        let Some(given) = outranking.rfind(|given| given.setting.kind == Kind::File) else {
            return Ok(None);
        };
        let mut settings = Settings::blank();
        given.put(&mut settings)?;
        settings.make_absolute(&self.start);
        Ok(settings.config.map(|path| (path, given.name())))
    }
}

impl Given {
    /// The environment's settings, as they are now.
    pub(crate) fn in_environment() -> Vec<Self> {
        let given = |setting: &'static Setting| {
            let value = env::var_os(setting.variable())?;
            let values = match (setting.kind, value.to_str()) {
                (Kind::List, Some(list)) => list.split(',').map(|item| item.trim().into()).collect(),
                (Kind::List, None) | (Kind::Text | Kind::Number | Kind::Switch | Kind::File, _) => vec![value],
            };
            Some(Self { setting, values, origin: Origin::Environment })
        };
        TABLE.iter().filter_map(given).collect()
    }

    /// The setting, written as it is where it was given.
    fn name(&self) -> String {
        self.origin.spell(self.setting)
    }

    /// Parses what was given and stores it; a list replaces the one that was there.
    pub(crate) fn put(&self, settings: &mut Settings) -> Result<(), SettingsError> {
        if self.setting.kind == Kind::List {
            self.setting.clear(settings);
        }
        if self.values.is_empty() {
            return Err(self.error("expected at least one value".to_owned()));
        }
        for value in &self.values {
            let Some(text) = value.to_str() else {
                return Err(self.error(format!("{} is not valid UTF-8", value.display())));
            };
            (self.setting.put)(settings, text).map_err(|reason| self.error(reason))?;
        }
        Ok(())
    }

    fn error(&self, reason: String) -> SettingsError {
        SettingsError::Value { setting: self.name(), origin: self.origin.clone(), reason }
    }
}

/// Variables that look like settings and are none, each with what may be meant.
pub(crate) fn strays() -> Vec<String> {
    let known = |name: &str| name == VARIABLE || TABLE.iter().any(|setting| setting.variable() == name);
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let strays = names.filter(|name| name.starts_with("HATCHERY_") && !known(name));
    strays
        .map(|name| {
            let near = TABLE.iter().map(Setting::variable).min_by_key(|known| file::distance(known, &name));
            let near = near.filter(|known| file::distance(known, &name) <= 2);
            let meant = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            format!("{name} in the environment is no setting{meant}")
        })
        .collect()
}

fn put_default(setting: &Setting, settings: &mut Settings) {
    match setting.unset {
        Unset::Off => {}
        Unset::Text(text) => {
            let put = (setting.put)(settings, text);
            debug_assert_eq!(put, Ok(()), "the default of {} is one of its values", setting.name);
        }
        Unset::Cpus => settings.workers = cpus(),
    }
}

/// How many CPUs this process may use, by its affinity and its control group.
pub(super) fn cpus() -> u16 {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    u16::try_from(cpus).unwrap_or(MAX_WORKERS).min(MAX_WORKERS)
}
