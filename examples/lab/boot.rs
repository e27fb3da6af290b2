//! How the lab starts, told by the environment of its generation.

use std::env::{self, VarError};
use std::future;
use std::path::PathBuf;
use std::process;
use std::time::Duration;

use hatchery::BoxError;

/// How long after ready a worker that is to crash does.
const CRASH_AFTER: Duration = Duration::from_millis(50);

/// What all workers of a generation share.
#[derive(Debug)]
pub(crate) struct Lab {
    /// The value of `LAB_BUILD`.
    pub(crate) build: Option<String>,
    /// Whether it has a listener that counts.
    pub(crate) counts: bool,
    /// The version of what a counter carries, the value of `LAB_COUNTER`.
    pub(crate) counter: u32,
    boot: Boot,
}

/// The value of `LAB_BOOT`.
#[derive(Debug)]
enum Boot {
    Well,
    Fail,
    /// As soon as there is such a file.
    FailIf(PathBuf),
    Hang,
    Crash,
}

impl Lab {
    /// Reads the environment, once a generation.
    pub(crate) fn from_env(counts: bool) -> Result<Self, BoxError> {
        let boot = match variable("LAB_BOOT")?.as_deref() {
            None => Boot::Well,
            Some("fail") => Boot::Fail,
            Some("hang") => Boot::Hang,
            Some("crash") => Boot::Crash,
            Some(other) => match other.strip_prefix("fail-if:") {
                Some(path) => Boot::FailIf(path.into()),
                None => {
                    return Err(
                        format!("LAB_BOOT: `{other}`: expected `fail`, `fail-if:PATH`, `hang` or `crash`").into()
                    );
                }
            },
        };
        let counter = match variable("LAB_COUNTER")? {
            None => 1,
            Some(version) => version.parse().map_err(|_| format!("LAB_COUNTER: `{version}` is no version"))?,
        };
        Ok(Self { build: variable("LAB_BUILD")?, counts, counter, boot })
    }

    /// What comes before a worker serves.
    pub(crate) async fn boot(&self) -> Result<(), BoxError> {
        match &self.boot {
            Boot::Well => {}
            Boot::FailIf(path) if !path.exists() => {}
            Boot::Fail | Boot::FailIf(_) => return Err("lab told to fail".into()),
            Boot::Hang => future::pending::<()>().await,
            Boot::Crash => {
                // It runs first when `run` waits for the first time, which is after ready.
                tokio::task::spawn_local(async {
                    tokio::time::sleep(CRASH_AFTER).await;
                    process::abort();
                });
            }
        }
        Ok(())
    }
}

fn variable(name: &str) -> Result<Option<String>, BoxError> {
    match env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(format!("{name} is not valid UTF-8").into()),
    }
}
