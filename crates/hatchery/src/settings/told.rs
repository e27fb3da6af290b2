//! How settings are written where they were given: what errors call them.

use hatchery_net::Bind;

use super::Settings;
use super::error::{Origin, SettingsError};
use super::sources::{Given, Named};
use super::table::Setting;

/// Everything that was given; what stands later outranks what stands before it.
pub(super) struct Told<'a> {
    pub(super) given: Vec<&'a Given>,
    pub(super) named: &'a [Named],
}

/// A setting as it was written, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) setting: String,
    pub(crate) origin: Origin,
}

impl Told<'_> {
    /// Where the value comes from that a setting has.
    pub(super) fn place(&self, name: &str) -> Place {
        let given = self.given.iter().rev().find(|given| given.setting.name == name);
        let origin = given.map_or(Origin::Default, |given| given.origin.clone());
        Place { setting: origin.spell(Setting::named(name)), origin }
    }

    /// An error about the value that a setting has.
    pub(super) fn wrong(&self, name: &str, reason: impl Into<String>) -> SettingsError {
        self.place(name).wrong(reason)
    }

    /// One setting that nobody has given, as it would be written beside another.
    pub(super) fn beside(&self, missing: &str, given: &str) -> String {
        self.place(given).origin.spell(Setting::named(missing))
    }

    /// What is listened on, each with who asks for it.
    pub(super) fn binds(&self, settings: &Settings) -> Vec<(Place, Bind)> {
        let listed =
            |name, binds: &[Bind]| binds.iter().map(|bind| (self.place(name), bind.clone())).collect::<Vec<_>>();
        let admin = settings.admin.iter().map(|address| Bind::Address(address.clone())).collect::<Vec<_>>();
        let mut all = listed("bind", &settings.bind);
        all.extend(listed("tls-bind", &settings.tls_bind));
        all.extend(self.named.iter().map(|named| (named.place(), named.bind.clone())));
        all.extend(listed("admin", &admin));
        all
    }
}

impl Place {
    pub(super) fn wrong(self, reason: impl Into<String>) -> SettingsError {
        SettingsError::Value { setting: self.setting, origin: self.origin, reason: reason.into() }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.setting, self.origin)
    }
}

impl Named {
    fn place(&self) -> Place {
        Place { setting: format!("bind_named {:?}", self.name), origin: Origin::Program }
    }
}

impl Origin {
    /// How a setting is written there.
    pub(super) fn spell(&self, setting: &Setting) -> String {
        match self {
            Self::CommandLine => format!("--{}", setting.name),
            Self::Environment => setting.variable(),
            Self::File { .. } | Self::Program | Self::Default => setting.key(),
        }
    }
}
