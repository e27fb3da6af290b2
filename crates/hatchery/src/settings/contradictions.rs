//! Settings that are right one by one, but not together.

use hatchery_net::{Address, Bind};

use super::error::SettingsError;
use super::{AccessLogTo, Settings, TlsClientAuth};

/// Refuses settings that cannot all be done.
pub(super) fn refuse(settings: &Settings, named: &[Address]) -> Result<(), SettingsError> {
    tls_that_can_be_spoken(settings)?;
    one_listener_an_address(settings, named)?;
    jitter_of_something(settings)?;
    idle_on_demand(settings)?;
    files_of_their_own(settings)?;
    socket_of_its_own(settings, named)
}

/// The system has room for so many bytes of a socket's path, and the names beside it
/// have a pid at their end.
const LONGEST_CONTROL: usize = 107 - ".4194304".len();

fn socket_of_its_own(settings: &Settings, named: &[Address]) -> Result<(), SettingsError> {
    let Some(path) = &settings.control else { return Ok(()) };
    let len = path.as_os_str().len();
    if len > LONGEST_CONTROL {
        let reason = format!("{} has {len} bytes; expected a path of {LONGEST_CONTROL} at most", path.display());
        return Err(SettingsError::Contradiction { settings: "control", reason });
    }
    let is_bound = |address: &Address| matches!(address, Address::Unix(bound) if bound == path);
    let bound = settings.bind.iter().chain(&settings.tls_bind).filter_map(|bind| match bind {
        Bind::Address(address) => Some(address),
        Bind::Passed(_) => None,
    });
    if bound.chain(named).chain(&settings.admin).any(is_bound) {
        let reason = format!("something else listens at {}; expected a socket of its own", path.display());
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

/// A log would be appended to the pid file, a pid file put in the place of the settings.
fn files_of_their_own(settings: &Settings) -> Result<(), SettingsError> {
    let pairs = [
        ("config and pid-file", &settings.config, &settings.pid_file),
        ("config and log", &settings.config, &settings.log),
        ("pid-file and log", &settings.pid_file, &settings.log),
        ("config and control", &settings.config, &settings.control),
        ("pid-file and control", &settings.pid_file, &settings.control),
        ("control and log", &settings.control, &settings.log),
    ];
    for (settings, one, other) in pairs {
        if let Some(path) = one
            && one == other
        {
            let reason = format!("both are {}; expected a file each", path.display());
            return Err(SettingsError::Contradiction { settings, reason });
        }
    }
    // What is appended to must be nothing that is read.
    let AccessLogTo::File(access) = &settings.access_log else { return Ok(()) };
    let single = [&settings.config, &settings.pid_file, &settings.control, &settings.tls_client_ca];
    let others = single.into_iter().flatten().chain(&settings.tls_certificate).chain(&settings.tls_key);
    match others.into_iter().find(|other| *other == access) {
        Some(path) => {
            let reason = format!("{} is another file of the server; expected one of its own", path.display());
            Err(SettingsError::Contradiction { settings: "access-log", reason })
        }
        None => Ok(()),
    }
}
