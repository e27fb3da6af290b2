//! Settings that are right one by one, but not together.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use hatchery_net::{Address, Bind};

use super::error::SettingsError;
use super::{AccessLogTo, Settings, TlsClientAuth};

/// Refuses settings that cannot all be done.
pub(super) fn refuse(settings: &Settings, named: &[Address]) -> Result<(), SettingsError> {
    tls_that_can_be_spoken(settings)?;
    one_listener_an_address(settings, named)?;
    jitter_of_something(settings)?;
    idle_on_demand(settings)?;
    paths_of_their_own(settings, named)?;
    socket_with_room(settings)
}

/// The system has room for so many bytes of a socket's path, and the names beside it
/// have a pid at their end.
const LONGEST_CONTROL: usize = 107 - ".4194304".len();

fn socket_with_room(settings: &Settings) -> Result<(), SettingsError> {
    let Some(path) = &settings.control else { return Ok(()) };
    let len = path.as_os_str().len();
    if len > LONGEST_CONTROL {
        let reason = format!("{} has {len} bytes; expected a path of {LONGEST_CONTROL} at most", path.display());
        return Err(SettingsError::Contradiction { settings: "control", reason });
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

fn tls_that_can_be_spoken(settings: &Settings) -> Result<(), SettingsError> {
    let wrong = |settings, reason: String| Err(SettingsError::Contradiction { settings, reason });
    let given = tls_settings(settings).into_iter().find_map(|(name, is_given)| is_given.then_some(name));
    if let Some(name) = given.filter(|_| !cfg!(feature = "tls")) {
        let reason = "this program is built without TLS; expected the feature `tls` of the crate `hatchery`: \
                      cargo add hatchery --features tls";
        return wrong(name, reason.to_owned());
    }
    let (certificates, keys) = (settings.tls_certificate.len(), settings.tls_key.len());
    if !settings.tls_bind.is_empty() && certificates == 0 {
        return wrong("tls-bind", "expected tls-certificate and tls-key as well".to_owned());
    }
    if certificates != keys {
        let reason = format!("{keys} keys for {certificates} certificates; expected one for each, in the same order");
        return wrong("tls-key", reason);
    }
    if settings.tls_bind.is_empty() && certificates > 0 {
        return wrong("tls-certificate", "nothing speaks TLS; expected tls-bind as well".to_owned());
    }
    match (settings.tls_client_auth, &settings.tls_client_ca) {
        (TlsClientAuth::Off, Some(_)) => {
            wrong("tls-client-ca", "nobody is asked; expected tls-client-auth `optional` or `required`".to_owned())
        }
        (TlsClientAuth::Optional | TlsClientAuth::Required, None) => {
            wrong("tls-client-auth", "expected tls-client-ca as well: whose certificates are accepted?".to_owned())
        }
        (TlsClientAuth::Off, None) | (TlsClientAuth::Optional | TlsClientAuth::Required, Some(_)) => Ok(()),
    }
}

fn jitter_of_something(settings: &Settings) -> Result<(), SettingsError> {
    match (settings.max_requests, settings.max_requests_jitter) {
        (0, Some(jitter)) if jitter > 0 => {
            let reason = format!("{jitter} requests more than for ever; expected max-requests as well");
            Err(SettingsError::Contradiction { settings: "max-requests-jitter", reason })
        }
        (0, Some(_) | None) | (1.., _) => Ok(()),
    }
}

fn idle_on_demand(settings: &Settings) -> Result<(), SettingsError> {
    match settings.idle_timeout {
        Some(_) if !settings.on_demand => {
            let reason = "only with on-demand: nothing would start the workers again".to_owned();
            Err(SettingsError::Contradiction { settings: "idle-timeout", reason })
        }
        Some(_) | None => Ok(()),
    }
}

fn one_listener_an_address(settings: &Settings, named: &[Address]) -> Result<(), SettingsError> {
    let named: Vec<Bind> = named.iter().chain(&settings.admin).cloned().map(Bind::Address).collect();
    let all: Vec<&Bind> = settings.bind.iter().chain(&settings.tls_bind).chain(&named).collect();
    for (index, bind) in all.iter().enumerate() {
        // Port 0 is another port each time.
        let any_port = matches!(bind, Bind::Address(Address::Tcp(address)) if address.port() == 0);
        if !any_port && all[..index].contains(bind) {
            let reason = format!("{bind} is there twice; expected each address once");
            return Err(SettingsError::Contradiction { settings: "bind", reason });
        }
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
}

impl Use {
    fn agrees_with(self, other: Self) -> bool {
        match (self, other) {
            (Self::Read, Self::Read) | (Self::Appended, Self::Appended) | (Self::Listener, Self::Listener) => true,
            (Self::Read | Self::Appended | Self::Listener | Self::Made, _) => false,
        }
    }
}

/// A log would be appended to the pid file, a pid file put in the place of the settings or of a socket.
fn paths_of_their_own(settings: &Settings, named: &[Address]) -> Result<(), SettingsError> {
    let all = paths(settings, named);
    for (index, (name, path, made)) in all.iter().enumerate() {
        let clash = all[..index].iter().find(|(_, other, of)| other == path && !made.agrees_with(*of));
        if let Some((other, ..)) = clash {
            let later = match path {
                Cow::Borrowed(_) => "",
                Cow::Owned(_) => ", its name while a predecessor drains,",
            };
            let path = path.display();
            let reason = format!("{path}{later} is what {other} names as well; expected a path of its own");
            return Err(SettingsError::Contradiction { settings: name, reason });
        }
    }
    Ok(())
}

/// Every path, which setting names it, and what for. Of two that clash the later one is the wrong one.
fn paths<'a>(settings: &'a Settings, named: &'a [Address]) -> Vec<(&'static str, Cow<'a, Path>, Use)> {
    let single = |name, path: &'a Option<PathBuf>, made| path.iter().map(move |path| (name, path.as_path(), made));
    let several = |name, paths: &'a [PathBuf]| paths.iter().map(move |path| (name, path.as_path(), Use::Read));
    let listener = |name| move |address: &'a Address| unix(address).map(|path| (name, path, Use::Listener));
    let access = match &settings.access_log {
        AccessLogTo::File(path) => Some(("access-log", path.as_path(), Use::Appended)),
        AccessLogTo::On | AccessLogTo::Off => None,
    };
    let given = single("config", &settings.config, Use::Read)
        .chain(several("tls-certificate", &settings.tls_certificate))
        .chain(several("tls-key", &settings.tls_key))
        .chain(single("tls-client-ca", &settings.tls_client_ca, Use::Read))
        .chain(named.iter().filter_map(listener("a listener of the program")))
        .chain(addresses(&settings.bind).filter_map(listener("bind")))
        .chain(addresses(&settings.tls_bind).filter_map(listener("tls-bind")))
        .chain(settings.admin.iter().filter_map(listener("admin")))
        .chain(single("control", &settings.control, Use::Made))
        .chain(single("log", &settings.log, Use::Appended))
        .chain(access)
        .chain(single("pid-file", &settings.pid_file, Use::Made));
    // While a predecessor drains, that is the name of its pid file.
    let beside = settings.pid_file.iter().map(|path| {
        let mut name = path.clone().into_os_string();
        name.push(".oldbin");
        ("pid-file", Cow::Owned(PathBuf::from(name)), Use::Made)
    });
    given.map(|(name, path, made)| (name, Cow::Borrowed(path), made)).chain(beside).collect()
}

fn addresses(binds: &[Bind]) -> impl Iterator<Item = &Address> {
    binds.iter().filter_map(|bind| match bind {
        Bind::Address(address) => Some(address),
        Bind::Passed(_) => None,
    })
}

fn unix(address: &Address) -> Option<&Path> {
    match address {
        Address::Unix(path) => Some(path),
        Address::Tcp(_) => None,
    }
}
