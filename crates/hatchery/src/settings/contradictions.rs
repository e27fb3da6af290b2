//! Settings that are right one by one, but not together.

use std::path::PathBuf;

use hatchery_net::{Address, Bind};

use super::error::SettingsError;
use super::told::{Place, Told};
use super::{AccessLogTo, Settings, TlsClientAuth};

/// Refuses settings that cannot all be done.
pub(super) fn refuse(settings: &Settings, told: &Told<'_>) -> Result<(), SettingsError> {
    tls_that_can_be_spoken(settings, told)?;
    one_listener_an_address(settings, told)?;
    jitter_of_something(settings, told)?;
    idle_on_demand(settings, told)?;
    paths_of_their_own(settings, told)?;
    socket_with_room(settings, told)
}

/// The system has room for so many bytes of a socket's path, and the names beside it
/// have a pid at their end.
const LONGEST_CONTROL: usize = 107 - ".4194304".len();

fn socket_with_room(settings: &Settings, told: &Told<'_>) -> Result<(), SettingsError> {
    let Some(path) = &settings.control else { return Ok(()) };
    let len = path.as_os_str().len();
    if len > LONGEST_CONTROL {
        let reason = format!("{} has {len} bytes; expected a path of {LONGEST_CONTROL} at most", path.display());
        return Err(told.wrong("control", reason));
    }
    Ok(())
}

/// Each setting by its name, and whether somebody has given it.
fn tls_settings(settings: &Settings) -> [(&'static str, bool); 4] {
    [
        ("tls-bind", !settings.tls_bind.is_empty()),
        ("tls-certificate", !settings.tls_certificate.is_empty()),
        ("tls-key", !settings.tls_key.is_empty()),
        ("tls-client-ca", settings.tls_client_ca.is_some()),
    ]
}

fn tls_that_can_be_spoken(settings: &Settings, told: &Told<'_>) -> Result<(), SettingsError> {
    let given = tls_settings(settings).into_iter().find_map(|(name, is_given)| is_given.then_some(name));
    if let Some(name) = given.filter(|_| !cfg!(feature = "tls")) {
        let reason = "this program is built without TLS; expected the feature `tls` of the crate `hatchery`: \
                      cargo add hatchery --features tls";
        return Err(told.wrong(name, reason));
    }
    a_key_for_each_certificate(settings, told)?;
    match (settings.tls_bind.is_empty(), settings.tls_certificate.is_empty()) {
        (false, true) => {
            let (certificate, key) = (told.beside("tls-certificate", "tls-bind"), told.beside("tls-key", "tls-bind"));
            return Err(told.wrong("tls-bind", format!("expected {certificate} and {key} as well")));
        }
        (true, false) => {
            let bind = told.beside("tls-bind", "tls-certificate");
            return Err(told.wrong("tls-certificate", format!("nothing speaks TLS; expected {bind} as well")));
        }
        (true, true) | (false, false) => {}
    }
    match (settings.tls_client_auth, &settings.tls_client_ca) {
        (TlsClientAuth::Off, Some(_)) => {
            let auth = told.beside("tls-client-auth", "tls-client-ca");
            Err(told.wrong("tls-client-ca", format!("nobody is asked; expected {auth} `optional` or `required`")))
        }
        (TlsClientAuth::Optional | TlsClientAuth::Required, None) => {
            let issuers = told.beside("tls-client-ca", "tls-client-auth");
            let reason = format!("expected {issuers} as well: whose certificates are accepted?");
            Err(told.wrong("tls-client-auth", reason))
        }
        (TlsClientAuth::Off, None) | (TlsClientAuth::Optional | TlsClientAuth::Required, Some(_)) => Ok(()),
    }
}

fn a_key_for_each_certificate(settings: &Settings, told: &Told<'_>) -> Result<(), SettingsError> {
    const EACH: &str = "expected one for each, in the same order";
    let missing = |there: &str, missing: &str| {
        let missing = told.beside(missing, there);
        Err(told.wrong(there, format!("there is no {missing} for it: {EACH}")))
    };
    match (settings.tls_certificate.len(), settings.tls_key.len()) {
        (1.., 0) => missing("tls-certificate", "tls-key"),
        (0, 1..) => missing("tls-key", "tls-certificate"),
        (certificates, keys) if certificates != keys => {
            let place = told.place("tls-certificate");
            Err(told.wrong("tls-key", format!("{keys} for the {certificates} of {place}: {EACH}")))
        }
        (_, _) => Ok(()),
    }
}

fn jitter_of_something(settings: &Settings, told: &Told<'_>) -> Result<(), SettingsError> {
    match (settings.max_requests, settings.max_requests_jitter) {
        (0, Some(jitter)) if jitter > 0 => {
            let requests = told.beside("max-requests", "max-requests-jitter");
            let reason = format!("{jitter} requests more than for ever; expected {requests} as well");
            Err(told.wrong("max-requests-jitter", reason))
        }
        (0, Some(_) | None) | (1.., _) => Ok(()),
    }
}

fn idle_on_demand(settings: &Settings, told: &Told<'_>) -> Result<(), SettingsError> {
    match settings.idle_timeout {
        Some(_) if !settings.on_demand => {
            let demand = told.beside("on-demand", "idle-timeout");
            Err(told.wrong("idle-timeout", format!("only with {demand}: nothing would start the workers again")))
        }
        Some(_) | None => Ok(()),
    }
}

fn one_listener_an_address(settings: &Settings, told: &Told<'_>) -> Result<(), SettingsError> {
    let all = told.binds(settings);
    for (index, (place, bind)) in all.iter().enumerate() {
        // Port 0 is another port each time.
        let any_port = matches!(bind, Bind::Address(Address::Tcp(address)) if address.port() == 0);
        let Some((first, _)) = all[..index].iter().find(|(_, earlier)| !any_port && earlier == bind) else { continue };
        let reason = match first == place {
            true => format!("{bind} is there twice; expected each address once"),
            false => format!("{bind} is asked for by {first} as well; expected each address once"),
        };
        return Err(place.clone().wrong(reason));
    }
    Ok(())
}

/// What becomes of a path that a setting names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// It is read.
    Read,
    /// Lines are appended to it.
    Appended,
    /// Clients come in there; two of these are one address that is there twice.
    Listener,
    /// Something is made in its place, and taken away.
    Made,
    /// The same while a predecessor drains.
    MadeLater,
}

