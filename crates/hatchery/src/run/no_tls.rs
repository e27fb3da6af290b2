//! What stands in the place of TLS in a program that is built without it: settings that ask for it are refused.

use std::any::Any;
use std::rc::Rc;
use std::time::Duration;

use hatchery_net::Kept;

use crate::server::Make;
use crate::settings::Sources;
use crate::{Error, Settings};

pub(super) struct Tls;

pub(super) struct Fresh;

pub(super) fn keep_keys(_keeps: &mut Vec<(String, Box<Make>)>) {}

pub(super) fn without_keys(kept: &Kept) -> Kept {
    kept.clone()
}

#[expect(clippy::unnecessary_wraps, reason = "with TLS it can fail")]
pub(super) fn check(_settings: &Settings, _sources: &Sources) -> Result<Vec<String>, Error> {
    Ok(Vec::new())
}

#[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "with TLS there is something to it")]
impl Tls {
    pub(super) fn load(_settings: &Settings, _sources: &Sources, _kept: &Kept) -> Result<Self, Error> {
        Ok(Self)
    }

    pub(super) fn reread(&self, _settings: &Settings, _sources: &Sources) -> Result<Fresh, Error> {
        Ok(Fresh)
    }

    pub(super) fn adopt(&self, _settings: &Settings, _fresh: Fresh) -> Vec<String> {
        Vec::new()
    }

    pub(super) fn rotate(&self, _settings: &Settings) -> Option<Duration> {
        None
    }

    pub(super) fn for_worker(&self) -> Option<Rc<dyn Any>> {
        None
    }

    pub(super) fn is_secret(&self) -> bool {
        false
    }

    pub(super) fn only_read(&self) {}

    pub(super) fn forget(&self) {}
}
