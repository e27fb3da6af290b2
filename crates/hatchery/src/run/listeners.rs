//! The listeners of this generation: its predecessor's where the address is the same, a
//! service manager's where one has passed them, others bound anew.

use std::os::fd::AsFd;
use std::slice;

use hatchery_master::Predecessor;
use hatchery_net::{Address, Bind, Holder, Inherited, ListenError, Listener, Listeners, Passed, Spec};
use hatchery_sys::channel::Channel;
use hatchery_sys::peer::Peer;
use hatchery_sys::{Pid, socket};
use hatchery_worker::TLS;
use tracing::info;

use crate::settings::sources::Named;
use crate::settings::{Place, Sources};
use crate::{Error, ListenMode, Settings};

/// What there is to serve.
pub(super) struct Claimed {
    pub(super) listeners: Listeners,
    /// The predecessor's link.
    pub(super) link: Option<Channel>,
    /// Names of what the service manager need not store any more.
    pub(super) leaving: Vec<String>,
    /// What the predecessor goes on serving.
    pub(super) left: Left,
}

/// Addresses that this generation has not asked for: they are their predecessor's until it goes.
#[derive(Debug, Default)]
pub(super) struct Left {
    addresses: Vec<Address>,
    master: Option<Peer>,
}

impl Left {
    /// Why an address cannot be had.
    pub(super) fn explains(&self, error: ListenError) -> ListenError {
        match (&self.master, error) {
            (Some(master), ListenError::InUse { address })
                if self.addresses.contains(&address) && !master.has_ended() =>
            {
                ListenError::NotLetGo { address, pid: master.pid().as_raw() }
            }
            (_, error) => error,
        }
    }
}

/// The error with who asks for what cannot be had.
pub(super) fn blamed(error: ListenError, sources: &Sources, settings: &Settings) -> Error {
    match error.asked_for().and_then(|wanted| sources.asker(settings, &wanted)) {
        Some(Place { setting, origin }) => Error::Bind { setting, origin, source: Box::new(error) },
        None => Error::Listen(error),
    }
}

/// `stores` is whether the service manager is to store what is bound.
pub(super) fn claim(
    settings: &Settings,
    sources: &Sources,
    predecessor: Option<Predecessor>,
    passed: Passed,
    stores: bool,
) -> Result<Claimed, Error> {
    let claimed = claim_all(settings, &sources.named, predecessor, passed, stores);
    claimed.map_err(|error| blamed(error, sources, settings))
}

fn claim_all(
    settings: &Settings,
    named: &[Named],
    predecessor: Option<Predecessor>,
    passed: Passed,
    stores: bool,
) -> Result<Claimed, ListenError> {
    let is_first = predecessor.is_none();
    let (mut inherited, places, link) = match predecessor {
        Some(predecessor) => (predecessor.listeners, predecessor.places, Some(predecessor.link)),
        None => (Vec::new(), Vec::new(), None),
    };
    let handed: Vec<_> = inherited.iter().map(|listener| listener.address.clone()).zip(places).collect();
    let (passed, mut leaving) = passed.into_parts();
    inherited.extend(passed);
    for it in inherited.iter_mut().filter(|_| !stores) {
        if let Holder::Store { .. } = it.holder {
            leaving.push(it.store_name());
            it.holder = Holder::Program;
        }
    }
    let known: Vec<Known<'_>> =
        inherited.iter().map(|it| Known { name: it.passed_as(), address: &it.address }).collect();
    let specs = wanted(settings, named, &known)?;
    let (mode, queues, backlog) = (settings.listen_mode, settings.queues(), settings.backlog);
    let (mut listeners, unasked) = hatchery_net::claim(&specs, inherited, mode, queues, backlog)?;
    if is_first && let Some(error) = unasked.iter().find_map(not_asked_for) {
        listeners.abandon();
        return Err(error);
    }
    if stores {
        listeners.keep_stored();
    }
    let (mut leaves, mut left) = (Vec::new(), Vec::new());
    for listener in unasked {
        if let Holder::Store { .. } = listener.holder {
            leaving.push(listener.store_name());
        }
        info!(target: "hatchery", "{} is not served any more: no setting asks for it", listener.address);
        leaves.extend(handed.iter().filter(|(address, _)| *address == listener.address).map(|(_, place)| *place));
        left.push(listener.address.clone());
        if is_first {
            // Of the store: nobody else serves it.
            let spec = Spec { name: None, address: listener.address };
            Listener::inherit(&spec, listener.fds)?.end();
        }
    }
    let master = link.as_ref().and_then(|link| socket::credentials(link.as_fd()).ok());
    let left = Left { addresses: left, master: master.map(|who| Peer::of(Pid::from_raw(who.pid))) };
    if let Some(link) = link.as_ref().filter(|_| !leaves.is_empty()) {
        // Its workers go on accepting there, until they go.
        hatchery_master::predecessor::leaves(link, leaves);
    }
    Ok(Claimed { listeners, link, leaving, left })
}