impl Use {
    fn agrees_with(self, other: Self) -> bool {
        match (self, other) {
            (Self::Read, Self::Read) | (Self::Appended, Self::Appended) | (Self::Listener, Self::Listener) => true,
            (Self::Read | Self::Appended | Self::Listener | Self::Made | Self::MadeLater, _) => false,
        }
    }
}

/// A log would be appended to the pid file, a pid file put in the place of the settings or of a socket.
fn paths_of_their_own(settings: &Settings, told: &Told<'_>) -> Result<(), SettingsError> {
    let all = paths(settings, told);
    for (index, (place, path, made)) in all.iter().enumerate() {
        let clash = all[..index].iter().find(|(_, other, of)| other == path && !made.agrees_with(*of));
        if let Some((other, ..)) = clash {
            let later = if *made == Use::MadeLater { ", its name while a predecessor drains," } else { "" };
            let path = path.display();
            let reason = format!("{path}{later} is what {other} names as well; expected a path of its own");
            return Err(place.clone().wrong(reason));
        }
    }
    Ok(())
}

/// Every path, which setting names it, and what for. Of two that clash the later one is the wrong one.
fn paths(settings: &Settings, told: &Told<'_>) -> Vec<(Place, PathBuf, Use)> {
    let all = |name, paths: &[PathBuf], made| {
        paths.iter().map(|path| (told.place(name), path.clone(), made)).collect::<Vec<_>>()
    };
    let access = match &settings.access_log {
        AccessLogTo::File(path) => std::slice::from_ref(path),
        AccessLogTo::On | AccessLogTo::Off => &[],
    };
    // While a predecessor drains, that is the name of its pid file.
    let oldbin = settings.pid_file.iter().map(|path| {
        let mut name = path.clone().into_os_string();
        name.push(".oldbin");
        PathBuf::from(name)
    });
    let listeners = told.binds(settings).into_iter().filter_map(|(place, bind)| match bind {
        Bind::Address(Address::Unix(path)) => Some((place, path, Use::Listener)),
        Bind::Address(Address::Tcp(_)) | Bind::Passed(_) => None,
    });
    let mut paths = all("config", settings.config.as_slice(), Use::Read);
    paths.extend(all("tls-certificate", &settings.tls_certificate, Use::Read));
    paths.extend(all("tls-key", &settings.tls_key, Use::Read));
    paths.extend(all("tls-client-ca", settings.tls_client_ca.as_slice(), Use::Read));
    paths.extend(listeners);
    paths.extend(all("control", settings.control.as_slice(), Use::Made));
    paths.extend(all("log", settings.log.as_slice(), Use::Appended));
    paths.extend(all("access-log", access, Use::Appended));
    paths.extend(all("pid-file", settings.pid_file.as_slice(), Use::Made));
    paths.extend(all("pid-file", &oldbin.collect::<Vec<_>>(), Use::MadeLater));
    paths
}
