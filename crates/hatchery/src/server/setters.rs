//! The settings, as the program itself wants them: a method for each row of the table.

use std::ffi::OsString;

use super::Server;
use crate::settings::Origin;
use crate::settings::sources::Given;
use crate::settings::table::Setting;

mod changes;
mod limits;
mod operators;
mod process;
mod serving;
mod supervision;
#[cfg(test)]
mod tests;
mod tls;

impl<P: 'static> Server<P> {
    /// Adds to a list that the program wants.
    pub(super) fn add(mut self, name: &str, value: impl Into<OsString>) -> Self {
        let value = value.into();
        match self.sources.program.iter_mut().find(|given| given.setting.name == name) {
            Some(given) => given.values.push(value),
            None => self = self.set(name, value),
        }
        self
    }

    /// Stores what the program wants as if it had been written somewhere: one parser for all.
    pub(super) fn set(mut self, name: &str, value: impl Into<OsString>) -> Self {
        let given = Given { setting: Setting::named(name), values: vec![value.into()], origin: Origin::Program };
        self.sources.program.push(given);
        self
    }
}

/// How a switch is written.
const fn switch(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}