/// A listener that there is, and what the service manager calls it, if one has passed it.
struct Known<'a> {
    name: Option<&'a str>,
    address: &'a Address,
}

/// What new settings ask for, of a server that has these listeners.
pub(super) fn wanted_anew(
    settings: &Settings,
    named: &[Named],
    listeners: &Listeners,
) -> Result<Vec<Spec>, ListenError> {
    let open = listeners.iter().filter(|listener| !listener.is_closed());
    let known: Vec<Known<'_>> =
        open.map(|listener| Known { name: listener.holder().name(), address: listener.bound() }).collect();
    wanted(settings, named, &known)
}

/// What is asked for, with the addresses of what was passed in the place of its names.
fn wanted(settings: &Settings, named: &[Named], known: &[Known<'_>]) -> Result<Vec<Spec>, ListenError> {
    let passed = || known.iter().filter_map(|it| Some((it.name?, it.address)));
    let secure = specs(&settings.tls_bind, Some(TLS), known)?;
    let mut by_name = Vec::new();
    for Named { name, bind } in named {
        by_name.extend(specs(slice::from_ref(bind), Some(name), known)?);
    }
    let nameless: Vec<Spec> = passed()
        .map(|(_, address)| Spec { name: None, address: address.clone() })
        .filter(|spec| !asks(&by_name, spec) && !asks(&secure, spec))
        .collect();
    let plain = match settings.bind_given || nameless.is_empty() {
        true => specs(&settings.bind, None, known)?,
        false => nameless,
    };
    Ok(plain.into_iter().chain(secure).chain(by_name).collect())
}

/// A list of addresses and names of what was passed, for listeners of this name.
fn specs(binds: &[Bind], name: Option<&str>, known: &[Known<'_>]) -> Result<Vec<Spec>, ListenError> {
    let passed = || known.iter().filter_map(|it| Some((it.name?, it.address)));
    let spec = |address: &Address| Spec { name: name.map(str::to_owned), address: address.clone() };
    let mut specs = Vec::new();
    for bind in binds {
        match bind {
            Bind::Address(address) => specs.push(spec(address)),
            Bind::Passed(name) => {
                let before = specs.len();
                specs.extend(passed().filter(|(known, _)| known == name).map(|(_, address)| spec(address)));
                if specs.len() == before {
                    let passed = passed().map(|(known, _)| known.to_owned()).collect();
                    return Err(ListenError::NotPassed { name: name.clone(), passed });
                }
            }
        }
    }
    Ok(specs)
}

fn asks(specs: &[Spec], wanted: &Spec) -> bool {
    specs.iter().any(|spec| spec.address == wanted.address)
}

/// Clients would wait in it for ever.
fn not_asked_for(inherited: &Inherited) -> Option<ListenError> {
    let name = inherited.passed_as()?.to_owned();
    Some(ListenError::NotAskedFor { name, address: inherited.address.clone() })
}

/// Where operators look at the server: the predecessor's, if it has the same address.
pub(super) fn admin(
    settings: &Settings,
    sources: &Sources,
    predecessor: Option<&mut Predecessor>,
) -> Result<Option<Listener>, Error> {
    let Some(address) = settings.admin.clone() else { return Ok(None) };
    let spec = Spec { name: None, address };
    let name = hatchery_master::successor::admin_name(&spec.address);
    let handed = predecessor.and_then(|before| {
        let index = before.kept.iter().position(|(known, _)| *known == name)?;
        Some(before.kept.swap_remove(index).1)
    });
    let listener = match handed {
        Some(fd) => Listener::inherit(&spec, vec![fd]),
        None => Listener::bind(&spec, ListenMode::Shared, 1, ADMIN_BACKLOG),
    };
    listener.map(Some).map_err(|error| blamed(error, sources, settings))
}

/// So many may wait to be told how the server is.
const ADMIN_BACKLOG: u32 = 128;
